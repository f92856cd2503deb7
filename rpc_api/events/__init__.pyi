"""Written by `make reference` from the schemas: change those, never this file."""

from typing import Any, Literal, NamedTuple, overload

from rpc_api.events import claim as claim
from rpc_api.events import cloud as cloud
from rpc_api.events import decision as decision
from rpc_api.events import device as device
from rpc_api.events import host as host
from rpc_api.events.schema import TABLE as TABLE
from rpc_api.events.schema import FrozenRecord as FrozenRecord
from rpc_api.events.schema import SchemaObject
from rpc_api.events.schema import from_object as from_object
from rpc_api.events.schema import to_object as to_object

EVENTS: dict[str, type[SchemaObject]]

class HostPages(NamedTuple):
    """Pages of one size in a NUMA node: how many there are, and how many of them the host keeps for itself."""

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
    share a core, one list a core. ``physnets`` are the physical networks whose NICs belong to the node,
    ``tunneled`` says the same of tunneled networks.
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

    ``tags`` are nova's (``dev_type``, ``physical_network``, ``rp_uuid``, ...). Two pools of a host differ in something
    else than their count.
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
    """A NUMA node of the guest that is asked for.

    ``shared_cpus`` and ``dedicated_cpus`` are CPUs of the guest. ``page_kb`` is a size, -1 (small), -2 (large), -3
    (any) or None; ``threads`` the number of threads a core that the guest was promised, 0 for none.
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
    """The NUMA topology of a guest, and the networks that its nodes should be near to."""

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
    """``count`` devices, each of which fits one of ``spec``; nova's InstancePCIRequest."""

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
    """What the node ``guest_cell`` of a guest has of the node ``cell`` of its host.

    ``pins`` are [guest CPU, host CPU], ``reserved_cpus`` host CPUs for the guest's emulator; ``isolated`` says that the
    other threads of their cores stay idle. ``shared_cpus`` is how many CPUs are not pinned. ``page_kb`` is the size of
    the pages that were asked for, 0 where none was: its memory is then made of the smallest that there are.
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
    """What is known of an instance beside its allocations: its NUMA nodes, its PCI devices, the properties of its image
    (as text)."""

    numa: tuple[NUMAUse, ...]
    pci: tuple[PCIUse, ...]
    image_properties: dict[str, str]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class Inventory(NamedTuple):
    """What a provider has of one resource class, in Placement's terms (total in the class's own unit)."""

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
    """What seldom changes of a host: its hypervisor and its tree of providers (the root, the compute node, first).

    ``supported_instances`` are ``[architecture, hypervisor type, vm mode]``; ``stats`` are what a flavor's
    ``capabilities:`` extra specs may ask for beside the named fields. ``numa_cells`` and ``pci_pools`` are what the
    host has, used or not: what is used follows from its consumers.
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
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostStatus(NamedTuple):
    """What often changes of a host and is not use: whether it takes instances, and its load."""

    disabled: bool
    disabled_reason: str | None
    forced_down: bool
    num_io_ops: int
    failed_builds: int
    metrics: dict[str, float]
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
    """The part of a server group that one claim must keep.

    * ``spread``: at most ``limit`` distinct partitions of the group in ``domain``. Anti-affinity has the host as
      domain and the instance as partition; fault domains have the rack as domain and the number as partition.
    * ``together``: all members of the group are in one ``domain`` (affinity).
    * ``member``: nothing is refused, the membership is recorded (the soft policies).
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
    """An instance that a host runs, and what it uses there."""

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
    """The whole state of a host, as its agent sees it: on start, on change, and when it is asked for.

    ``consumers_digest`` is :func:`rpc_api.digest.consumers_digest` of ``consumers``: a reader whose own is the
    same need not unpack them. ``server`` is where the host's agent answers RPC.
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

class HostConfirmed(NamedTuple):
    """A host says that nothing changed: the digest of what it would report (:func:`rpc_api.digest.host_digest`)."""

    host: str
    digest: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostLost(NamedTuple):
    """A cell conductor has not heard of a host for longer than ``service_down_time``."""

    host: str
    reason: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostSeen(NamedTuple):
    """A cell conductor hears a lost host again."""

    host: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostRemoved(NamedTuple):
    """A host is gone for good: its providers and what it runs are forgotten."""

    host: str
    reason: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class TrackedInstance(NamedTuple):
    """An instance that nova-compute says to have, and the properties of its image (as text)."""

    instance_uuid: str
    image_properties: dict[str, str]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class InstancesTracked(NamedTuple):
    """What nova-compute casts to all schedulers about the instances of its host, appended by one that did not know it.

    It says where instances are and nothing of what they use: that is for the host's agent to report. ``gone`` are those
    that the host does not have any more.
    """

    host: str
    instances: tuple[TrackedInstance, ...]
    gone: tuple[str, ...]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ClaimProposed(NamedTuple):
    """Resources of one host are wanted for one consumer.

    It takes effect if, at its position, the host is known and takes instances (or ``forced``), each allocation
    fits what its provider has left, and ``rule`` holds; otherwise it changes nothing. ``claim_uuid`` names this
    attempt: a release or expiry of another attempt of the same consumer does not touch it. The CPUs,
    pages and devices that ``guest`` names must be free, too.
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
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ClaimReleased(NamedTuple):
    """A claim is given back by whoever held it (a build failed, a request was refused as a whole)."""

    consumer_uuid: str
    claim_uuid: str
    reason: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ClaimExpired(NamedTuple):
    """A claim was not built in time: the cell conductor's clock says so, once, for every reader."""

    consumer_uuid: str
    claim_uuid: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class InstanceStarted(NamedTuple):
    """An instance runs on a host: its claim there becomes the host's own use, in one step."""

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
    """What a consumer holds on a host is now held by another consumer (an instance's migration, and back)."""

    host: str
    from_consumer_uuid: str
    to_consumer_uuid: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class BuildFailed(NamedTuple):
    """A build did not succeed on a host; ``final`` when no alternate is left to try. ``attempt`` counts the builds that
    were tried for the instance, from 1; where the claim was refused none was tried on this host."""

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
    """The first event of a log; ``epoch`` is what every record of this incarnation of the log carries."""

    cell: str
    epoch: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class LogRebased(NamedTuple):
    """The state of this log is empty from here on, whatever stood in front of it.

    Records were removed in front of the log and no snapshot holds what they said, so nobody who begins to read could
    know the state that others have. From here on all have the same one again; the hosts are asked to report in full.
    One with ``accounts_required`` keeps that rule itself, as :class:`AccountsRequired` does.
    """

    cell: str
    first: int
    accounts_required: bool = False
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class AccountsRequired(NamedTuple):
    """From here on (``required``) an event counts only if it was appended with an account that may speak for its
    producer: see :mod:`rpc_api.accounts`. One that does not keep this rule itself changes nothing, so it shuts nobody
    out of a log that knows no accounts."""

    required: bool
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class AggregateUpdated(NamedTuple):
    """A host aggregate as it is now: its hosts by name, and its metadata (``availability_zone``, ``domain``, ...)."""

    uuid: str
    name: str
    hosts: tuple[str, ...]
    metadata: dict[str, str]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class AggregateDeleted(NamedTuple):
    """A host aggregate is gone."""

    uuid: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class GroupAnchored(NamedTuple):
    """An affinity group of a cloud of several cells belongs to ``host`` of ``cell`` (in cell0's log).

    It takes effect if the group's anchor is then still ``replaces`` (0: it has none); the number of an anchor is
    the position of the record that set it, plus one.
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
    """No member of an affinity group may be claimed in this cell any more under anchors up to ``anchor`` (in the
    cell's log). It takes effect if no member is claimed or runs in the cell then; the group may be anchored anew."""

    group_uuid: str
    anchor: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ResourceAmount(NamedTuple):
    """An amount of a resource class that is asked for."""

    resource_class: str
    amount: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class ResourceGroup(NamedTuple):
    """A group of the request, in Placement's terms.

    With the ``suffix`` "" its resources may come from several providers of one tree; any other group is satisfied
    by a single provider. ``any_traits`` and ``member_of`` are lists of alternatives, of which each list must be met.
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
    knew of the group; what the log knows is added to it.
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
    """All that a decision depends on, taken out of a RequestSpec (no credentials, no image locations).

    ``fallback_groups`` are what is asked for where ``groups`` find no room (VCPU in place of PCPU), empty for
    nothing else. ``preferred_cell`` is the cell that a move which may cross cells would rather stay in.
    ``disk_format`` is that of the image. ``segments`` are what Neutron said of the requested networks: a host
    must be on one segment of each list.
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
    """How far a decision knew a cell's log, and which of its own claims (by sequence) were under way beyond it;
    ``closed`` when the cell's log could not be read then, so that nothing was placed there."""

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
    """How many hosts one filter refused for one reason."""

    filter: str
    reason: str
    hosts: int
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class WeigherScore(NamedTuple):
    """What one weigher gave a host: its raw value, and what it added to the host's score."""

    weigher: str
    raw: float
    weighed: float
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class HostScore(NamedTuple):
    """The score of a host, weigher by weigher; the first of a list is the chosen one."""

    host: str
    score: float
    weighers: tuple[WeigherScore, ...]
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class Evidence(NamedTuple):
    """Why a decision was made as it was: all that a replay needs to make it again.

    ``hosts_total`` hosts were considered; each one is counted once in ``refusals`` or is one of the ``survivors``.
    ``seed`` and ``attempt`` give the draw among equals; ``equals`` is the number of hosts that shared the best score.
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
    """A decision for one instance: ``outcome`` selected or no_valid_host; then hosts[0] is claimed, the rest are
    alternates. ``attempt`` counts the decisions for the instance from 0 (tools show it from 1). ``took_ns`` is the time
    from the request's arrival at the scheduler to the decision."""

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
    """A request comes to nothing although no decision says so: it asks for what makes no sense, or something failed
    on the way. ``reason`` is the sentence that the caller is told, or the operator."""

    request_id: str
    instances: tuple[str, ...]
    reason: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class PolicyAdopted(NamedTuple):
    """A scheduler decides by this policy from here on: the options behind the digest that its decisions record.

    ``options`` are JSON, by name.
    """

    digest: str
    options: str
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
def thaw(name: str, packed: bytes) -> Any: ...
