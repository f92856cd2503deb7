"""The hosts of a cell as the tap knows them, and the events that are due for the log.

The model has no thread, no clock and no queue. Its owner gives it changes and the state of the log, one by one. What it
knows is lost with the process: then the log's own state counts until nova-compute publishes the host again.
"""

from typing import Any, NamedTuple

from conductor.monitor import Monitor
from conductor.tap.decode import Change
from conductor.tap.instances import Instances
from conductor.tap.removals import REPORT_AGAIN, Removals
from nova_sched.nova_objects.devices import Devices
from nova_sched.nova_objects.facts import SERVICE_VERSION, inventory_of, is_complete, report_of, status_of
from nova_sched.nova_objects.names import BINARY, DEVICE, IRONIC, NODE, SERVICE
from nova_sched.projection.ledger import AGENT, COMPUTE_STATUS_DISABLED, NOVA, Host
from nova_sched.projection.projection import Projection
from nova_sched.projection.provider_tree import read
from rpc_api import events

#: Seconds from one report of a host to the next one, as with agents.
REPORT_PAUSE = 1.0
#: Seconds after which another compute node takes the place of one with the same host that published nothing.
REPLACED_AFTER = 600.0
#: Level of the log from which on a conductor may report hosts.
LEVEL = events.HostReported.schema.LATER_ROLES["conductor"]


class Said(NamedTuple):
    """What was published last of a host, and when (seconds, monotonic)."""

    inventory: bytes
    status: events.HostStatus
    at: float


class TapModel:
    """``service_down_time`` in seconds. All times are monotonic seconds."""

    def __init__(self, service_down_time: float, now: float) -> None:
        #: Beats of hosts whose authority is Nova.
        self.monitor = Monitor(service_down_time)
        self._began_at = now
        #: Compute node uuid -> its known fields, and when it was published last.
        self._nodes: dict[str, dict[str, Any]] = {}
        self._published_at: dict[str, float] = {}
        self._devices = Devices()
        #: Id of a compute node in Nova's database -> its host.
        self._host_of_id: dict[int | None, str] = {}
        #: Host -> uuid of its compute node; host -> the known fields of its service.
        self._node_of: dict[str, str] = {}
        self._services: dict[str, dict[str, Any]] = {}
        #: Host -> how many messages in a row called its service disabled without the trait that says the same.
        self._unexplained: dict[str, int] = {}
        #: Hosts that changed since their last report, and what was published last of each.
        self._changed: dict[str, bool] = {}
        self._said: dict[str, Said] = {}
        #: Host -> (inventory, status) as it should be in the log.
        self._wanted: dict[str, tuple[bytes, events.HostStatus]] = {}
        self._instances = Instances()
        self._removals = Removals()
        self._looked_at = now
        #: Host -> names of the objects that must come before its facts are certain again.
        self.unsure: dict[str, set[str]] = {}
        #: Host -> uuid of a second compute node that publishes under its name.
        self.doubled: dict[str, str] = {}

    # --- what came -------------------------------------------------------------------------------------------------

    def take(self, change: Change, projection: Projection, now: float) -> str | None:
        """Note a change. Returns why it cannot be used (a sentence), else None."""
        if change.name == NODE:
            return self._take_node(change, projection, now)
        if change.name == SERVICE:
            return self._take_service(change, projection, now)
        if change.name == DEVICE:
            return self._take_device(change)
        return self._instances.take(change)

    def messages_were_lost(self, projection: Projection) -> None:
        """Messages were lost, or nothing was read for a while: what the log has of the hosts may be older than the
        hosts."""
        for host in [*_hosts_of_nova(projection), *self._node_of]:
            self.host_lost_messages(host)

    def host_lost_messages(self, host: str) -> None:
        """Messages of one host were lost."""
        self.unsure[host] = {NODE, SERVICE}
        self._instances.messages_were_lost([host])

    def read_again(self, away: float, now: float) -> None:
        """Nothing was read for some seconds up to ``now``, and another process may have read instead: what is known of
        the hosts is dropped, as the log may know better."""
        self.monitor.heard_nothing_for(away, now)
        self._began_at = now
        # They were not reported yet, and are as soon as nova-compute publishes them again.
        self.unsure.update((host, {NODE, SERVICE}) for host in self._changed)
        for known in (self._nodes, self._published_at, self._node_of, self._host_of_id, self._services, self._changed):
            known.clear()
        self._unexplained.clear()
        self._devices.forget_all()
        self._instances.forget_all()
        for published in (self._said, self._wanted, self.doubled):
            published.clear()
        self._removals.forget_all()

    def log_began(self) -> None:
        """The log is another one, or may have lost records: all known hosts are reported again."""
        self._said.clear()
        self._removals.log_began()
        self._instances.publish_again()
        self._changed.update(dict.fromkeys(self._node_of, True))

    def report_again(self, hosts: list[str]) -> None:
        """The log needs full reports of these hosts."""
        for host in hosts:
            self._said.pop(host, None)
            self._changed[host] = True

    def _take_node(self, change, projection, now):
        fields = change.fields
        uuid = fields.get("uuid")
        if uuid is None:
            return f"a ComputeNode {change.method} without a uuid; upgrade that nova-compute"
        known = self._nodes.get(uuid, {})
        before = known.get("host") or _host_of_root(projection, uuid)
        if change.method == "destroy":
            _drop(self.doubled, before, uuid)
            was_used = before is not None and self._root_of(projection, before) in (uuid, None)
            self._forget_node(uuid)
            if was_used:
                self._remove(before, "nova-compute removed its compute node", projection)
            return None
        node = {**known, **fields}
        host = node.get("host")
        self._nodes[uuid], self._published_at[uuid] = node, now
        if not is_complete(node):
            return None
        # The log may show one from before this process.
        others = dict.fromkeys((before, _host_of_root(projection, uuid)))
        for other in [other for other in others if other not in (None, host)]:
            _drop(self.doubled, other, uuid)
            if other not in self._removals and self._root_of(projection, other) in (uuid, None):
                self._remove(other, f"its compute node {uuid} is that of the host {host} now", projection)
        root = self._root_of(projection, host)
        if root not in (None, uuid) and not self._replaces(change, root, node, projection, now):
            self.doubled[host] = uuid
            return _not_used(host, root, uuid, node["hypervisor_type"])
        if root not in (None, uuid):
            self._forget_node(root)
        self._use_node(host, uuid, projection)
        return None

    def _use_node(self, host, uuid, projection):
        """A complete compute node is that of its host from now on."""
        _drop(self.doubled, host, uuid)
        self._node_of[host] = uuid
        if "id" in self._nodes[uuid]:
            self._host_of_id[self._nodes[uuid]["id"]] = host
        if host in self._removals:
            self._removals.came_back(host, _root_in(projection, host) == uuid)
        self._changed[host] = True
        self._is_sure(host, NODE)

    def _replaces(self, change, root, node, projection, now):
        """Whether a compute node takes the place of the one that its host had: it was created again under the same
        name, or the other one has published nothing for long."""
        name = self._nodes.get(root, {}).get("hypervisor_hostname")
        if name is None:
            tree = projection.trees.get(root)
            name = projection.table.node_names[tree.root] if isinstance(tree, Host) else None
        if change.method == "create" and name in (None, node.get("hypervisor_hostname")):
            return True
        return now - self._published_at.get(root, self._began_at) >= REPLACED_AFTER

    def _root_of(self, projection, host):
        """Uuid of the compute node of a host: of the one that published, else of the one in the log."""
        if host in self._node_of:
            return self._node_of[host]
        known = self._host_in(projection, host)
        if known is None or known.authority != NOVA:
            return None
        return read(known.inventory).inventory.root_uuid

    def _take_service(self, change, projection, now):
        fields = change.fields
        host = fields.get("host")
        if fields.get("binary") != BINARY or not host:
            return None
        if change.method == "destroy":
            self._services.pop(host, None)
            self._unexplained.pop(host, None)
            return None
        self.monitor.heard([host], now)
        before = self._services.get(host)
        self._services[host] = service = {**(before or {}), **fields, **self._disabled(change, host, projection)}
        if service != before:
            self._changed[host] = True
        self._is_sure(host, SERVICE)
        return None

    def _disabled(self, change, host, projection):
        """``disabled`` of a service, in a dictionary; it is empty if the message does not give it.

        A heartbeat gives what the database had at the heartbeat before. The trait of the root provider comes at once,
        both ways, so a heartbeat counts only if the heartbeat before it also said disabled and neither met the trait.
        """
        if "disabled" not in change.fields:
            return {}
        disabled = change.fields["disabled"]
        is_explained = not disabled or _has_trait(projection, host)
        self._unexplained[host] = 0 if is_explained else self._unexplained.get(host, 0) + 1
        return {"disabled": disabled and ("disabled" in change.changed or self._unexplained[host] >= 2)}

    def _take_device(self, change):
        host = self._host_of_id.get(self._devices.take(change.fields))
        if host in self._node_of:
            self._changed[host] = True
        return None

    def _is_sure(self, host, name):
        missing = self.unsure.get(host)
        if missing is not None:
            missing.discard(name)
            if not missing:
                del self.unsure[host]

    def _forget_node(self, uuid):
        self._published_at.pop(uuid, None)
        host = self._nodes.pop(uuid, {}).get("host")
        if host is not None and self._node_of.get(host) == uuid:
            del self._node_of[host]

    def _remove(self, host, reason, projection):
        """Nova has no such host any more, unless a second compute node of its name waited."""
        is_in_log = host in self._said or self._host_in(projection, host) is not None
        waiting = self.doubled.get(host)
        for known in (self._node_of, self._said, self._wanted, self._changed, self.unsure, self.doubled):
            known.pop(host, None)
        self._removals.removed(host, reason, is_in_log)
        if waiting in self._nodes:
            self._use_node(host, waiting, projection)

    def _host_in(self, projection, host):
        """A host of the log; None for another name, and for one that is gone."""
        return None if host in self._removals else _host_in(projection, host)

    # --- what is due -----------------------------------------------------------------------------------------------

    def due(self, projection: Projection, now: float) -> list[Any]:
        """The events that are due, in their order. The log must be at its end, and at LEVEL or above."""
        found: list[Any] = self._removals.due(lambda host: _host_in(projection, host), now)
        if now - self._looked_at >= REPORT_AGAIN:
            self._looked_at = now
            self._look_again(projection)
        for host in list(self._changed):
            said = self._said.get(host)
            if said is not None and now - said.at < REPORT_PAUSE:
                continue
            del self._changed[host]
            report = self._report(host, projection, now)
            if report is not None:
                self._said[host] = Said(report.inventory, report.status, now)
                self._removals.was_reported(host)
                found.append(report)
        return found + self._instances.due(projection)

    def liveness(self, projection: Projection, now: float) -> list[Any]:
        """HostLost and HostSeen of the hosts whose authority is Nova."""
        return list(self.monitor.changes(_hosts_of_nova(projection), now))

    def _look_again(self, projection):
        """Find the hosts that the log has otherwise than it should, also because another one had the authority before.
        Forget unsure hosts that are gone."""
        self._changed.update(
            (host, True)
            for host in {**self._node_of, **self._wanted}
            if host not in self._wanted or self._differs(host, projection)
        )
        for host in [host for host in self.unsure if host not in projection.hosts and host not in self._node_of]:
            del self.unsure[host]

    def _differs(self, host, projection):
        """Whether the log has a host otherwise than it should."""
        known = self._host_in(projection, host)
        return (
            known is None
            or self._removals.must_be_reported(host)
            or (known.inventory, known.status) != self._wanted[host]
        )

    def _report(self, host, projection, now):
        """The HostReported of a host; None if the log has it, or too little is known yet."""
        known = self._host_in(projection, host)
        if known is not None and known.authority == AGENT:
            return None
        node = self._nodes.get(self._node_of.get(host, ""), {})
        service = self._services.get(host, {})
        status = status_of(node, service, None if known is None else known.status)
        if is_complete(node):
            before = None if known is None else read(known.inventory).inventory
            pools, is_between = self._devices.pools_of(host, node, before and before.pci_pools, now)
            if is_between:
                self._changed[host] = True
            version = None if before is None else before.stats.get(SERVICE_VERSION)
            inventory = inventory_of(node, str(service["version"]) if "version" in service else version, pools)
        else:
            inventory = None if known is None else known.inventory
        if inventory is None or status is None:
            return None
        self._wanted[host] = inventory, status
        if not self._differs(host, projection):
            return None
        said = self._said.get(host)
        if said is not None and said[:2] == (inventory, status) and now - said.at < REPORT_AGAIN:
            return None
        return report_of(host, inventory, status)

    # --- what is shown ---------------------------------------------------------------------------------------------

    def facts(self, projection: Projection) -> dict[str, Any]:
        """Facts for the report of the process."""
        return {
            "compute nodes": len(self._node_of),
            "unsure hosts": _named(self.unsure),
            "hosts with two compute nodes": _named(self.doubled),
            "waiting for a service": _named(
                [host for host in self._node_of if host not in self._services and _host_in(projection, host) is None]
            ),
            "waiting for a provider": _named([host.name for host in projection.waiting.values()]),
        }


def _not_used(host, root, uuid, hypervisor_type):
    """Why the second compute node of a host is not used."""
    if hypervisor_type.lower() == IRONIC:
        return (
            f"the host {host} has several bare-metal nodes (Ironic), and nova_sched can choose one per nova-compute: "
            f"{root} is used, and {uuid} is not; keep nova-scheduler in a cloud with such hosts"
        )
    return (
        f"the host {host} has two compute nodes, {root} and {uuid}, and the second one is not used; give each "
        "nova-compute a [DEFAULT] host of its own"
    )


def _hosts_of_nova(projection):
    return {name: host for name, host in projection.hosts.items() if host.authority == NOVA}


def _drop(known, key, value):
    """Remove a key if this is its value."""
    if known.get(key) == value:
        del known[key]


def _host_in(projection, host):
    """A host of the log, also one that waits for its root provider; None for another name."""
    return projection.hosts.get(host) or projection.waiting.named(host)


def _root_in(projection, host):
    """Uuid of the root provider of a host of the log; None for another name."""
    known = _host_in(projection, host)
    return None if known is None else read(known.inventory).inventory.root_uuid


def _has_trait(projection, host):
    """Whether the root provider of a host has the trait of a disabled service."""
    known = projection.hosts.get(host)
    return known is not None and projection.table.row_has_trait(COMPUTE_STATUS_DISABLED, known.root)


def _host_of_root(projection, uuid):
    """Name of the host of a root provider in the log; None if it has none."""
    tree = projection.trees.get(uuid)
    if isinstance(tree, Host):
        return tree.name
    waiting = projection.waiting.get(uuid)
    return None if waiting is None else waiting.name


def _named(hosts):
    """The number of hosts and the names of the first ones."""
    names = sorted(hosts)
    return f"{len(names)} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})" if names else "none"
