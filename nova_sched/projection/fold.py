"""The fold: one handler for each event, and nothing else changes the state.

A handler checks everything before it changes anything. It returns None, a
:class:`Refusal` (a claim that does not take effect) or a SetAside (an event
that must not count); in both cases the state is as it was.
"""

from nova_sched.projection import inventory as inventories
from nova_sched.projection.ledger import CLAIMED, RUNNING, Entry, Host
from rpc_api import errors, events
from rpc_api.codec import SetAside
from rpc_api.digest import MASK, consumer_hash, host_digest, inventory_digest


class Refusal(str):
    """Why a claim was refused; compares as its text."""


# --- entries -----------------------------------------------------------------------------------------------------

def add_entry(projection, host, entry) -> None:
    """Put an entry on its host and count it."""
    table = projection.table
    host.entries[entry.consumer_uuid] = entry
    projection.consumers[entry.consumer_uuid] = projection.consumers.get(entry.consumer_uuid, ()) + (entry,)
    projection.groups.add(entry)
    _count_use(table, host, entry.allocations, +1)
    if entry.state is RUNNING:
        host.running_digest = (host.running_digest + entry.hash) & MASK
    table.num_instances[host.root] += 1
    table.touch(host.root)


def remove_entry(projection, host, entry) -> None:
    """Take an entry off its host and give back what it held."""
    table = projection.table
    del host.entries[entry.consumer_uuid]
    rest = tuple(one for one in projection.consumers[entry.consumer_uuid] if one is not entry)
    if rest:
        projection.consumers[entry.consumer_uuid] = rest
    else:
        del projection.consumers[entry.consumer_uuid]
    projection.groups.remove(entry)
    _count_use(table, host, entry.allocations, -1)
    if entry.state is RUNNING:
        host.running_digest = (host.running_digest - entry.hash) & MASK
    table.num_instances[host.root] -= 1
    table.touch(host.root)


def _count_use(table, host, allocations, sign):
    """Count allocations on the rows of a host; one of a provider that the host does not have (any more) counts nowhere."""
    for provider_uuid, resource_class, amount in allocations:
        row = table.row_of_uuid.get(provider_uuid)
        if row is not None and table.root[row] == host.root:
            table.take(row, table.class_index(resource_class), sign * amount)


def count_all_use(projection, host) -> None:
    """Count every entry of a host again, after its providers were cleared."""
    for entry in host.entries.values():
        _count_use(projection.table, host, entry.allocations, +1)


def _start(projection, host, entry, consumer, note):
    """Turn an entry into the host's own use, as its agent reports it."""
    hash_ = consumer_hash(consumer.instance_uuid, consumer.allocations)
    same = sorted(entry.allocations) == sorted(consumer.allocations)
    if entry.state is RUNNING and same:
        return
    if same:
        entry.state, entry.hash = RUNNING, hash_
        host.running_digest = (host.running_digest + hash_) & MASK
        projection.table.touch(host.root)
        return
    note("differs", f"{consumer.instance_uuid} uses other resources than were claimed")
    remove_entry(projection, host, entry)
    add_entry(projection, host, Entry(
        entry.consumer_uuid, entry.instance_uuid, entry.project_id, host.name, consumer.allocations,
        entry.rule or consumer.rule, entry.claim_uuid, RUNNING, entry.position, hash_))


def _add_running(projection, host, consumer, position):
    add_entry(projection, host, Entry(
        consumer.instance_uuid, consumer.instance_uuid, consumer.project_id, host.name, consumer.allocations,
        consumer.rule, None, RUNNING, position, consumer_hash(consumer.instance_uuid, consumer.allocations)))


def _entry_of_instance(host, instance_uuid):
    """The entry under which a host holds an instance: a running one first (an instance may be resized in place)."""
    entry = host.entries.get(instance_uuid)
    if entry is not None and entry.state is RUNNING:
        return entry
    for other in host.entries.values():
        if other.instance_uuid == instance_uuid and other.state is RUNNING:
            return other
    return entry


# --- hosts -------------------------------------------------------------------------------------------------------

def _not_its_host(host, event):
    if host is not None and host.producer != event.producer and not host.lost:
        return SetAside("not-its-host", f"a {event.name} for {host.name} by {event.producer}; "
                                        f"that host speaks through {host.producer}", b"")
    return None


def host_reported(projection, position, event, noted):
    """The host is as it says: its inventory and status are written, its consumers are brought in line."""
    data = event.data
    host = projection.hosts.get(data.host)
    aside = _not_its_host(host, event)
    if aside:
        return aside
    tree = consumers = None
    try:
        if host is None or host.inventory != data.inventory:
            tree = inventories.checked(projection, data.host, data.inventory)
        if data.consumers_digest != (host.running_digest if host else 0) or host is None:
            consumers = events.thaw("HostConsumers", data.consumers).consumers
    except errors.InvalidEvent as broken:
        return SetAside("invalid", str(broken), b"")
    if host is None:
        host = projection.hosts[data.host] = Host(data.host, data.server, event.producer, projection.cell)
    host.server, host.producer = data.server, event.producer
    if tree is not None:
        inventories.write(projection, host, tree)
        host.inventory, host.inventory_digest = data.inventory, inventory_digest(data.inventory)
        count_all_use(projection, host)
        projection.table.sum_tree(host.root)
    if host.status != data.status or host.lost:
        host.status, host.lost = data.status, False
        inventories.write_status(projection.table, host)
    if consumers is not None:
        _reconcile(projection, host, consumers, position, noted)
    projection.table.touch(host.root)
    return None


def _reconcile(projection, host, consumers, position, noted):
    """Bring the running entries of a host in line with what it reports; claims that it does not run yet stay."""
    def note(kind, detail):
        projection.counts["divergence"] += 1
        noted.append(_noted(position, kind, host.name, detail))

    first_report = not host.entries
    reported = {consumer.instance_uuid: consumer for consumer in consumers}
    held = {}
    for entry in sorted(host.entries.values(), key=lambda one: (one.instance_uuid, one.state is not RUNNING)):
        held.setdefault(entry.instance_uuid, []).append(entry)
    for instance_uuid, entries in held.items():
        consumer = reported.pop(instance_uuid, None)
        if consumer is not None:
            if entries[0].state is CLAIMED:
                note("started-unseen", f"{instance_uuid} runs, its start was not seen")
            _start(projection, host, entries[0], consumer, note)
            entries = entries[1:]
        for entry in entries:
            if consumer is None and entry.state is RUNNING:
                note("vanished", f"{instance_uuid} does not run here any more")
                remove_entry(projection, host, entry)
    for consumer in reported.values():
        if not first_report:
            note("unclaimed-start", f"{consumer.instance_uuid} runs without a claim")
        _add_running(projection, host, consumer, position)


def _noted(position, kind, host, detail, resync=False):
    from nova_sched.projection.projection import Noted
    return Noted(position, kind, host, detail, resync)


def host_confirmed(projection, position, event, noted):
    """Compare digests; a host that the log does not know, or knows otherwise, is to report in full."""
    host = projection.hosts.get(event.data.host)
    aside = _not_its_host(host, event)
    if aside:
        return aside
    if host is None:
        noted.append(_noted(position, "unknown-host", event.data.host, "confirmed before it was reported", True))
    elif host_digest(host.inventory_digest, host.status, host.running_digest) != event.data.digest:
        projection.counts["divergence"] += 1
        noted.append(_noted(position, "digest-mismatch", host.name, "the host is not as the log has it", True))
    return None


def host_lost(projection, position, event, noted):
    """No instance goes to a host that is not heard of; what it runs stays counted."""
    return _set_lost(projection, event.data.host, True)


def host_seen(projection, position, event, noted):
    """A lost host is heard again."""
    return _set_lost(projection, event.data.host, False)


def _set_lost(projection, name, lost):
    host = projection.hosts.get(name)
    if host is not None and host.lost != lost:
        host.lost = lost
        inventories.write_status(projection.table, host)
        projection.table.touch(host.root)


def host_removed(projection, position, event, noted):
    """Forget a host, its providers and what it held."""
    host = projection.hosts.get(event.data.host)
    if host is None:
        return None
    if event.producer.startswith("compute_agent/"):
        aside = _not_its_host(host, event)
        if aside:
            return aside
    for entry in list(host.entries.values()):
        remove_entry(projection, host, entry)
    inventories.erase(projection.table, host)
    del projection.hosts[host.name]
    return None


# --- claims ------------------------------------------------------------------------------------------------------

def claim_proposed(projection, position, event, noted):
    """Accept a claim if there is room for all of it and its conditions hold at this very position."""
    data = event.data
    host = projection.hosts.get(data.host)
    reason = claim_refusal(projection, host, data)
    if reason is not None:
        return Refusal(reason)
    add_entry(projection, host, Entry(
        data.consumer_uuid, data.instance_uuid, data.project_id, data.host, data.allocations, data.rule,
        data.claim_uuid, CLAIMED, position, 0))
    return None


def claim_refusal(projection, host, claim) -> str | None:
    """Why a claim cannot be accepted in the present state; None when it can."""
    if host is None:
        return f"unknown host {claim.host}"
    table = projection.table
    if not claim.forced:
        if table.down[host.root]:
            return "down"
        if table.disabled[host.root]:
            return "disabled"
    if claim.consumer_uuid in projection.consumers:
        return "the consumer holds resources already"
    wanted = {}
    for provider_uuid, resource_class, amount in claim.allocations:
        if amount < 1 or (provider_uuid, resource_class) in wanted:
            return "malformed allocations"
        wanted[provider_uuid, resource_class] = amount
    for (provider_uuid, resource_class), amount in wanted.items():
        row = table.row_of_uuid.get(provider_uuid)
        if row is None or table.root[row] != host.root:
            return f"unknown provider {provider_uuid}"
        index = table.classes.get(resource_class)
        if index < 0 or not fits(table, row, index, amount):
            return resource_class
    if claim.rule is not None:
        fence = projection.fences.get(claim.rule.group_uuid, 0)
        if claim.rule.policy == "together" and claim.rule.limit <= fence and fence:
            return "affinity: the group was moved to another cell"
        return projection.groups.breach(claim.rule)
    return None


def fits(table, row, index, amount) -> bool:
    """Whether an amount fits what the log says is left of a class on a row (in-flight claims do not count)."""
    return (table.used[index, row] + amount <= table.capacity[index, row]
            and table.min_unit[index, row] <= amount <= table.max_unit[index, row]
            and table.step_size[index, row] > 0 and amount % table.step_size[index, row] == 0)


def claim_released(projection, position, event, noted):
    """Give a claim back, if it is still this claim and was not started."""
    return _end_claim(projection, event.data.consumer_uuid, event.data.claim_uuid)


claim_expired = claim_released


def _end_claim(projection, consumer_uuid, claim_uuid):
    for entry in projection.consumers.get(consumer_uuid, ()):
        if entry.claim_uuid == claim_uuid and entry.state is CLAIMED:
            remove_entry(projection, projection.hosts[entry.host], entry)


def instance_started(projection, position, event, noted):
    """A claim becomes the host's own use."""
    data = event.data
    host = projection.hosts.get(data.host)
    aside = _not_its_host(host, event)
    if aside:
        return aside
    if host is None:
        noted.append(_noted(position, "unknown-host", data.host, "an instance started before the host was reported", True))
        return None

    def note(kind, detail):
        projection.counts["divergence"] += 1
        noted.append(_noted(position, kind, host.name, detail))

    entry = host.entries.get(data.consumer.instance_uuid) or _entry_of_instance(host, data.consumer.instance_uuid)
    if entry is not None:
        _start(projection, host, entry, data.consumer, note)
    else:
        note("unclaimed-start", f"{data.consumer.instance_uuid} started without a claim")
        _add_running(projection, host, data.consumer, position)
    return None


def instance_deleted(projection, position, event, noted):
    """What an instance used on a host is free again; a claim for a new start there stays."""
    host = projection.hosts.get(event.data.host)
    aside = _not_its_host(host, event)
    if aside:
        return aside
    if host is not None:
        for entry in list(host.entries.values()):
            if entry.instance_uuid == event.data.instance_uuid and entry.state is RUNNING:
                remove_entry(projection, host, entry)
    return None


def allocation_moved(projection, position, event, noted):
    """What one consumer holds on a host passes to another, unless the other holds something already."""
    data = event.data
    host = projection.hosts.get(data.host)
    entry = host.entries.get(data.from_consumer_uuid) if host else None
    if entry is None or data.to_consumer_uuid in projection.consumers:
        noted.append(_noted(position, "not-moved", data.host,
                            f"{data.from_consumer_uuid} holds nothing here, or {data.to_consumer_uuid} does already"))
        return None
    remove_entry(projection, host, entry)
    entry.consumer_uuid = data.to_consumer_uuid
    add_entry(projection, host, entry)
    return None


# --- what belongs to no host -------------------------------------------------------------------------------------

def log_opened(projection, position, event, noted):
    """The beginning of a log; its epoch stands in each record."""


def counted(projection, position, event, noted):
    """Evidence: kept by the log, counted here, no state."""


def aggregate_updated(projection, position, event, noted):
    """An aggregate is as the event says."""
    data = event.data
    known = projection.table.aggregates.get(data.uuid)
    if known != data:
        projection.table.aggregates[data.uuid] = data
        projection.table.topology_version += 1


def aggregate_deleted(projection, position, event, noted):
    """An aggregate is gone."""
    if projection.table.aggregates.pop(event.data.uuid, None) is not None:
        projection.table.topology_version += 1


def group_anchored(projection, position, event, noted):
    """An affinity group gets its host, if its anchor is still the one that the event replaces."""
    data = event.data
    anchor = projection.anchors.get(data.group_uuid)
    if (anchor[2] if anchor else 0) == data.replaces:
        projection.anchors[data.group_uuid] = (data.cell, data.host, position + 1)


def group_fenced(projection, position, event, noted):
    """Claims of a group under old anchors are refused from here on, if it has no member in this cell."""
    data = event.data
    if data.group_uuid not in projection.groups.members:
        projection.fences[data.group_uuid] = max(data.anchor, projection.fences.get(data.group_uuid, 0))


HANDLERS = {
    "LogOpened": log_opened,
    "HostReported": host_reported,
    "HostConfirmed": host_confirmed,
    "HostLost": host_lost,
    "HostSeen": host_seen,
    "HostRemoved": host_removed,
    "ClaimProposed": claim_proposed,
    "ClaimReleased": claim_released,
    "ClaimExpired": claim_expired,
    "InstanceStarted": instance_started,
    "InstanceDeleted": instance_deleted,
    "AllocationMoved": allocation_moved,
    "BuildFailed": counted,
    "DecisionMade": counted,
    "PolicyAdopted": counted,
    "AggregateUpdated": aggregate_updated,
    "AggregateDeleted": aggregate_deleted,
    "GroupAnchored": group_anchored,
    "GroupFenced": group_fenced,
}
