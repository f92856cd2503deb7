"""The holders of resources: hosts, the consumers on them, and the members of server groups.

An :class:`Entry` is what one consumer holds on one host. It is ``claimed``
until the host's agent reports that the instance runs, then ``running``. An entry
is counted in the table's ``used`` in both states, so that its room is never
given away twice.
"""

from collections.abc import Mapping
from typing import Any

from nova_sched.projection.claim_refusals import ClaimRefused
from nova_sched.projection.reason import Reason
from rpc_api.digest import host_digest
from rpc_api.events import Allocation, GroupRule, HostStatus

CLAIMED = "claimed"
RUNNING = "running"

SPREAD = "spread"
TOGETHER = "together"
MEMBER = "member"
POLICIES = frozenset({SPREAD, TOGETHER, MEMBER})

#: Domain -> partition -> number of members of a group there.
Domains = Mapping[str, Mapping[str, int]]
UNCHANGED: Domains = {}

#: Key of a member of a group: (consumer, host, claim).
Member = tuple[str, str, str | None]


class Entry:
    """What one consumer holds on one host: ``allocations`` is a tuple of Allocation records."""

    __slots__ = (
        "allocations",
        "claim_uuid",
        "consumer_uuid",
        "guest",
        "hash",
        "host",
        "instance_uuid",
        "position",
        "project_id",
        "rule",
        "state",
    )

    def __init__(
        self,
        consumer_uuid: str,
        instance_uuid: str,
        project_id: str | None,
        host: str,
        allocations: tuple[Allocation, ...],
        rule: GroupRule | None,
        claim_uuid: str | None,
        state: str,
        position: int,
        hash_: int,
        guest: bytes | None = None,
    ) -> None:
        self.consumer_uuid = consumer_uuid
        self.instance_uuid = instance_uuid
        self.project_id = project_id
        self.host = host
        self.allocations = allocations
        self.rule = rule
        self.claim_uuid = claim_uuid
        self.state = state
        self.position = position
        self.hash = hash_
        #: Bytes of its Guest, None if it has neither NUMA nodes nor devices nor properties.
        self.guest = guest

    def facts(self) -> tuple[Any, ...]:
        """The entry as a plain tuple (for digests and snapshots); ``position`` says when it came, not what it is."""
        return (
            self.consumer_uuid,
            self.instance_uuid,
            self.project_id,
            self.host,
            self.allocations,
            self.rule,
            self.claim_uuid,
            self.state,
            self.guest,
        )


class Host:
    """The state of one host beside its columns."""

    __slots__ = (
        "_digest",
        "_digest_of",
        "cell",
        "entries",
        "inventory",
        "inventory_digest",
        "lost",
        "name",
        "root",
        "rows",
        "running_digest",
        "server",
        "status",
    )

    def __init__(self, name: str, server: str, cell: str) -> None:
        self.name = name
        self.server = server
        self.cell = cell
        self.root = -1
        self.inventory = b""
        self.inventory_digest = 0
        self.status: HostStatus = None  # type: ignore[assignment]  # set by the first report, before it is read
        self.lost = False
        #: Provider uuid -> row of the table.
        self.rows: dict[str, int] = {}
        #: Consumer uuid -> Entry.
        self.entries: dict[str, Entry] = {}
        #: Sum of the hashes of the running entries (see rpc_api.digest).
        self.running_digest = 0
        self._digest = 0
        self._digest_of: tuple[object, ...] | None = None

    def digest(self) -> int:
        """The digest that the host's agent confirms while the host agrees with the log.

        Most hosts confirm the same digest again, so it is kept until one of its inputs changes.
        """
        parts = (self.inventory_digest, self.running_digest, self.status)
        if self._digest_of != parts:
            self._digest = host_digest(self.inventory_digest, self.status, self.running_digest)
            self._digest_of = parts
        return self._digest


class GroupIndex:
    """Where the members of each server group are, by domain and by partition.

    ``domains[group][domain][partition]`` counts members; an empty dict is never kept.
    """

    def __init__(self) -> None:
        self.domains: dict[str, dict[str, dict[str, int]]] = {}
        self.members: dict[str, dict[Member, Entry]] = {}

    def add(self, entry: Entry) -> None:
        """Count a member; an entry without a rule belongs to no group."""
        rule = entry.rule
        if rule is None:
            return
        partitions = self.domains.setdefault(rule.group_uuid, {}).setdefault(rule.domain, {})
        partitions[rule.partition] = partitions.get(rule.partition, 0) + 1
        self.members.setdefault(rule.group_uuid, {})[_member(entry)] = entry

    def remove(self, entry: Entry) -> None:
        """Remove a member."""
        rule = entry.rule
        if rule is None:
            return
        domains = self.domains[rule.group_uuid]
        partitions = domains[rule.domain]
        partitions[rule.partition] -= 1
        if not partitions[rule.partition]:
            del partitions[rule.partition]
        if not partitions:
            del domains[rule.domain]
        members = self.members[rule.group_uuid]
        del members[_member(entry)]
        if not members:
            del self.members[rule.group_uuid]
            del self.domains[rule.group_uuid]

    def breach(self, rule: GroupRule, without_itself: bool, changed: Domains = UNCHANGED) -> Reason | None:
        """Why one more member under ``rule`` would break it, or None when it would not. The ``changed`` domains of the
        group replace those here. With ``without_itself`` the partition of the rule is not a member that others must be
        together with."""
        domains = self.domains.get(rule.group_uuid, {})
        if rule.policy == MEMBER:
            return None
        if rule.policy == TOGETHER:
            others = [
                domain
                for domain, partitions in {**domains, **changed}.items()
                if domain != rule.domain and len(partitions) > (without_itself and rule.partition in partitions)
            ]
            return Reason(ClaimRefused.GROUP_ELSEWHERE, (min(others),)) if others else None
        partitions = changed[rule.domain] if rule.domain in changed else domains.get(rule.domain, ())
        if rule.partition in partitions or len(partitions) < rule.limit:
            return None
        return Reason(ClaimRefused.GROUP_FULL, (len(partitions), rule.domain, rule.limit))


def _member(entry: Entry) -> Member:
    """The key of a member: one consumer may have several claims in flight for one host."""
    return entry.consumer_uuid, entry.host, entry.claim_uuid
