"""What filters can read for one request beside the table: its server group, the instances on hosts in every cell,
accepted and in flight, and hosts one by one."""

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

from nova_sched.fit.providers import allocate
from nova_sched.hosts.images import ImageCounts
from nova_sched.nova_compat.host_state import HostState
from nova_sched.nova_compat.read_only import ReadOnlyDict, ReadOnlyList
from nova_sched.nova_compat.request_spec import spec_of
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.ledger import Entry, Member
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
    def members(self) -> list[Entry]:
        """Entries of the group: by the log's own index, and those of the conductor's list of members. Empty without a
        group."""
        if self.group is None:
            return []
        entries: dict[Member, Entry] = {}
        for index in (*(projection.groups for projection in self.projections), self.in_flight.groups):
            for key, entry in index.members.get(self.group.uuid, {}).items():
                entries[key] = entry
        for projection in self.projections:
            for member in self.group.members:
                for entry in projection.consumers.get(member, ()):
                    entries[entry.consumer_uuid, entry.host, entry.claim_uuid] = entry
        named = frozenset(self.group.members)
        for entry in self.in_flight.claims.values():
            # A claim of ours may name the group differently: one of a request whose group had no uuid.
            if entry.instance_uuid in named:
                entries[entry.consumer_uuid, entry.host, entry.claim_uuid] = entry
        return list(entries.values())

    def members_by_row(self) -> dict[int, set[str]]:
        """Root row -> instances of the group on that host."""
        if self.group is None:
            return {}
        by_row: dict[int, set[str]] = {}
        for entry in self.members:
            row = self.table.row_of_host.get(entry.host)
            if row is not None:
                by_row.setdefault(row, set()).add(entry.instance_uuid)
        return by_row

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

    def affinity_rows(self, policy: Policy) -> list[int] | None:
        """Root rows of the hosts that the Policy lets an affinity group go to; None while the group has no host.

        Where a log has other members of the group, those are their hosts, and the instance's own host if the request
        names it: the request may still name a host that the group has left.
        """
        named = frozenset(self.group.hosts if self.group is not None else ())
        hosts = {entry.host for entry in self.members if entry.instance_uuid != self.instance_uuid}
        if not hosts or not policy.check_claims:
            hosts |= named
        else:
            hosts |= {entry.host for entry in self.members if entry.host in named}
        if not hosts:
            return None
        return [self.table.row_of_host[host] for host in hosts if host in self.table.row_of_host]

    def taken_domains(self) -> set[str]:
        """Domains in which one more partition would break the rule for this instance's partition."""
        group = self.group
        if group is None:
            return set()
        partitions: dict[str, set[str]] = {}
        for entry in self.members:
            if entry.rule is not None and entry.instance_uuid != self.instance_uuid:
                partitions.setdefault(entry.rule.domain, set()).add(entry.rule.partition)
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
