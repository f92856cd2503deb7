"""Entries on hosts: added, removed, started, and adapted to the report of a host.

Every entry is added by :func:`add_entry` and removed by :func:`remove_entry`, so that the columns, the index of
consumers and the index of server groups always agree. Nothing here checks whether a claim is allowed.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from nova_sched.projection.devices import HostDevices, guest_of
from nova_sched.projection.ledger import CLAIMED, RUNNING, Entry, Holder, Host
from nova_sched.projection.noted import Noted
from nova_sched.projection.state import State
from nova_sched.projection.table import HostTable
from nova_sched.projection.use import count_on_host, count_use, find_stray_devices, note_strays
from rpc_api.digest import MASK, consumer_hash
from rpc_api.events import Consumer


def add_entry(projection: State, host: Host, entry: Entry) -> None:
    """Add an entry to its host and count it."""
    table = projection.table
    host.entries[entry.consumer_uuid] = entry
    index_entry(projection, entry)
    count_use(projection, host, entry, +1)
    if entry.guest is not None:
        count_devices(table, host)
    if entry.state is RUNNING:
        host.running_digest = (host.running_digest + entry.hash) & MASK
    table.num_instances[host.root] = len(host.entries)
    table.touched.touch_use(host.root)


def index_entry(projection: State, entry: Entry) -> None:
    """Add an entry to the indexes of consumers and of server groups."""
    consumer_uuid = entry.consumer_uuid
    others = projection.consumers.get(consumer_uuid)
    if others is None:
        projection.consumers[consumer_uuid] = (entry,)
    else:
        projection.consumers[consumer_uuid] = (*others, entry)
        projection.several.add(consumer_uuid)
    if entry.watched_from_ms is None:
        projection.unwatched[consumer_uuid] = entry
    if entry.rule is not None:
        projection.groups.add(entry)
    if projection.rules.one_ledger:
        holder = projection.holders.get(consumer_uuid)
        if holder is None:
            projection.holders[consumer_uuid] = Holder(1, entry.project_id)
        else:
            holder.generation += 1


def remove_entry(projection: State, host: Host, entry: Entry) -> None:
    """Remove an entry from its host and free its resources."""
    table = projection.table
    del host.entries[entry.consumer_uuid]
    unindex_entry(projection, entry)
    count_use(projection, host, entry, -1)
    if entry.guest is not None:
        count_devices(table, host)
    if entry.state is RUNNING:
        host.running_digest = (host.running_digest - entry.hash) & MASK
    table.num_instances[host.root] = len(host.entries)
    table.touched.touch_use(host.root)


def unindex_entry(projection: State, entry: Entry) -> None:
    """Remove an entry from the indexes of consumers and of server groups."""
    consumer_uuid = entry.consumer_uuid
    rest = tuple([other for other in projection.consumers[consumer_uuid] if other is not entry])
    if entry.watched_from_ms is None:
        projection.unwatched.pop(consumer_uuid, None)
    if rest:
        projection.consumers[consumer_uuid] = rest
        if len(rest) == 1:
            projection.several.discard(consumer_uuid)
    else:
        del projection.consumers[consumer_uuid]
    if entry.rule is not None:
        projection.groups.remove(entry)
    if projection.rules.one_ledger:
        if rest:
            projection.holders[consumer_uuid].generation += 1
        else:
            del projection.holders[consumer_uuid]


def replace_entry(projection: State, host: Host, old: Entry, new: Entry) -> None:
    """Put an entry in the place of another one of the same consumer, as one change of the consumer."""
    holder = projection.holders.get(old.consumer_uuid)
    generation = 0 if holder is None else holder.generation
    remove_entry(projection, host, old)
    add_entry(projection, host, new)
    if holder is not None:
        projection.holders[old.consumer_uuid] = holder
        holder.generation = generation + 1


def count_devices(table: HostTable, host: Host) -> None:
    """Count the use of a host's NUMA nodes and PCI pools again, from all its guests."""
    if host.waits_for_count:
        return
    devices = table.row_devices[host.root]
    guests = [guest_of(entry.guest) for entry in host.entries.values() if entry.guest is not None]
    if guests or host.stray_devices:
        find_stray_devices(host, None if devices is None else devices.capacity, guests)
    if devices is not None:
        table.set_devices(host.root, HostDevices(devices.capacity).with_guests(guests))


@contextmanager
def devices_counted_once(table: HostTable, host: Host) -> Iterator[None]:
    """Count devices once, after all entries were added and removed: each count reads all guests."""
    host.waits_for_count = True
    yield
    host.waits_for_count = False
    count_devices(table, host)


def count_all_use(projection: State, host: Host) -> None:
    """Count every entry of a host again on the host's providers, after they were cleared."""
    host.strays.clear()
    projection.stray_hosts.discard(host.name)
    for entry in host.entries.values():
        count_on_host(projection, host, entry, +1)


def _diverges(projection: State, host: Host, position: int, noted: list[Noted], kind: str, detail: str) -> None:
    """Count and note that the log and the host do not agree."""
    projection.counts["divergence"] += 1
    noted.append(Noted(position, kind, host.name, detail))


def start(projection: State, host: Host, consumer: Consumer, position: int, noted: list[Noted]) -> None:
    """An instance runs on a host: its entry there becomes use of the host."""
    entry = host.entries.get(consumer.instance_uuid)
    if entry is None or entry.instance_uuid != consumer.instance_uuid:
        entry = _best_entry(
            [other for other in host.entries.values() if other.instance_uuid == consumer.instance_uuid], consumer
        )
    if entry is not None:
        _start_entry(projection, host, entry, consumer, position, noted)
    else:
        _diverges(
            projection, host, position, noted, "unclaimed-start", f"{consumer.instance_uuid} started without a claim"
        )
        _add_running(projection, host, consumer, position, noted)
    if (host.strays and any(allocation[:2] in host.strays for allocation in consumer.allocations)) or (
        host.stray_devices and consumer.guest is not None
    ):
        note_strays(host, position, noted)


def reconcile(projection: State, host: Host, consumers: Iterable[Consumer], position: int, noted: list[Noted]) -> None:
    """Adapt the running entries of a host to its report; claims that it does not run yet stay."""
    with devices_counted_once(projection.table, host):
        _reconcile(projection, host, consumers, position, noted)


def _reconcile(projection: State, host: Host, consumers: Iterable[Consumer], position: int, noted: list[Noted]) -> None:
    first_report = not host.entries
    reported = {consumer.instance_uuid: consumer for consumer in consumers}
    for entry in [other for other in host.entries.values() if other.consumer_uuid in reported]:
        if entry.instance_uuid != entry.consumer_uuid:
            _displace(projection, host, entry, position, noted)
    held: dict[str, list[Entry]] = {}
    for entry in sorted(host.entries.values(), key=lambda other: (other.instance_uuid, other.consumer_uuid)):
        held.setdefault(entry.instance_uuid, []).append(entry)
    for instance_uuid, entries in held.items():
        consumer = reported.pop(instance_uuid, None)
        started = None if consumer is None else _best_entry(entries, consumer)
        for entry in entries:
            if entry is not started and entry.state is RUNNING:
                _diverges(projection, host, position, noted, "vanished", f"{instance_uuid} does not run here any more")
                remove_entry(projection, host, entry)
        if consumer is not None and started is not None:
            if started.state is CLAIMED:
                _diverges(
                    projection, host, position, noted, "started-unseen", f"{instance_uuid} runs, its start was not seen"
                )
            _start_entry(projection, host, started, consumer, position, noted)
    for consumer in reported.values():
        if not first_report:
            _diverges(
                projection, host, position, noted, "unclaimed-start", f"{consumer.instance_uuid} runs without a claim"
            )
        _add_running(projection, host, consumer, position, noted)


def _best_entry(entries: Iterable[Entry], consumer: Consumer) -> Entry | None:
    """Of the entries of one instance on one host (it may be resized in place) the one that runs; None without any."""
    wanted = sorted(consumer.allocations)
    return min(
        entries,
        default=None,
        key=lambda other: (sorted(other.allocations) != wanted, other.state is not RUNNING, other.consumer_uuid),
    )


def _start_entry(
    projection: State, host: Host, entry: Entry, consumer: Consumer, position: int, noted: list[Noted]
) -> None:
    """Turn an entry into use of the host, as its agent reports it."""
    # An agent that reports no guest does not know it.
    guest = entry.guest if consumer.guest is None else consumer.guest
    same = guest == entry.guest and (
        entry.allocations == consumer.allocations or sorted(entry.allocations) == sorted(consumer.allocations)
    )
    if entry.state is RUNNING and same:
        return
    hash_ = consumer_hash(consumer.instance_uuid, consumer.allocations, consumer.guest)
    if same:
        entry.state, entry.hash = RUNNING, hash_
        host.running_digest = (host.running_digest + hash_) & MASK
        projection.table.touched.touch_use(host.root)
        return
    _diverges(
        projection, host, position, noted, "differs", f"{consumer.instance_uuid} uses other resources than were claimed"
    )
    replace_entry(
        projection,
        host,
        entry,
        Entry(
            entry.consumer_uuid,
            entry.instance_uuid,
            entry.project_id,
            host.name,
            consumer.allocations,
            entry.rule or consumer.rule,
            entry.claim_uuid,
            RUNNING,
            entry.position,
            hash_,
            guest,
        ),
    )


def _add_running(projection: State, host: Host, consumer: Consumer, position: int, noted: list[Noted]) -> None:
    """Add an entry for an instance that runs without one."""
    other = host.entries.get(consumer.instance_uuid)
    if other is not None:
        _displace(projection, host, other, position, noted)
    add_entry(
        projection,
        host,
        Entry(
            consumer.instance_uuid,
            consumer.instance_uuid,
            consumer.project_id,
            host.name,
            consumer.allocations,
            consumer.rule,
            None,
            RUNNING,
            position,
            consumer_hash(consumer.instance_uuid, consumer.allocations, consumer.guest),
            consumer.guest,
        ),
    )


def _displace(projection: State, host: Host, entry: Entry, position: int, noted: list[Noted]) -> None:
    """Remove entries of one instance under the uuid of another instance that runs here: they cannot be right."""
    _diverges(
        projection,
        host,
        position,
        noted,
        "displaced",
        f"{entry.consumer_uuid} holds what {entry.instance_uuid} was to use, and runs itself",
    )
    remove_entry(projection, host, entry)
