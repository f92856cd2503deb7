"""The handlers of events about hosts: what agents report, whether hosts are reachable, who decides about them.

As all handlers of the fold they check everything before they change anything.
"""

from nova_sched.projection import inventory as inventories
from nova_sched.projection import provider_rows, provider_tree
from nova_sched.projection.devices import checked_guest
from nova_sched.projection.holding import count_devices, devices_counted_once, reconcile, remove_entry
from nova_sched.projection.host_trees import join_tree, leave_tree, pass_authority, root_found
from nova_sched.projection.ledger import AGENT, AUTHORITIES, NOVA, Host, PlainTree
from nova_sched.projection.noted import Noted
from nova_sched.projection.prepared import is_busy
from nova_sched.projection.provider_columns import touch_tree
from nova_sched.projection.state import CELL0, EventOf, State
from nova_sched.projection.use import note_strays
from rpc_api import errors, events
from rpc_api.codec import MAX_NAME, SetAside
from rpc_api.digest import inventory_digest


def host_reported(
    projection: State, position: int, event: EventOf[events.HostReported], noted: list[Noted]
) -> SetAside | None:
    """Write the inventory and status that a host reports, and adapt its consumers to the report."""
    data = event.data
    if projection.cell == CELL0:
        return SetAside(
            "wrong-log",
            f"host {data.host} is reported in the log of {CELL0}, which has no hosts; fix the cell of its agent",
            b"",
        )
    host = projection.hosts.get(data.host)
    if host is None:
        host = projection.waiting.named(data.host)
    if host is None and not 0 < len(data.host) <= MAX_NAME:
        return SetAside(
            "invalid", f"a host's name of {len(data.host)} characters, wanted 1 to {MAX_NAME}; fix its agent", b""
        )
    tree = consumers = None
    try:
        if host is None or host.inventory != data.inventory:
            tree = inventories.checked(projection, data.host, data.inventory)
        if host is None or data.consumers_digest != host.running_digest:
            consumers = _consumers(data)
    except errors.InvalidEvent as broken:
        return SetAside("invalid", str(broken), b"")
    authority = AGENT if host is None else host.authority
    if projection.rules.one_ledger:
        if host is None and tree is not None:
            authority = tree.inventory.authority
        fault = _authority_fault(event, authority, tree)
        if fault:
            return SetAside("not-its-authority", fault, b"")
        if authority == AGENT and tree is not None and projection.prepared:
            busy = _busy_fault(projection, event.data.host, _root_of(tree))
            if busy is not None:
                return busy
    if host is None:
        host = Host(data.host, data.server, projection.cell)
        host.authority = authority
    host.server = data.server
    if tree is not None:
        host.inventory, host.inventory_digest = data.inventory, inventory_digest(data.inventory)
        _place(projection, host, tree, event.at_ns, position, noted)
    is_again = tree is not None or host.lost or host.status != data.status
    host.status, host.lost = data.status, False
    if host.root < 0:
        return None
    if is_again:
        inventories.write_status(projection.table, host)
    if consumers is not None and host.authority == AGENT:
        reconcile(projection, host, consumers, position, noted)
    if host.strays or host.stray_devices:
        note_strays(host, position, noted)
    projection.table.touched.touch(host.root)
    return None


def _authority_fault(
    event: EventOf[events.HostReported], authority: str, tree: provider_tree.ProviderTree | None
) -> str | None:
    """Why this report is not one of the host's authority; None if it is."""
    if tree is not None and tree.inventory.authority != authority:
        return (
            f"{event.producer} reports the host {event.data.host} under {tree.inventory.authority}, its authority is "
            f"{authority}; pass the authority first"
        )
    if authority == AGENT and not event.producer.startswith("compute_agent/"):
        return f"{event.producer} reports the host {event.data.host}, whose authority is its agent"
    return None


def _root_of(tree: provider_tree.ProviderTree) -> str:
    return tree.inventory.root_uuid or tree.inventory.providers[0].uuid


def _busy_fault(projection: State, host: str, root_uuid: str) -> SetAside | None:
    """An agent would become the authority over a tree on which a write over several logs holds room: it must report
    again."""
    plain = projection.trees.get(root_uuid)
    if type(plain) is not PlainTree or not is_busy(projection, plain):
        return None
    why = f"a write over several logs holds room on the providers of {host[:MAX_NAME]}; the agent reports again"
    return SetAside("busy", why, b"")


def _place(
    projection: State, host: Host, tree: provider_tree.ProviderTree, at_ns: int, position: int, noted: list[Noted]
) -> None:
    """Write a new inventory of a host: with its tree, or on the tree that the log has of its root provider."""
    root_uuid = _root_of(tree)
    projection.waiting.leave(host.name)
    plain = projection.trees.get(root_uuid)
    is_other = host.root >= 0 and projection.table.uuids[host.root] != root_uuid
    if is_other and (tree.inventory.root_uuid is not None or type(plain) is PlainTree):
        leave_tree(projection, host)
    if host.root < 0 and type(plain) is PlainTree:
        join_tree(projection, host, plain)
    if tree.inventory.root_uuid is None:
        projection.hosts[host.name] = host
        host.providers = b""
        write_inventory(projection, host, tree, at_ns, position, noted)
    elif host.root >= 0:
        projection.hosts[host.name] = host
        inventories.write_facts(projection, host, tree.inventory)
        count_devices(projection.table, host)
    else:
        projection.waiting[root_uuid] = host


def providers_reported(
    projection: State, position: int, event: EventOf[events.ProvidersReported], noted: list[Noted]
) -> SetAside | None:
    """Write the tree of providers that an agent reports, of a host or of one that is not known yet."""
    data = event.data
    host = projection.hosts.get(data.host)
    if projection.cell == CELL0 or (host is not None and host.authority != AGENT):
        return SetAside(
            "not-its-authority",
            f"{event.producer} reports providers of {data.host}, which are not its agent's; stop the agent, or pass "
            "the authority to it",
            b"",
        )
    if host is not None and host.providers == data.providers:
        return None
    try:
        providers, unread = inventories.checked_providers(projection, data.host, data.providers)
    except errors.InvalidEvent as broken:
        return SetAside("invalid", str(broken), b"")
    busy = _busy_fault(projection, data.host, providers[0].uuid) if projection.prepared else None
    if busy is not None:
        return busy
    plain = projection.trees.get(providers[0].uuid)
    tree = host or (plain if type(plain) is PlainTree else PlainTree())
    if host is not None and type(plain) is PlainTree:
        leave_tree(projection, host)
        join_tree(projection, host, plain)
        projection.hosts[host.name] = host
    tree.providers = data.providers
    _note_faults(inventories.write_tree(projection, tree, providers, unread, event.at_ns), data.host, position, noted)
    if host is None:
        root_found(projection, providers[0].uuid)
    else:
        inventories.write_facts(projection, host, provider_tree.read(host.inventory).inventory)
        host.forget_digest()
        count_devices(projection.table, host)
    touch_tree(projection.table, tree.root)
    return None


def authority_passed(
    projection: State, position: int, event: EventOf[events.AuthorityPassed], noted: list[Noted]
) -> SetAside | None:
    """Another one says from here on what the consumers of a host hold. What they hold now stays."""
    data = event.data
    host = projection.hosts.get(data.host)
    if host is None or data.authority not in AUTHORITIES:
        return SetAside(
            "invalid",
            f"{event.producer} passes the authority over {data.host[:MAX_NAME]} to {data.authority[:40]!r}, wanted a "
            "host that reports here, and agent or nova",
            b"",
        )
    if is_busy(projection, host):
        noted.append(
            Noted(position, "authority-kept", host.name, "a write over several logs holds room on the host", True)
        )
    elif host.authority != data.authority:
        pass_authority(projection, host, data.authority)
        noted.append(
            Noted(position, "authority-passed", host.name, f"{event.producer} passed it to {data.authority}", True)
        )
    return None


def host_disabled(
    projection: State, position: int, event: EventOf[events.HostDisabled], noted: list[Noted]
) -> SetAside | None:
    """An operator gives no more instances to a host of an agent."""
    return _switch(projection, event, event.data.reason)


def host_enabled(
    projection: State, position: int, event: EventOf[events.HostEnabled], noted: list[Noted]
) -> SetAside | None:
    """A host that an operator disabled takes instances again."""
    return _switch(projection, event, None)


def _switch(
    projection: State, event: EventOf[events.HostDisabled | events.HostEnabled], reason: str | None
) -> SetAside | None:
    host = projection.hosts.get(event.data.host)
    fault = _not_an_operators(event.producer, event.data.host, host)
    if host is None or fault is not None:
        return fault
    if host.disabled_for != reason:
        host.disabled_for = reason
        inventories.write_status(projection.table, host)
        projection.table.touched.touch(host.root)
    return None


def _not_an_operators(producer: str, name: str, host: Host | None) -> SetAside | None:
    """Why an operator may not change a host in the log; None if it is a host of an agent."""
    if host is None:
        return SetAside("invalid", f"{producer} changes the host {name[:MAX_NAME]}, which does not report here", b"")
    if host.authority != AGENT:
        why = f"{producer} changes the host {host.name}, whose authority is Nova; use the compute API of Nova"
        return SetAside("not-its-authority", why, b"")
    return None


def write_inventory(
    projection: State,
    host: Host,
    tree: provider_tree.ProviderTree,
    at_ns: int | None,
    position: int,
    noted: list[Noted],
) -> None:
    """Write an inventory, and note which providers are closed by a fault."""
    _note_faults(inventories.write(projection, host, tree, at_ns), host.name, position, noted)


def _note_faults(faults: list[str], host_name: str, position: int, noted: list[Noted]) -> None:
    for fault in faults:
        noted.append(
            Noted(position, "closed-provider", host_name, f"{fault}; the provider is closed until it is fixed")
        )


def _consumers(data: events.HostReported) -> tuple[events.Consumer, ...]:
    """The consumers that a report lists; InvalidEvent if the list cannot be right."""
    consumers = events.thaw("HostConsumers", data.consumers).consumers
    if len({consumer.instance_uuid for consumer in consumers}) != len(consumers):
        raise errors.InvalidEvent(f"the report of {data.host} names an instance twice; fix its agent")
    for consumer in consumers:
        checked_guest(consumer.guest, f"the agent of {data.host}")
    return consumers


def host_confirmed(projection: State, position: int, event: EventOf[events.HostConfirmed], noted: list[Noted]) -> None:
    """Compare digests; a host that is not known, or differs from the log, must report in full."""
    host = projection.hosts.get(event.data.host)
    if host is None:
        noted.append(Noted(position, "unknown-host", event.data.host, "confirmed before it was reported", True))
    elif host.digest() != event.data.digest:
        projection.counts["divergence"] += 1
        noted.append(Noted(position, "digest-mismatch", host.name, "the host is not as the log has it", True))
    return None


def host_lost(projection: State, position: int, event: EventOf[events.HostLost], noted: list[Noted]) -> None:
    """A host is unreachable: it gets no instances, and its instances stay counted."""
    _set_lost(projection, event.data.host, True)


def host_seen(projection: State, position: int, event: EventOf[events.HostSeen], noted: list[Noted]) -> None:
    """A lost host is reachable again."""
    _set_lost(projection, event.data.host, False)


def _set_lost(projection: State, name: str, lost: bool) -> None:
    host = projection.hosts.get(name)
    if host is not None and host.lost != lost:
        host.lost = lost
        inventories.write_status(projection.table, host)
        projection.table.touched.touch(host.root)


def host_removed(
    projection: State, position: int, event: EventOf[events.HostRemoved], noted: list[Noted]
) -> SetAside | None:
    """Remove a host, its providers and its entries."""
    host = projection.hosts.get(event.data.host)
    if event.producer.startswith("operator/"):
        fault = _not_an_operators(event.producer, event.data.host, host)
        if fault is not None:
            return fault
    if host is None:
        # One that waits for its root must not come back with it.
        projection.waiting.leave(event.data.host)
        return None
    if host.authority == AGENT:
        with devices_counted_once(projection.table, host):
            for entry in list(host.entries.values()):
                remove_entry(projection, host, entry)
    projection.tracked.drop_host(host.name)
    if host.authority == NOVA:
        leave_tree(projection, host)
    else:
        provider_rows.erase(projection, host)
        del projection.hosts[host.name]
    return None


def instances_tracked(
    projection: State, position: int, event: EventOf[events.InstancesTracked], noted: list[Noted]
) -> None:
    """Note where nova-compute reports instances; hosts that the log does not know are ignored."""
    data = event.data
    host = projection.hosts.get(data.host)
    if host is None:
        return
    for instance_uuid in data.gone:
        projection.tracked.drop(data.host, instance_uuid)
    for tracked in data.instances:
        before = projection.tracked.get(tracked.instance_uuid)
        projection.tracked.put(data.host, tracked.instance_uuid, tracked.image_properties)
        if before is not None:
            projection.table.touched.touch(projection.hosts[before.host].root)
    projection.table.touched.touch(host.root)
