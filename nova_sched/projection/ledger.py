"""The holders of resources: trees of providers and hosts, the consumers that hold something there, and the members of
server groups.

An :class:`Entry` is what one consumer holds on one host, with what it holds beside of providers that are no host's. On
a host of an agent it is ``claimed`` until the agent reports that the instance runs, then ``running``. What Placement's
API writes, and what is claimed on a host of Nova, is ``held`` until it is written again. An entry is counted in the
table's ``used`` in all states, so that its room is never given away twice.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nova_sched.projection.claim_refusals import ClaimRefused
from nova_sched.projection.reason import Reason
from rpc_api.digest import host_digest, inventory_digest
from rpc_api.events import Allocation, ConsumerPut, GroupRule, HostStatus

CLAIMED = "claimed"
RUNNING = "running"
HELD = "held"
STATES = (CLAIMED, RUNNING, HELD)

#: Who says what the consumers of a host hold: its agent, or Nova through Placement's API.
AGENT = "agent"
NOVA = "nova"
AUTHORITIES = frozenset({AGENT, NOVA})

#: The host of an entry that holds only of providers that are no host's.
NO_HOST = ""

SPREAD = "spread"
TOGETHER = "together"
MEMBER = "member"
POLICIES = frozenset({SPREAD, TOGETHER, MEMBER})

#: Domain -> partition -> number of members of a group there.
Domains = Mapping[str, Mapping[str, int]]
UNCHANGED: Domains = {}


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
        "watched_from_ms",
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
        watched_from_ms: int | None = 0,
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
        #: The log's ``watched_ms`` from which on the age of a claim counts; None until conductors watched it.
        self.watched_from_ms = watched_from_ms

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


class Holder:
    """What is known of one consumer, beside its entries. Its ``generation`` rises with each change of its entries."""

    __slots__ = ("consumer_type", "generation", "project_id", "user_id", "written_ns")

    def __init__(
        self,
        generation: int,
        project_id: str | None,
        user_id: str | None = None,
        consumer_type: str | None = None,
        written_ns: int = 0,
    ) -> None:
        self.generation = generation
        self.project_id = project_id
        self.user_id = user_id
        self.consumer_type = consumer_type
        #: Time of the event that wrote it last, by the clock of its producer.
        self.written_ns = written_ns

    def facts(self) -> tuple[Any, ...]:
        """It as a plain tuple (for digests and snapshots)."""
        return (self.generation, self.project_id, self.user_id, self.consumer_type, self.written_ns)


class Prepared(NamedTuple):
    """The part of a write over several logs in this one: ``home`` and ``logs`` are names of logs, ``at_ns`` is the time
    of the event."""

    home: str
    logs: tuple[str, ...]
    consumers: tuple[ConsumerPut, ...]
    at_ns: int


class Committed(NamedTuple):
    """A write over several logs that its home log has decided: names of its logs, its consumers, and the time of the
    decision."""

    logs: tuple[str, ...]
    consumers: tuple[str, ...]
    at_ns: int


class Tree:
    """A tree of providers: the row of its root, and the rows of all its providers by their uuid. ``providers`` are the
    bytes of the ReportedProviders that an agent reported by themselves; empty if none did."""

    __slots__ = ("providers", "root", "rows")

    def __init__(self) -> None:
        self.root = -1
        self.providers = b""
        self.rows: dict[str, int] = {}


class PlainTree(Tree):
    """A tree that is no host. ``users`` are the entries that hold something of it: (consumer, host) -> Entry."""

    __slots__ = ("users",)

    def __init__(self) -> None:
        super().__init__()
        self.users: dict[tuple[str, str], Entry] = {}


#: nova-compute gives its root provider this trait while its service is disabled.
COMPUTE_STATUS_DISABLED = "COMPUTE_STATUS_DISABLED"


class Host(Tree):
    """The state of one host beside its columns."""

    __slots__ = (
        "_digest",
        "_digest_of",
        "authority",
        "cell",
        "disabled_for",
        "entries",
        "inventory",
        "inventory_digest",
        "lost",
        "name",
        "running_digest",
        "server",
        "status",
        "stray_devices",
        "strays",
        "waits_for_count",
    )

    def __init__(self, name: str, server: str, cell: str) -> None:
        super().__init__()
        self.name = name
        self.server = server
        self.cell = cell
        self.authority = AGENT
        self.inventory = b""
        self.inventory_digest = 0
        self.status: HostStatus = None  # type: ignore[assignment]  # set by the first report, before it is read
        self.lost = False
        #: Why an operator disabled it (may be empty); None if no operator did.
        self.disabled_for: str | None = None
        #: Consumer uuid -> Entry.
        self.entries: dict[str, Entry] = {}
        #: (Provider uuid, resource class) -> amount of what entries use and the host does not report. It follows from
        #: the entries and the rows.
        self.strays: dict[tuple[str, str], int] = {}
        #: The same for PCI devices and NUMA nodes: (pool or node, kind) -> how many guests of entries use.
        self.stray_devices: dict[tuple[str, str], int] = {}
        #: Whether its devices are counted later, when several entries have changed.
        self.waits_for_count = False
        #: Sum of the hashes of the running entries (see rpc_api.digest).
        self.running_digest = 0
        self._digest = 0
        self._digest_of: tuple[object, ...] | None = None

    @property
    def unreported(self) -> dict[tuple[str, str], int]:
        """All use of what the host does not report: (provider, pool or node; what is used there) -> amount."""
        return {**self.strays, **self.stray_devices}

    def digest(self) -> int:
        """The digest that the host's agent confirms while the host agrees with the log.

        Most hosts confirm the same digest again, so it is kept until one of its inputs changes.
        """
        parts = (self.inventory_digest, self.running_digest, self.status)
        if self._digest_of != parts:
            inventory = (
                self.inventory_digest if not self.providers else inventory_digest(self.inventory, self.providers)
            )
            self._digest = host_digest(inventory, self.status, self.running_digest)
            self._digest_of = parts
        return self._digest

    def forget_digest(self) -> None:
        """The providers of the host have changed."""
        self._digest_of = None


class GroupIndex:
    """Where the members of each server group are, so that a group of any size need not be walked over.

    ``domains[group][domain][partition]`` and ``consumers[group][consumer]`` count entries,
    ``members[group][host][instance]`` has them; an empty dict or tuple is never kept.
    """

    def __init__(self) -> None:
        self.domains: dict[str, dict[str, dict[str, int]]] = {}
        self.consumers: dict[str, dict[str, int]] = {}
        self.members: dict[str, dict[str, dict[str, tuple[Entry, ...]]]] = {}

    def add(self, entry: Entry) -> None:
        """Count a member; an entry without a rule belongs to no group."""
        rule = entry.rule
        if rule is None:
            return
        partitions = self.domains.setdefault(rule.group_uuid, {}).setdefault(rule.domain, {})
        partitions[rule.partition] = partitions.get(rule.partition, 0) + 1
        consumers = self.consumers.setdefault(rule.group_uuid, {})
        consumers[entry.consumer_uuid] = consumers.get(entry.consumer_uuid, 0) + 1
        instances = self.members.setdefault(rule.group_uuid, {}).setdefault(entry.host, {})
        instances[entry.instance_uuid] = (*instances.get(entry.instance_uuid, ()), entry)

    def remove(self, entry: Entry) -> None:
        """Remove a member."""
        rule = entry.rule
        if rule is None:
            return
        domains, hosts = self.domains[rule.group_uuid], self.members[rule.group_uuid]
        partitions, instances = domains[rule.domain], hosts[entry.host]
        count_down(partitions, rule.partition)
        if not partitions:
            del domains[rule.domain]
        count_down(self.consumers[rule.group_uuid], entry.consumer_uuid)
        rest = tuple([other for other in instances[entry.instance_uuid] if other is not entry])
        if rest:
            instances[entry.instance_uuid] = rest
        else:
            del instances[entry.instance_uuid]
        if not instances:
            del hosts[entry.host]
        if not hosts:
            del self.domains[rule.group_uuid], self.consumers[rule.group_uuid], self.members[rule.group_uuid]

    def entries(self, group_uuid: str) -> Iterator[Entry]:
        """The entries of all members of a group."""
        for instances in self.members.get(group_uuid, {}).values():
            for entries in instances.values():
                yield from entries

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


def count_down(counts: dict[str, int], key: str) -> None:
    """Count one less; a count of 0 is not kept."""
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
