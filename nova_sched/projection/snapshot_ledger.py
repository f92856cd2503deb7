"""The ledger in a snapshot: hosts and consumers, and what a log has beside them with the rule ``one_ledger``.

Each writer here has its reader beside it. A reader raises ValueError, TypeError or InvalidEvent for what is not right.
"""

from typing import Any

from nova_sched.projection.devices import guest_of
from nova_sched.projection.digest import free_entries
from nova_sched.projection.holding import index_entry
from nova_sched.projection.ledger import (
    AGENT,
    AUTHORITIES,
    NO_HOST,
    NOVA,
    RUNNING,
    STATES,
    Committed,
    Entry,
    Holder,
    Host,
    PlainTree,
    Prepared,
)
from nova_sched.projection.prepared import keep, keep_committed
from nova_sched.projection.projection import Projection
from nova_sched.projection.use import note_user
from nova_sched.projection.waiting import Waiting
from rpc_api import events, levels
from rpc_api.digest import MASK, inventory_digest
from rpc_api.events.schema import thaw_fields


def facts_of(projection: Projection, host: Host) -> tuple[object, ...]:
    entries = [_entry_facts(projection, entry) for entry in host.entries.values()]
    return host.name, host.server, host.inventory, levels.at(host.status, projection.level), host.lost, entries


def _entry_facts(projection: Projection, entry: Entry) -> tuple[object, ...]:
    return (*entry.facts(), entry.position, entry.hash, *([] if projection.level == 1 else [entry.watched_from_ms]))


def plain_trees(projection: Projection) -> list[PlainTree]:
    """The trees that are no host's, in the order of their roots' uuids."""
    uuids = projection.table.uuids
    trees = {tree.root: tree for tree in projection.trees.values() if type(tree) is PlainTree}
    return sorted(trees.values(), key=lambda tree: uuids[tree.root])


def ledger_of(projection: Projection, hosts: list[Host], plain: list[PlainTree]) -> tuple[object, ...]:
    """What a log has with the rule ``one_ledger``."""
    return (
        [(host.authority, host.providers) for host in hosts],
        [tree.providers for tree in plain],
        [(uuid, host.authority, facts_of(projection, host)) for uuid, host in projection.waiting.items()],
        [(uuid, *holder.facts()) for uuid, holder in projection.holders.items()],
        [_entry_facts(projection, entry) for entry in free_entries(projection).values()],
        list(projection.custom_classes.items()),
        list(projection.custom_traits.items()),
        projection.holds_writes,
        [(write_uuid, *part) for write_uuid, part in projection.prepared.items()],
        [(write_uuid, *decided) for write_uuid, decided in projection.committed.items()],
        [host.disabled_for for host in hosts],
    )


def host_of(cell: str, name: Any, server: Any, inventory: Any, status: Any, lost: Any, entries: Any) -> Host:
    if not (type(name) is type(server) is str and type(inventory) is bytes and type(lost) is bool):
        raise ValueError("a host's facts are of other types")
    host = Host(name, server, cell)
    host.inventory, host.inventory_digest = inventory, inventory_digest(inventory)
    host.status, host.lost = thawed("HostStatus", status), lost
    for facts in entries:
        entry = _entry(name, *facts)
        host.entries[entry.consumer_uuid] = entry
        if entry.state is RUNNING:
            host.running_digest = (host.running_digest + entry.hash) & MASK
    return host


def _entry(
    host: str,
    consumer_uuid: Any,
    instance_uuid: Any,
    project_id: Any,
    _: object,
    allocations: Any,
    rule: Any,
    claim_uuid: Any,
    state: object,
    guest: Any,
    position: Any,
    hash_: Any,
    watched_from_ms: Any = 0,
) -> Entry:
    allocations = tuple(map(_new_allocation, allocations))
    for provider_uuid, resource_class, amount in allocations:
        if not (type(provider_uuid) is type(resource_class) is str and type(amount) is int):
            raise ValueError(f"an allocation on {host} has fields of other types")
    if not (
        type(consumer_uuid) is type(instance_uuid) is str
        and type(position) is type(hash_) is int
        and state in STATES
        and type(watched_from_ms) in (int, type(None))
    ):
        raise ValueError(f"an entry on {host} has fields of other types")
    if guest is not None:
        guest_of(guest)
    # Other code compares the two states by identity.
    return Entry(
        consumer_uuid,
        instance_uuid,
        project_id,
        host,
        allocations,
        rule and thawed("GroupRule", rule),
        claim_uuid,
        STATES[STATES.index(state)],
        position,
        hash_,
        guest,
        watched_from_ms,
    )


_new_allocation = events.Allocation._make


class ReadLedger:
    """What :func:`ledger_of` gave, read and checked."""

    def __init__(
        self,
        projection: Projection,
        hosts: list[Host],
        of_hosts: Any,
        of_plain: Any,
        waiting: Any,
        holders: Any,
        entries: Any,
        classes: Any,
        traits: Any,
        holds_writes: Any,
        prepared: Any = (),
        committed: Any = (),
        disabled: Any = (),
    ) -> None:
        for host, (authority, providers) in zip(hosts, of_hosts, strict=True):
            _set_authority(host, authority)
            host.providers = _checked_bytes(providers)
        # (Earlier snapshots have no such list.)
        for host, reason in zip(hosts, disabled or [None] * len(hosts), strict=True):
            host.disabled_for = None if reason is None else _text(reason)
        self.plain = []
        for providers in of_plain:
            tree = PlainTree()
            tree.providers = _checked_bytes(providers)
            self.plain.append(tree)
        self._waiting = Waiting()
        for uuid, authority, facts in waiting:
            self._waiting[uuid] = host = host_of(projection.cell, *facts)
            _set_authority(host, authority)
        self._holders = {uuid: _holder(*facts) for uuid, *facts in holders}
        self._entries = [_entry(NO_HOST, *facts) for facts in entries]
        self._classes, self._traits = (dict(_custom(*pair) for pair in pairs) for pairs in (classes, traits))
        if type(holds_writes) is not bool:
            raise ValueError("holds_writes is not a boolean")
        self._holds_writes = holds_writes
        self._prepared = {write_uuid: _part(*facts) for write_uuid, *facts in prepared}
        self._committed = {write_uuid: _decided(*facts) for write_uuid, *facts in committed}

    def put_into(self, projection: Projection) -> None:
        for entry in self._entries:
            index_entry(projection, entry)
            note_user(projection, entry)
        if self._holders.keys() != projection.consumers.keys():
            raise ValueError("its consumers are not those of its entries")
        projection.holders, projection.waiting = self._holders, self._waiting
        projection.custom_classes, projection.custom_traits = self._classes, self._traits
        projection.holds_writes = self._holds_writes
        for write_uuid, part in self._prepared.items():
            keep(projection, write_uuid, part)
        for write_uuid, decided in self._committed.items():
            keep_committed(projection, write_uuid, decided)
        table = projection.table
        for uuid, tree in projection.trees.items():
            projection.provider_names.setdefault(table.provider_names[tree.rows[uuid]], uuid)


def _set_authority(host: Host, authority: object) -> None:
    if authority not in AUTHORITIES:
        raise ValueError("the authority over a host is not known")
    host.authority = AGENT if authority == AGENT else NOVA


def _checked_bytes(providers: object) -> bytes:
    if type(providers) is not bytes:
        raise ValueError("the providers of a tree are not bytes")
    return providers


def _holder(generation: Any, project_id: Any, user_id: Any, consumer_type: Any, written_ns: Any) -> Holder:
    if not type(generation) is type(written_ns) is int:
        raise ValueError("the generation or the time of a consumer is not a number")
    if any(type(text) not in (str, type(None)) for text in (project_id, user_id, consumer_type)):
        raise ValueError("the project, user or type of a consumer is not text")
    return Holder(generation, project_id, user_id, consumer_type, written_ns)


def _part(home: Any, logs: Any, consumers: Any, at_ns: Any) -> Prepared:
    if type(at_ns) is not int:
        raise ValueError("the time of a write over several logs is not a number")
    return Prepared(_text(home), tuple(map(_text, logs)), tuple(thawed("ConsumerPut", one) for one in consumers), at_ns)


def _decided(logs: Any, consumers: Any, at_ns: Any) -> Committed:
    if type(at_ns) is not int:
        raise ValueError("the time of a write over several logs is not a number")
    return Committed(tuple(map(_text, logs)), tuple(map(_text, consumers)), at_ns)


def _text(name: Any) -> str:
    if type(name) is not str:
        raise ValueError("the name of a log or consumer is not text")
    return name


def _custom(name: Any, created_ns: Any) -> tuple[str, int]:
    if type(name) is not str or type(created_ns) is not int:
        raise ValueError("a resource class or trait is not a name and a time")
    return name, created_ns


def thawed(name: str, values: object) -> Any:
    return thaw_fields(events.TABLE[name], values)
