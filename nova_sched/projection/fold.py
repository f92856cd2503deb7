"""The fold: one handler for each event, and nothing else changes the state.

A handler checks everything before it changes anything. It returns None, a
:class:`Reason` (why a claim does not take effect) or a SetAside (an event
that must not count); in both cases the state is as it was.
"""

from collections.abc import Callable
from typing import Any

from nova_sched.projection import inventory as inventories
from nova_sched.projection import provider_rows, provider_tree
from nova_sched.projection.claim_checks import claim_refusal
from nova_sched.projection.claim_refusals import ClaimRefused
from nova_sched.projection.devices import checked_guest
from nova_sched.projection.holding import add_entry, count_devices, devices_counted_once, reconcile, remove_entry, start
from nova_sched.projection.host_trees import join_tree, leave_tree, pass_authority, root_found
from nova_sched.projection.ledger import (
    AGENT,
    AUTHORITIES,
    CLAIMED,
    HELD,
    NOVA,
    RUNNING,
    Entry,
    Holder,
    Host,
    PlainTree,
)
from nova_sched.projection.noted import Noted
from nova_sched.projection.reason import Reason
from nova_sched.projection.state import EventOf, State
from nova_sched.projection.use import note_strays
from nova_sched.projection.writes import WRITE_HANDLERS, mark_providers
from rpc_api import errors, events
from rpc_api.codec import MAX_NAME, Event, SetAside
from rpc_api.digest import inventory_digest

#: Name of the log for events that belong to no cell.
CELL0 = "cell0"
#: Of one ClaimsWatched no more time counts: a conductor watches for 60 s, and then it appends one.
WATCHED_MAX_MS = 120_000


# --- hosts -------------------------------------------------------------------------------------------------------


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
    host = projection.hosts.get(data.host) or _waiting(projection, data.host)
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
    authority = AGENT
    if host is not None:
        authority = host.authority
    elif tree is not None:
        authority = tree.inventory.authority
    fault = _authority_fault(event, authority, tree)
    if fault:
        return SetAside("not-its-authority", fault, b"")
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


def _waiting(projection: State, name: str) -> Host | None:
    """The host of a name that waits for its root provider."""
    return next((host for host in projection.waiting.values() if host.name == name), None)


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


def _place(
    projection: State, host: Host, tree: provider_tree.ProviderTree, at_ns: int, position: int, noted: list[Noted]
) -> None:
    """Write a new inventory of a host: with its tree, or on the tree that the log has of its root provider."""
    root_uuid = tree.inventory.root_uuid or tree.inventory.providers[0].uuid
    for uuid in [uuid for uuid, waiting in projection.waiting.items() if waiting is host]:
        del projection.waiting[uuid]
    plain = projection.trees.get(root_uuid)
    is_other = host.root >= 0 and projection.table.uuids[host.root] != root_uuid
    if is_other and (tree.inventory.root_uuid is not None or type(plain) is PlainTree):
        leave_tree(projection, host)
    if host.root < 0 and type(plain) is PlainTree:
        join_tree(projection, host, plain)
    if tree.inventory.root_uuid is None:
        projection.hosts[host.name] = host
        host.providers = b""
        _write_inventory(projection, host, tree, at_ns, position, noted)
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
    projection.table.touch_tree(tree.root)
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
    if host.authority != data.authority:
        pass_authority(projection, host, data.authority)
        noted.append(
            Noted(position, "authority-passed", host.name, f"{event.producer} passed it to {data.authority}", True)
        )
    return None


def _write_inventory(
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


def host_removed(projection: State, position: int, event: EventOf[events.HostRemoved], noted: list[Noted]) -> None:
    """Remove a host, its providers and its entries."""
    host = projection.hosts.get(event.data.host)
    if host is None:
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


# --- claims ------------------------------------------------------------------------------------------------------


def claim_proposed(
    projection: State, position: int, event: EventOf[events.ClaimProposed], noted: list[Noted]
) -> Reason | None:
    """Accept a claim if there is room for all of it and its conditions hold at this very position."""
    data = event.data
    host = projection.hosts.get(data.host)
    if host is None:
        return Reason(ClaimRefused.UNKNOWN_HOST, (data.host,))
    reason = claim_refusal(projection, host, data)
    if reason is not None:
        return reason
    add_entry(
        projection,
        host,
        Entry(
            data.consumer_uuid,
            data.instance_uuid,
            data.project_id,
            data.host,
            data.allocations,
            data.rule,
            data.claim_uuid,
            CLAIMED if host.authority == AGENT else HELD,
            position,
            0,
            data.guest,
            None if projection.rules.claims_have_an_age and host.authority == AGENT else 0,
        ),
    )
    if projection.rules.one_ledger:
        projection.holders[data.consumer_uuid].written_ns = event.at_ns
        mark_providers(projection, {allocation.provider_uuid for allocation in data.allocations}, event.at_ns)
    return None


def claim_released(
    projection: State, position: int, event: EventOf[events.ClaimReleased | events.ClaimExpired], noted: list[Noted]
) -> None:
    """Release a claim, if it is still the claim of its consumer and was not started."""
    _end_claim(projection, event.data.consumer_uuid, event.data.claim_uuid)


claim_expired = claim_released


def claims_watched(projection: State, position: int, event: EventOf[events.ClaimsWatched], noted: list[Noted]) -> None:
    """Claims are older by the time for which a conductor watched them, unless it overlaps with that of another one.

    A claim that came meanwhile, or that is being built, was not left alone all the time: it counts from here on.
    """
    data = event.data
    if data.after_ms == projection.watched_ms:
        projection.watched_ms += min(data.watched_ms, WATCHED_MAX_MS)
    built = [entry for consumer in data.building for entry in projection.consumers.get(consumer, ())]
    for entry in (*projection.unwatched.values(), *built):
        entry.watched_from_ms = projection.watched_ms
    projection.unwatched.clear()


def _end_claim(projection: State, consumer_uuid: str, claim_uuid: str) -> None:
    for entry in projection.consumers.get(consumer_uuid, ()):
        if entry.claim_uuid == claim_uuid and entry.state is not RUNNING:
            remove_entry(projection, projection.hosts[entry.host], entry)


def instance_started(
    projection: State, position: int, event: EventOf[events.InstanceStarted], noted: list[Noted]
) -> SetAside | None:
    """A claim becomes the host's own use."""
    data = event.data
    host = projection.hosts.get(data.host)
    if host is None:
        noted.append(
            Noted(position, "unknown-host", data.host, "an instance started before the host was reported", True)
        )
        return None
    try:
        checked_guest(data.consumer.guest, f"the agent of {data.host}")
    except errors.InvalidEvent as broken:
        return SetAside("invalid", str(broken), b"")
    start(projection, host, data.consumer, position, noted)
    return None


def instance_deleted(
    projection: State, position: int, event: EventOf[events.InstanceDeleted], noted: list[Noted]
) -> None:
    """The resources that an instance used on a host are free again; a claim for a new start there stays."""
    host = projection.hosts.get(event.data.host)
    if host is not None:
        for entry in list(host.entries.values()):
            if entry.instance_uuid == event.data.instance_uuid and entry.state is RUNNING:
                remove_entry(projection, host, entry)
    return None


def allocation_moved(
    projection: State, position: int, event: EventOf[events.AllocationMoved], noted: list[Noted]
) -> None:
    """Pass the allocations of one consumer on a host to another, unless the other has some there already."""
    data = event.data
    host = projection.hosts.get(data.host)
    entry = host.entries.get(data.from_consumer_uuid) if host else None
    if host is None or entry is None or data.to_consumer_uuid in projection.consumers:
        noted.append(
            Noted(
                position,
                "not-moved",
                data.host,
                f"{data.from_consumer_uuid} holds nothing here, or {data.to_consumer_uuid} does already",
            )
        )
        return None
    remove_entry(projection, host, entry)
    entry.consumer_uuid = data.to_consumer_uuid
    add_entry(projection, host, entry)
    return None


# --- not about a host --------------------------------------------------------------------------------------------


def log_opened(projection: State, position: int, event: EventOf[events.LogOpened], noted: list[Noted]) -> None:
    """The first event of a log; its epoch is in each record."""


def log_rebased(projection: State, position: int, event: EventOf[events.LogRebased], noted: list[Noted]) -> None:
    """Drop the whole state, because a reader that starts here does not know the events before."""
    projection.forget()
    projection.accounts_required = event.data.accounts_required
    noted.append(Noted(position, "rebased", None, f"{event.producer} found the log to begin at {event.data.first}"))


def accounts_required(
    projection: State, position: int, event: EventOf[events.AccountsRequired], noted: list[Noted]
) -> None:
    """From this position on, events count only with the accounts of their producers, or with any account."""
    projection.accounts_required = event.data.required


def level_pinned(
    projection: State, position: int, event: EventOf[events.LevelPinned], noted: list[Noted]
) -> SetAside | None:
    """From the next event on, the log has a higher level: all hosts are written and counted again by its rules."""
    level = event.data.level
    if level < max(2, projection.level):
        return SetAside(
            "lower-level",
            f"{event.producer} pins the log to level {level}, it is at level {projection.level}; "
            "a level is never taken back",
            b"",
        )
    if level > projection.level:
        was_ledger = projection.rules.one_ledger
        projection.use_level(level, position)
        noted.append(Noted(position, "pinned", None, f"{event.producer} pinned the log to level {level}"))
        for host in projection.hosts.values():
            if host.authority == AGENT:
                _write_inventory(projection, host, provider_tree.tree_of(host), None, position, noted)
            projection.table.touched.touch(host.root)
        if projection.rules.one_ledger and not was_ledger:
            _begin_ledger(projection, event.at_ns)
    return None


def _begin_ledger(projection: State, at_ns: int) -> None:
    """Give the providers and consumers of a log that becomes a ledger their first generation."""
    for uuid, tree in projection.trees.items():
        provider_rows.mark_written(projection.table, tree.rows[uuid], at_ns)
    for names in (projection.custom_classes, projection.custom_traits):
        names.update(dict.fromkeys(names, at_ns))
    projection.holders = {
        consumer: Holder(1, entries[0].project_id, None, None, at_ns)
        for consumer, entries in projection.consumers.items()
    }


def counted(projection: State, position: int, event: Event, noted: list[Noted]) -> None:
    """Evidence: it stays in the log, is counted here, and changes no state."""


def aggregate_updated(
    projection: State, position: int, event: EventOf[events.AggregateUpdated], noted: list[Noted]
) -> None:
    """An aggregate is created or changed."""
    data = event.data
    if projection.aggregates.get(data.uuid) != data:
        projection.aggregates[data.uuid] = projection.table.aggregates[data.uuid] = data
        projection.table.topology_version += 1


def aggregate_deleted(
    projection: State, position: int, event: EventOf[events.AggregateDeleted], noted: list[Noted]
) -> None:
    """An aggregate is deleted."""
    if projection.aggregates.pop(event.data.uuid, None) is not None:
        projection.table.aggregates.pop(event.data.uuid, None)
        projection.table.topology_version += 1


def group_anchored(projection: State, position: int, event: EventOf[events.GroupAnchored], noted: list[Noted]) -> None:
    """An affinity group gets its host, if its anchor is still the one that the event replaces."""
    data = event.data
    anchor = projection.anchors.get(data.group_uuid)
    if (anchor[2] if anchor else 0) == data.replaces:
        projection.anchors[data.group_uuid] = (data.cell, data.host, position + 1)


def group_fenced(projection: State, position: int, event: EventOf[events.GroupFenced], noted: list[Noted]) -> None:
    """Claims of a group under old anchors are refused from here on, if it has no member in this cell."""
    data = event.data
    if data.group_uuid not in projection.groups.members:
        projection.fences[data.group_uuid] = max(data.anchor, projection.fences.get(data.group_uuid, 0))


HANDLERS: dict[str, Callable[[State, int, Any, list[Noted]], Reason | SetAside | None]] = {
    "LogOpened": log_opened,
    "LogRestored": counted,
    "LogRebased": log_rebased,
    "AccountsRequired": accounts_required,
    "LevelPinned": level_pinned,
    "HostReported": host_reported,
    "ProvidersReported": providers_reported,
    "AuthorityPassed": authority_passed,
    "HostConfirmed": host_confirmed,
    "HostLost": host_lost,
    "HostSeen": host_seen,
    "HostRemoved": host_removed,
    "InstancesTracked": instances_tracked,
    "ClaimProposed": claim_proposed,
    "ClaimReleased": claim_released,
    "ClaimExpired": claim_expired,
    "ClaimsWatched": claims_watched,
    "InstanceStarted": instance_started,
    "InstanceDeleted": instance_deleted,
    "AllocationMoved": allocation_moved,
    "BuildFailed": counted,
    "DecisionMade": counted,
    "RequestRefused": counted,
    "PolicyAdopted": counted,
    "AggregateUpdated": aggregate_updated,
    "AggregateDeleted": aggregate_deleted,
    "GroupAnchored": group_anchored,
    "GroupFenced": group_fenced,
    "StateKept": counted,
    "CheckpointNamed": counted,
    **WRITE_HANDLERS,
}
