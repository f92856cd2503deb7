"""Written by `make reference` from the schemas: change those, never this file."""

from typing import Any, Literal, NamedTuple, overload

from rpc_api.events import claim as claim
from rpc_api.events import cloud as cloud
from rpc_api.events import decision as decision
from rpc_api.events import device as device
from rpc_api.events import host as host
from rpc_api.events import provider as provider
from rpc_api.events.schema import TABLE as TABLE
from rpc_api.events.schema import FrozenRecord as FrozenRecord
from rpc_api.events.schema import SchemaObject
from rpc_api.events.schema import from_object as from_object
from rpc_api.events.schema import to_object as to_object

EVENTS: dict[str, type[SchemaObject]]

class HostPages(NamedTuple):
    """Pages of one size in a NUMA node: their number, and how many of them the host reserves for itself."""

    size_kb: int
    total: int
    reserved: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostNUMACell(NamedTuple):
    """A NUMA node of a host, without what is used of it.

    ``shared_cpus`` run the unpinned CPUs of guests, ``dedicated_cpus`` the pinned ones; ``siblings`` are the CPUs that
    share a core, one list per core. ``physnets`` are the physical networks whose NICs belong to the node, ``tunneled``
    is true if the NICs of tunneled networks do.
    """

    id: int
    socket: int | None
    shared_cpus: tuple[int, ...]
    dedicated_cpus: tuple[int, ...]
    siblings: tuple[tuple[int, ...], ...]
    memory_mb: int
    pages: tuple[HostPages, ...]
    physnets: tuple[str, ...] = ()
    tunneled: bool = False
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class PCIPool(NamedTuple):
    """Equal PCI devices of a host: ``count`` of them in all, used or not.

    ``tags`` are Nova's (``dev_type``, ``physical_network``, ``rp_uuid``, ...). Two pools of a host differ in more than
    their count.
    """

    vendor_id: str
    product_id: str
    numa_node: int | None
    tags: dict[str, str | None]
    count: int  # type: ignore[assignment]  # hides a method of tuple
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class NUMACellRequest(NamedTuple):
    """A requested NUMA node of a guest.

    ``shared_cpus`` and ``dedicated_cpus`` are CPUs of the guest. ``page_kb`` is a size, -1 (small), -2 (large), -3
    (any) or None; ``threads`` the promised number of threads per core of the guest, 0 for no promise.
    """

    id: int
    shared_cpus: tuple[int, ...]
    dedicated_cpus: tuple[int, ...]
    memory_mb: int
    page_kb: int | None
    cpu_policy: str | None
    thread_policy: str | None
    threads: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class NUMARequest(NamedTuple):
    """The NUMA topology of a guest, and the networks to which its nodes should be near."""

    cells: tuple[NUMACellRequest, ...]
    emulator_threads_policy: str | None
    physnets: tuple[str, ...]
    tunneled: bool
    networks: bool = False
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class PCIRequest(NamedTuple):
    """``count`` devices, each of which fits one of ``spec``; Nova's InstancePCIRequest."""

    count: int  # type: ignore[assignment]  # hides a method of tuple
    spec: tuple[dict[str, str | None], ...]
    alias_name: str | None
    request_id: str | None
    requester_id: str | None
    numa_policy: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class NUMAUse(NamedTuple):
    """The use of the node ``cell`` of a host by the node ``guest_cell`` of a guest.

    ``pins`` are [guest CPU, host CPU], ``reserved_cpus`` host CPUs for the guest's emulator; ``isolated`` means that
    the other threads of their cores stay idle. ``shared_cpus`` is the number of CPUs that are not pinned. ``page_kb``
    is the requested size of pages, 0 without a request: then the memory has the smallest pages of the node.
    """

    cell: int
    guest_cell: int
    shared_cpus: int
    pins: tuple[tuple[int, ...], ...]
    reserved_cpus: tuple[int, ...]
    isolated: bool
    memory_mb: int
    page_kb: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class PCIUse(NamedTuple):
    """``count`` devices of the pool with the key ``pool`` (:func:`rpc_api.digest.pool_key`), for a PCIRequest."""

    pool: str
    count: int  # type: ignore[assignment]  # hides a method of tuple
    request_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class Guest(NamedTuple):
    """The facts of an instance beside its allocations: its NUMA nodes, its PCI devices, the properties of its image (as
    text)."""

    numa: tuple[NUMAUse, ...]
    pci: tuple[PCIUse, ...]
    image_properties: dict[str, str]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class Inventory(NamedTuple):
    """The inventory of one resource class of a provider, in Placement's terms (total in the class's own unit)."""

    resource_class: str
    total: int
    reserved: int
    min_unit: int
    max_unit: int
    step_size: int
    allocation_ratio: float
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class Provider(NamedTuple):
    """One resource provider of a host's tree; ``parent`` is its parent's index in the list, -1 for the root."""

    uuid: str
    name: str
    parent: int
    inventories: tuple[Inventory, ...]
    traits: tuple[str, ...]
    aggregates: tuple[str, ...]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostInventory(NamedTuple):
    """The part of a host that seldom changes: its hypervisor and its tree of providers (the root, the compute node,
    first).

    ``supported_instances`` are ``[architecture, hypervisor type, vm mode]``; ``stats`` are what a flavor's
    ``capabilities:`` extra specs may name beside the other fields. ``numa_cells`` and ``pci_pools`` are those of the
    host, used or not: the use follows from its consumers.

    With ``root_uuid`` it has no ``providers``: a :class:`ProvidersReported` or Placement's API writes the tree of that
    root. ``authority`` is who says what the consumers of the host hold: its ``agent``, or ``nova``.
    """

    nodename: str
    availability_zone: str | None
    host_ip: str | None
    hypervisor_type: str
    hypervisor_version: int
    cpu_info: str
    supported_instances: tuple[tuple[str, ...], ...]
    stats: dict[str, str]
    providers: tuple[Provider, ...]
    numa_cells: tuple[HostNUMACell, ...] = ()
    pci_pools: tuple[PCIPool, ...] = ()
    root_uuid: str | None = None
    authority: str = "agent"
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ReportedProviders(NamedTuple):
    """A tree of providers, the root first."""

    providers: tuple[Provider, ...]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class NUMAMetric(NamedTuple):
    """The value of a metric for one NUMA node, such as numa.membw.current (in bytes per second)."""

    name: str
    node: int
    value: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostStatus(NamedTuple):
    """The part of a host that often changes, except its use: whether it takes instances, and its load.

    ``metrics`` have one value for the host, ``numa_metrics`` have one for each of its NUMA nodes.
    """

    disabled: bool
    disabled_reason: str | None
    forced_down: bool
    num_io_ops: int
    failed_builds: int
    metrics: dict[str, float]
    numa_metrics: tuple[NUMAMetric, ...] = ()
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class Allocation(NamedTuple):
    """An amount of one resource class of one provider."""

    provider_uuid: str
    resource_class: str
    amount: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class GroupRule(NamedTuple):
    """The rule of a server group for one claim.

    * ``spread``: at most ``limit`` distinct partitions of the group in ``domain``. Anti-affinity has the host as
      domain and the instance as partition; fault domains have the rack as domain and the number as partition.
    * ``together``: all members of the group are in one ``domain`` (affinity).
    * ``member``: nothing is refused; only the membership is recorded (the soft policies).
    """

    group_uuid: str
    policy: str
    domain: str
    partition: str
    limit: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class Consumer(NamedTuple):
    """An instance that a host runs, and its use of the host."""

    instance_uuid: str
    project_id: str | None
    allocations: tuple[Allocation, ...]
    rule: GroupRule | None
    guest: bytes | None = None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostConsumers(NamedTuple):
    """All instances that a host runs."""

    consumers: tuple[Consumer, ...]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostReported(NamedTuple):
    """The whole state of a host, from its agent: on start, on change, and on request.

    ``consumers_digest`` is :func:`rpc_api.digest.consumers_digest` of ``consumers``: a reader with the same digest does
    not need to unpack them. ``server`` is the RPC server of the host's agent.
    """

    host: str
    server: str
    inventory: bytes
    status: HostStatus
    consumers: bytes
    consumers_digest: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ProvidersReported(NamedTuple):
    """The tree of providers of a host, from its agent: all that the agent knows of. Providers in the tree that
    Placement's API made stay."""

    host: str
    providers: bytes
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class AuthorityPassed(NamedTuple):
    """From here on ``authority`` says what the consumers of a host hold: its ``agent``, or ``nova``."""

    host: str
    authority: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostDisabled(NamedTuple):
    """An operator gives no more instances to a host of an agent; those that it runs stay. Its agent's reports do not
    change that. ``reason`` is for people."""

    host: str
    reason: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostEnabled(NamedTuple):
    """A host that an operator disabled takes instances again, if its agent reports that it does."""

    host: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostConfirmed(NamedTuple):
    """Nothing changed on a host: the digest of what it would report (:func:`rpc_api.digest.host_digest`)."""

    host: str
    digest: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostLost(NamedTuple):
    """A cell conductor has received no beat of a host for longer than ``service_down_time``."""

    host: str
    reason: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostSeen(NamedTuple):
    """A cell conductor receives beats of a lost host again."""

    host: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostRemoved(NamedTuple):
    """A host was removed: its providers and its instances are forgotten."""

    host: str
    reason: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class TrackedInstance(NamedTuple):
    """An instance that nova-compute reports, and the properties of its image (as text)."""

    instance_uuid: str
    image_properties: dict[str, str]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class InstancesTracked(NamedTuple):
    """The instances of a host, which nova-compute casts to all schedulers and publishes to its conductor; a scheduler
    or a conductor to which they are new appends them.

    It shows where instances are, not what they use: the host's agent reports that. ``gone`` are instances that the host
    does not have any more.
    """

    host: str
    instances: tuple[TrackedInstance, ...]
    gone: tuple[str, ...]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ClaimProposed(NamedTuple):
    """Claim resources of one host for one consumer.

    It takes effect if, at its position, the host is known and takes instances (or ``forced``), each allocation fits
    what its provider has left, ``rule`` holds, and the CPUs, pages and devices in ``guest`` are free; otherwise it
    changes nothing. ``claim_uuid`` names this attempt: a release or expiry of another attempt of the same consumer does
    not affect it.

    ``companion`` is the consumer of a member of the affinity group that is on the host. While it is, ``rule`` holds,
    wherever the other members are.

    With a ``consumer_generation`` the consumer must have it at this position, and holds the allocations beside what it
    holds already, on another host. Without one it must hold nothing.

    ``user_id`` is the user of the request. The consumer then has this user and ``project_id``, as after a write of its
    allocations through Placement's API. None if the request has no user: the consumer keeps the user that it has.
    """

    claim_uuid: str
    consumer_uuid: str
    instance_uuid: str
    request_id: str
    project_id: str | None
    host: str
    allocations: tuple[Allocation, ...]
    rule: GroupRule | None
    forced: bool = False
    guest: bytes | None = None
    companion: str | None = None
    consumer_generation: int | None = None
    user_id: str | None = None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ClaimReleased(NamedTuple):
    """The holder of a claim gives it back (a build failed, or a request was refused as a whole)."""

    consumer_uuid: str
    claim_uuid: str
    reason: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ClaimExpired(NamedTuple):
    """A claim was not built in time, by the clock of the cell conductor; so all readers agree."""

    consumer_uuid: str
    claim_uuid: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ClaimsWatched(NamedTuple):
    """A conductor watched the claims of this log, so those that are not started are older by that time.

    For ``watched_ms``, by its monotonic clock, it watched the log at its end since it folded the total ``after_ms``.
    The total grows only if it is ``after_ms`` at this position; otherwise another conductor was first, and the time
    does not count. ``building`` are the consumers whose claims it was building in that time: they are as new again,
    whether the time counts or not.
    """

    after_ms: int
    watched_ms: int
    building: tuple[str, ...]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class InstanceStarted(NamedTuple):
    """An instance runs on a host: its claim there becomes use of the host, in one step."""

    host: str
    consumer: Consumer
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class InstanceDeleted(NamedTuple):
    """An instance does not run on a host any more."""

    host: str
    instance_uuid: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class AllocationMoved(NamedTuple):
    """The allocations of a consumer on a host now belong to another consumer (from an instance to its migration, and
    back)."""

    host: str
    from_consumer_uuid: str
    to_consumer_uuid: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class BuildFailed(NamedTuple):
    """A build failed on a host; ``final`` if no alternate is left. ``attempt`` counts the builds of the instance, from
    1. If the claim was refused, there was no build on this host: the reason then begins with "claim refused: "."""

    instance_uuid: str
    request_id: str
    host: str
    attempt: int
    reason: str
    final: bool
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class LogOpened(NamedTuple):
    """The first event of a log; every record of this incarnation of the log has its ``epoch``."""

    cell: str
    epoch: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class LogRestored(NamedTuple):
    """The first event of a log that was restored from a backup: the log of the epoch ``from_epoch`` up to its record
    ``from_position``. Its state is in the checkpoint that comes next; without that the log is one whose beginning is
    lost."""

    cell: str
    epoch: str
    from_epoch: str
    from_position: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class LogRebased(NamedTuple):
    """The state of this log is empty from here on; the records before it do not count.

    Records were removed in front of the log and no snapshot has their effect, so a new reader could not get the state
    of the other readers. From here on all readers have the same state again; the hosts are asked for full reports. If
    it has ``accounts_required``, it must keep that rule itself, as :class:`AccountsRequired` must.

    A log at level 3 may have API writes, which nobody reports again: there only an operator may rebase it.
    """

    cell: str
    first: int
    accounts_required: bool = False
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class AccountsRequired(NamedTuple):
    """From here on (``required``) an event counts only if it was appended with an account that may publish for its
    producer: see :mod:`rpc_api.accounts`. This event must keep the rule itself, so in a log without accounts it has no
    effect and excludes no producer."""

    required: bool
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class LevelPinned(NamedTuple):
    """From the next event on this log has ``level``: the forms of its events (:mod:`rpc_api.levels`) and the rules of
    the fold (:mod:`nova_sched.projection.rules`).

    An operator's command appends it when all services know the level; it is in a record of the level before. A level
    is never taken back, so one that is not above the present level changes nothing. Its own form never changes. A
    :class:`LogRebased` gives the log the level of its own record, because a reader that starts there does not know
    the pin.
    """

    level: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class AggregateUpdated(NamedTuple):
    """The present state of a host aggregate: the names of its hosts, and its metadata (``availability_zone``,
    ``domain``, ...)."""

    uuid: str
    name: str
    hosts: tuple[str, ...]
    metadata: dict[str, str]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class AggregateDeleted(NamedTuple):
    """A host aggregate was deleted."""

    uuid: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class GroupAnchored(NamedTuple):
    """An affinity group of a cloud of several cells belongs to ``host`` of ``cell`` (in cell0's log).

    It takes effect if the number of the group's anchor is ``replaces`` at its position (0: no anchor). The number of an
    anchor is the position of its record, plus one.
    """

    group_uuid: str
    cell: str
    host: str
    replaces: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class GroupFenced(NamedTuple):
    """In the log of a cell: no member of an affinity group may be claimed in this cell any more under anchors up to
    ``anchor``. It takes effect if no member is claimed or runs in the cell at its position; then the group may get
    another anchor."""

    group_uuid: str
    anchor: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class StateKept(NamedTuple):
    """A part of a checkpoint: the state of the log after the record at ``position``, for readers that start later.

    ``content`` is part number ``part`` (from 0) of the ``of`` parts of its bytes, which
    :func:`nova_sched.projection.snapshot.dump` makes. The parts of one checkpoint have its uuid, and are in the log in
    their order, with other records between them. The fold does not look at it.
    """

    checkpoint_uuid: str
    position: int
    part: int
    of: int
    content: bytes
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class CheckpointNamed(NamedTuple):
    """Where the newest complete checkpoint of this log is: its parts are in the records from ``first`` to ``last``, and
    it is the state after the record at ``position``. A reader that starts finds it near the end of the log."""

    checkpoint_uuid: str
    position: int
    first: int
    last: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ResourceAmount(NamedTuple):
    """A requested amount of a resource class."""

    resource_class: str
    amount: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ResourceGroup(NamedTuple):
    """A group of the request, in Placement's terms.

    With the ``suffix`` "" its resources may come from several providers of one tree; a single provider must satisfy any
    other group. ``any_traits`` and ``member_of`` are lists of lists of alternatives: one of each inner list must be
    met.
    """

    suffix: str
    resources: tuple[ResourceAmount, ...]
    required_traits: tuple[str, ...]
    forbidden_traits: tuple[str, ...]
    any_traits: tuple[tuple[str, ...], ...]
    member_of: tuple[tuple[str, ...], ...]
    forbidden_aggregates: tuple[str, ...]
    in_tree: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ServerGroupRequest(NamedTuple):
    """The server group of a request.

    ``policy`` is one of affinity, anti-affinity, soft-affinity, soft-anti-affinity, fault-domain. ``limit`` is the
    largest number of members (fault-domain: of distinct ``partition``) in one ``scope``, which is "host" or the
    kind of an aggregate (its metadata key ``domain``, e.g. "rack"). ``members`` and ``hosts`` are what the conductor
    knew of the group; the members in the logs are added. Evidence leaves out what the logs know, and has at most 1,000
    of each.
    """

    uuid: str
    policy: str
    limit: int
    scope: str
    partition: str | None
    members: tuple[str, ...]
    hosts: tuple[str, ...]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class SchedulingRequest(NamedTuple):
    """The parts of a RequestSpec that a decision depends on (no credentials, no image locations).

    ``fallback_groups`` are requested if there is no room for ``groups`` (VCPU in place of PCPU); empty without such
    groups. ``preferred_cell`` is the present cell of a server that may move to another cell. ``disk_format`` is that of
    the image. ``segments`` are those of the requested networks, from Neutron: a host must be on one segment of each
    list.
    """

    request_id: str
    project_id: str | None
    flavor_name: str
    extra_specs: dict[str, str]
    image_properties: dict[str, str]
    groups: tuple[ResourceGroup, ...]
    group_policy: str
    same_subtree: tuple[tuple[str, ...], ...]
    root_required: tuple[str, ...]
    root_forbidden: tuple[str, ...]
    availability_zone: str | None
    force_hosts: tuple[str, ...]
    force_nodes: tuple[str, ...]
    ignore_hosts: tuple[str, ...]
    target_host: str | None
    target_node: str | None
    target_cell: str | None
    server_group: ServerGroupRequest | None
    check_only: bool = False
    user_id: str | None = None
    flavor_id: str | None = None
    vcpus: int = 0
    memory_mb: int = 0
    root_gb: int = 0
    ephemeral_gb: int = 0
    swap_mb: int = 0
    is_bfv: bool = False
    image_id: str | None = None
    has_image: bool = True
    scheduler_hints: dict[str, tuple[str, ...]] = {}
    numa: NUMARequest | None = None
    pci: tuple[PCIRequest, ...] = ()
    fallback_groups: tuple[ResourceGroup, ...] = ()
    preferred_cell: str | None = None
    disk_format: str | None = None
    segments: tuple[tuple[str, ...], ...] = ()
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class CellPosition(NamedTuple):
    """The last position of a cell's log that a decision knew, and those of its own claims (by sequence) that were in
    flight then; ``closed`` if the log of the cell was unreadable, so that nothing was placed there."""

    cell: str
    epoch: str
    position: int
    first_in_flight: int
    last_in_flight: int
    closed: bool = False
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class RefusalCount(NamedTuple):
    """The number of hosts that one filter refused for one reason."""

    filter: str
    reason: str
    hosts: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class WeigherScore(NamedTuple):
    """The result of one weigher for a host: its raw value, and what it added to the host's score."""

    weigher: str
    raw: float
    weighed: float
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostScore(NamedTuple):
    """The score of a host, weigher by weigher; the first host of a list is the chosen one."""

    host: str
    score: float
    weighers: tuple[WeigherScore, ...]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class Evidence(NamedTuple):
    """The evidence of a decision: all that a replay needs to make it again.

    ``hosts_total`` hosts were considered; each is counted once, in ``refusals`` or in ``survivors``. The draw among
    equals follows from ``seed`` and ``attempt``; ``equals`` is the number of hosts with the best score.
    """

    request: SchedulingRequest
    positions: tuple[CellPosition, ...]
    policy_digest: str
    seed: int
    hosts_total: int
    survivors: int
    equals: int
    refusals: tuple[RefusalCount, ...]
    scores: tuple[HostScore, ...]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class DecisionMade(NamedTuple):
    """A decision for one instance: ``outcome`` is selected or no_valid_host. If selected, hosts[0] is claimed and the
    rest are alternates. ``attempt`` counts the decisions for the instance from 0 (tools show it from 1). ``took_ns`` is
    the time from the request's arrival at the scheduler to the decision."""

    request_id: str
    instance_uuid: str
    attempt: int
    outcome: str
    reason: str
    claim_uuid: str | None
    hosts: tuple[str, ...]
    took_ns: int
    evidence: bytes
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class RequestRefused(NamedTuple):
    """A request failed without a decision: it contradicts itself, or there was a fault. ``reason`` is the text for the
    caller or the operator."""

    request_id: str
    instances: tuple[str, ...]
    reason: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class PolicyAdopted(NamedTuple):
    """A scheduler uses this policy from here on: the options whose digest its decisions record.

    ``options`` are JSON, by name.
    """

    digest: str
    options: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class DecisionCompared(NamedTuple):
    """A shadow decided for one instance on a copy of a request, and compares that with what Nova did. Nothing is
    claimed, and no state changes.

    ``outcome``, ``reason``, ``hosts``, ``took_ns`` and ``evidence`` are those of the shadow's own decision, as in a
    DecisionMade; hosts[0] is what it would have claimed. ``nova_host`` is the host that Nova chose, None if none was
    seen; ``seen_in`` says where it was seen: "allocations", or the method that Nova's conductor called on the host.
    ``verdict`` and ``cause`` are stable codes, ``part`` is the filter or weigher that makes the difference ("" for
    none), and ``text`` says why in one sentence. ``from_memory`` is the number of
    instances that counted in the decision although no log has what they hold.
    """

    request_id: str
    instance_uuid: str
    outcome: str
    reason: str
    hosts: tuple[str, ...]
    nova_host: str | None
    seen_in: str
    verdict: str
    cause: str
    part: str
    text: str
    from_memory: int
    took_ns: int
    evidence: bytes
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ProviderCreated(NamedTuple):
    """A provider without inventories. It is the root of a tree, or belongs to the tree of its parent. Its uuid and its
    name are those of no other provider."""

    provider_uuid: str
    name: str
    parent_uuid: str | None
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ProviderChanged(NamedTuple):
    """A provider gets a name and a parent. With ``may_move`` it may leave the parent that it has."""

    provider_uuid: str
    name: str
    parent_uuid: str | None
    may_move: bool
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ProviderDeleted(NamedTuple):
    """A provider that has no children and of which nobody holds anything is removed."""

    provider_uuid: str
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class InventoriesPut(NamedTuple):
    """Inventories of a provider are written. ``kind`` is one of

    * ``all``: the provider has these inventories and no others from now on;
    * ``add``: these are new;
    * ``change``: these are there already, and get new values;
    * ``remove``: those of these classes are removed (only the names of ``inventories`` count).
    """

    provider_uuid: str
    generation: int | None
    kind: str
    inventories: tuple[Inventory, ...]
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class TraitsPut(NamedTuple):
    """A provider has these traits and no others from now on."""

    provider_uuid: str
    generation: int | None
    traits: tuple[str, ...]
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class AggregatesPut(NamedTuple):
    """A provider is in these aggregates and no others from now on."""

    provider_uuid: str
    generation: int | None
    aggregates: tuple[str, ...]
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ClaimTerms(NamedTuple):
    """What must hold, beside the room, for allocations of an instance on a host: as in a ClaimProposed."""

    host: str
    instance_uuid: str
    rule: GroupRule | None
    guest: bytes | None
    companion: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ConsumerPut(NamedTuple):
    """All that one consumer holds of the providers of this log from now on.

    If it is ``guarded``, the consumer must have ``generation`` at this position, or hold nothing (None). With a
    ``consumer_type`` of None it keeps its type. ``terms`` are those under which a scheduler offered the allocations.
    """

    consumer_uuid: str
    guarded: bool
    generation: int | None
    project_id: str
    user_id: str
    consumer_type: str | None
    allocations: tuple[Allocation, ...]
    terms: ClaimTerms | None = None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class AllocationsPut(NamedTuple):
    """The allocations of some consumers are written, of all of them or of none."""

    consumers: tuple[ConsumerPut, ...]
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class AllocationsDropped(NamedTuple):
    """A consumer holds nothing any more, whatever its generation was."""

    consumer_uuid: str
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class AllocationsPrepared(NamedTuple):
    """The part of a write over several logs in this one: if it can be written here, its room is held, and its consumers
    are locked, until a WriteCommitted or a WriteAborted.

    ``logs`` are the names of all logs of the write. What the log ``home`` decides counts for all of them.
    """

    write_uuid: str
    home: str
    logs: tuple[str, ...]
    consumers: tuple[ConsumerPut, ...]
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class WriteCommitted(NamedTuple):
    """A write over several logs takes effect: in its home log this decides it, in the others it follows. The consumers
    are named for readers of the log."""

    write_uuid: str
    consumer_uuids: tuple[str, ...]
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class WriteAborted(NamedTuple):
    """A write over several logs is given up, and what was held for it is free."""

    write_uuid: str
    consumer_uuids: tuple[str, ...]
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class WriteEnded(NamedTuple):
    """All logs of a write have committed it, and its home log may forget it."""

    write_uuid: str
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ProviderInventories(NamedTuple):
    """All inventories that one provider has after a reshape, and the generation that it must have before."""

    provider_uuid: str
    generation: int
    inventories: tuple[Inventory, ...]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class Reshaped(NamedTuple):
    """Inventories move between providers, and with them the allocations of their consumers: all in one step."""

    inventories: tuple[ProviderInventories, ...]
    consumers: tuple[ConsumerPut, ...]
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ClassCreated(NamedTuple):
    """A resource class of the cloud's own (``CUSTOM_``)."""

    name: str
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ClassRenamed(NamedTuple):
    """A resource class of the cloud's own gets another name, wherever it occurs."""

    name: str
    new_name: str
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ClassDeleted(NamedTuple):
    """A resource class of the cloud's own, of which no provider has an inventory, is removed."""

    name: str
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class TraitCreated(NamedTuple):
    """A trait of the cloud's own (``CUSTOM_``)."""

    name: str
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class TraitDeleted(NamedTuple):
    """A trait of the cloud's own, which no provider has, is removed."""

    name: str
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ProviderImported(NamedTuple):
    """A provider is as another Placement has it, with its ``generation`` there: it is created, or gets this name and
    parent, these inventories, traits and aggregates, and no others. Before it must have the generation ``before`` here,
    or be unknown (None)."""

    provider_uuid: str
    name: str
    parent_uuid: str | None
    generation: int
    inventories: tuple[Inventory, ...]
    traits: tuple[str, ...]
    aggregates: tuple[str, ...]
    before: int | None
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ConsumerImported(NamedTuple):
    """A consumer holds what another Placement says, with its ``generation`` there. It was given away already, so no
    room is asked for, and no provider gets another generation. ``consumer`` has the condition: the generation that it
    must have here before. Its ``terms`` replace those that it has on their host; nothing has to hold for them."""

    consumer: ConsumerPut
    generation: int
    request_id: str
    user_id: str | None
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

@overload
def thaw(name: Literal["Evidence"], packed: bytes) -> Evidence: ...
@overload
def thaw(name: Literal["Guest"], packed: bytes) -> Guest: ...
@overload
def thaw(name: Literal["HostConsumers"], packed: bytes) -> HostConsumers: ...
@overload
def thaw(name: Literal["HostInventory"], packed: bytes) -> HostInventory: ...
@overload
def thaw(name: Literal["ReportedProviders"], packed: bytes) -> ReportedProviders: ...
@overload
def thaw(name: str, packed: bytes) -> Any: ...
