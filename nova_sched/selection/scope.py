"""What filters can read for one request beside the table: its server group, the instances on hosts in every cell,
accepted and in flight, and hosts one by one."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from typing import Any

from nova_sched.fit.providers import allocate
from nova_sched.hosts.images import ImageCounts
from nova_sched.nova_compat.host_state import HostState
from nova_sched.nova_compat.read_only import ReadOnlyDict, ReadOnlyList
from nova_sched.nova_compat.request_spec import spec_of
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.ledger import Entry, GroupIndex, count_down
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.selection.policy import Policy
from rpc_api.events import SchedulingRequest


class Scope:
    """What the request of one instance can read of entries; and the request and the hosts in the form for classes of
    deployers.

    ``projections`` are those of all cells, ``in_flight`` is this process's own claims under way.
    """

    def __init__(
        self,
        table: HostTable,
        projections: Sequence[Projection],
        in_flight: InFlight,
        request: SchedulingRequest,
        instance_uuid: str,
    ) -> None:
        self.table = table
        self.projections = projections
        self.in_flight = in_flight
        self.request = request
        self.group = request.server_group
        self.instance_uuid = instance_uuid
        self._host_states: dict[int, HostState] = {}

    @cached_property
    def strangers(self) -> list[Entry]:
        """Entries of the members that the request names, without those that name the group themselves. A claim of ours
        may also name it differently: one of a request whose group had no uuid."""
        if self.group is None or not self.group.members:
            return []
        uuid, named = self.group.uuid, self.group.members
        found = [entry for projection in self.projections for entry in projection.strangers(named, uuid)]
        under_way = [
            entry for entry in self.in_flight.claims.values() if entry.rule is None or entry.rule.group_uuid != uuid
        ]
        if under_way:
            of_group = {entry.instance_uuid for entry in under_way}.intersection(named)
            found += (entry for entry in under_way if entry.instance_uuid in of_group)
        return found

    @property
    def _indexes(self) -> tuple[GroupIndex, ...]:
        return (*(projection.groups for projection in self.projections), self.in_flight.groups)

    def members(self) -> Iterator[Entry]:
        """Entries of the group: by the index of each log and of the claims in flight, and the strangers."""
        if self.group is not None:
            for index in self._indexes:
                yield from index.entries(self.group.uuid)
            yield from self.strangers

    @cached_property
    def members_by_host(self) -> dict[str, Collection[str]]:
        """Host -> instances of the group on it, each once; no host without any."""
        by_host: dict[str, Collection[str]] = {}
        if self.group is None:
            return by_host
        for index in self._indexes:
            hosts = index.members.get(self.group.uuid, {})
            shared = {host: {*by_host[host], *hosts[host]} for host in by_host.keys() & hosts.keys()}
            by_host.update(hosts)
            by_host.update(shared)
        strangers: dict[str, set[str]] = {}
        for entry in self.strangers:
            strangers.setdefault(entry.host, set()).add(entry.instance_uuid)
        for host, more in strangers.items():
            by_host[host] = more.union(by_host.get(host, ()))
        return by_host

    def members_by_row(self) -> dict[int, Collection[str]]:
        """Root row -> instances of the group on that host."""
        row_of_host = self.table.row_of_host
        return {row_of_host[host]: instances for host, instances in self.members_by_host.items() if host in row_of_host}

    def image_counts(self) -> ImageCounts:
        """How many instances of each host have an image with some property: the
        :class:`~nova_sched.hosts.images.ImageCounts` of the table, up to date."""
        counts = self.table.image_counts
        if not isinstance(counts, ImageCounts):
            counts = self.table.image_counts = ImageCounts(self.table)
        counts.renew(self.projections)
        return counts

    def rows_of_instances(self, uuids: Collection[str]) -> set[int]:
        """Root rows of the hosts that run one of some instances, or have a claim for it."""
        hosts = {
            entry.host for projection in (*self.projections,) for uuid in uuids for entry in projection.instances(uuid)
        }
        hosts.update(entry.host for entry in self.in_flight.claims.values() if entry.instance_uuid in uuids)
        return {self.table.row_of_host[host] for host in hosts if host in self.table.row_of_host}

    def hosts_of_others(self) -> set[str]:
        """Hosts with a member of the group that is not the instance of the request."""
        mine = self.instance_uuid
        return {host for host, instances in self.members_by_host.items() if len(instances) > (mine in instances)}

    def affinity_rows(self, policy: Policy) -> list[int] | None:
        """Root rows of the hosts that the Policy lets an affinity group go to; None while the group has no host.

        Where a log has other members of the group, those are their hosts, and the instance's own host if the request
        names it: the request may still name a host that the group has left.
        """
        hosts, named = self.hosts_of_others(), frozenset(self.group.hosts if self.group is not None else ())
        hosts |= named & self.members_by_host.keys() if hosts and policy.check_claims else named
        if not hosts:
            return None
        return [self.table.row_of_host[host] for host in hosts if host in self.table.row_of_host]

    def taken_domains(self) -> set[str]:
        """Domains in which one more partition would break the rule for this instance's partition."""
        group = self.group
        if group is None:
            return set()
        partitions: dict[str, Counter[str]] = {}
        mine: list[Entry] = []
        for index in self._indexes:
            for domain, counts in index.domains.get(group.uuid, {}).items():
                partitions.setdefault(domain, Counter()).update(counts)
            for instances in index.members.get(group.uuid, {}).values():
                mine += instances.get(self.instance_uuid, ())
        for entry in mine:
            if entry.rule is not None:
                count_down(partitions[entry.rule.domain], entry.rule.partition)
        for entry in self.strangers:
            if entry.rule is not None and entry.instance_uuid != self.instance_uuid:
                partitions.setdefault(entry.rule.domain, Counter())[entry.rule.partition] += 1
        return {
            domain for domain, taken in partitions.items() if group.partition not in taken and len(taken) >= group.limit
        }

    # --- for the classes of deployers --------------------------------------------------------------------------

    @cached_property
    def spec(self) -> Any:
        """The request as a :class:`~nova_sched.nova_compat.request_spec.SpecView`."""
        return spec_of(self.request, self)

    def host_state(self, row: int) -> HostState:
        """One host; the same object for each caller."""
        state = self._host_states.get(row)
        if state is None:
            state = self._host_states[row] = HostState(self.table, row, self)
        return state

    def instances_on(self, row: int) -> dict[str, str | None]:
        """Instance uuid -> project of the instances that a host reports, that claims in the log gave to it, or that
        this process's claims in flight will give to it; None if the project is not known."""
        projection, host = self._by_cell[int(self.table.cell[row])], self.table.host_names[row]
        instances = dict.fromkeys(projection.tracked.of(host))
        for entry in (*projection.hosts[host].entries.values(), *self._in_flight_on.get(host, ())):
            instances[entry.instance_uuid] = entry.project_id
        return instances

    @cached_property
    def _by_cell(self) -> dict[int, Projection]:
        return {projection.cell_index: projection for projection in self.projections}

    @cached_property
    def _in_flight_on(self) -> dict[str, list[Entry]]:
        by_host: dict[str, list[Entry]] = {}
        for entry in self.in_flight.claims.values():
            by_host.setdefault(entry.host, []).append(entry)
        return by_host

    def allocation_candidates(self, row: int) -> ReadOnlyList:
        """What would be claimed on a host, in Placement's form; empty where the groups of the request do not fit it."""
        assignment = allocate(self.table, row, self.request)
        if assignment is None:
            return ReadOnlyList()
        amounts: dict[str, dict[str, int]] = {}
        for provider_uuid, resource_class, amount in assignment.allocations:
            amounts.setdefault(provider_uuid, {})[resource_class] = amount
        return ReadOnlyList(
            [
                ReadOnlyDict(
                    allocations=ReadOnlyDict(
                        (uuid, ReadOnlyDict(resources=ReadOnlyDict(of))) for uuid, of in amounts.items()
                    ),
                    mappings=ReadOnlyDict((suffix, ReadOnlyList(of)) for suffix, of in assignment.mappings.items()),
                )
            ]
        )
