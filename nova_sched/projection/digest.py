"""The digest of a projection: equal states have equal digests, wherever and however they were folded.

It covers the state and not its layout: rows, classes and interned ids are
replaced by their values, in sorted order.
"""

from collections.abc import Iterator
from hashlib import blake2b

import msgpack
import numpy as np
import numpy.typing as npt

from nova_sched.projection.ledger import CLAIMED, NO_HOST, Entry, Host, PlainTree
from nova_sched.projection.state import State
from nova_sched.projection.table import HostTable
from rpc_api.digest import inventory_digest
from rpc_api.levels import oldest_form

#: What a client writes of an inventory, and what is used of it.
_WRITTEN = ("total", "reserved", "min_unit", "max_unit", "step_size", "used")
#: Root row -> (provider uuid, resource class, amount) of what is used there.
Used = dict[int, list[tuple[str, str, int]]]


def state_digest(projection: State) -> str:
    """32 hex digits over everything that later events could see."""
    state = blake2b(digest_size=16)
    pack = msgpack.Packer(use_bin_type=True).pack
    for part in _parts(projection):
        state.update(pack(part))
    return state.hexdigest()


def _parts(projection: State) -> Iterator[object]:
    first = (projection.epoch, projection.accounts_required)
    # At level 1 the digest is that of services that do not know levels.
    yield first if projection.level == 1 else (*first, projection.level, projection.pinned_at, projection.watched_ms)
    used = _used(projection.table, len(projection.hosts))
    for name in sorted(projection.hosts):
        yield _host(projection.hosts[name], used)
        if projection.level > 1:
            yield _marks(projection.hosts[name])
    yield sorted(projection.producers.items())
    yield projection.tracked.facts()
    yield sorted(projection.anchors.items())
    yield sorted(projection.fences.items())
    yield [
        (aggregate.uuid, aggregate.name, aggregate.hosts, sorted(aggregate.metadata.items()))
        for _, aggregate in sorted(projection.aggregates.items())
    ]
    if projection.rules.one_ledger:
        yield from _ledger(projection)


def _ledger(projection: State) -> Iterator[object]:
    """Providers and consumers, as far as they do not follow from what agents reported."""
    yield projection.holds_writes, sorted(projection.custom_classes.items()), sorted(projection.custom_traits.items())
    yield [(uuid, *projection.holders[uuid].facts()) for uuid in sorted(projection.holders)]
    yield [entry.facts() for _, entry in sorted(free_entries(projection).items())]
    yield [
        (name, host.authority, inventory_digest(host.providers) if host.providers else 0)
        for name, host in sorted(projection.hosts.items())
    ]
    yield [
        (uuid, host.name, host.server, host.inventory_digest, host.authority, oldest_form(host.status), host.lost)
        for uuid, host in sorted(projection.waiting.items())
    ]
    disabled = sorted((name, why) for name, host in projection.hosts.items() if (why := host.disabled_for) is not None)
    if disabled:
        yield "disabled", disabled
    if projection.prepared or projection.committed:
        yield sorted(projection.prepared.items()), sorted(projection.committed.items())
    if projection.trees:
        yield from _providers(projection)


def free_entries(projection: State) -> dict[str, Entry]:
    """The entries without a host, by their consumer."""
    return {
        entry.consumer_uuid: entry
        for uuid, tree in projection.trees.items()
        if type(tree) is PlainTree
        for entry in tree.users.values()
        if entry.host == NO_HOST
    }


def _providers(projection: State) -> Iterator[object]:
    """All providers in the order of their uuids, column by column; the inventories, traits and use only of those that
    no agent reports: the others follow from the reports."""
    table, uuids = projection.table, sorted(projection.trees)
    rows = np.array([projection.trees[uuid].rows[uuid] for uuid in uuids], np.int64)
    yield uuids
    yield [table.provider_names[row] for row in rows]
    yield [None if parent < 0 else table.uuids[parent] for parent in table.parent[rows].tolist()]
    yield [table.row_aggregates[row] for row in rows]
    yield [table.reported[rows].tobytes(), *(_bytes(column[rows]) for column in (table.generation, table.written_ns))]
    rows = rows[~table.reported[rows]]
    for name, index in sorted((name, index) for index, name in enumerate(table.classes.values)):
        if table.step_size[index, rows].any() or table.used[index, rows].any():
            yield (
                name,
                [_bytes(getattr(table, amount)[index, rows]) for amount in _WRITTEN],
                table.ratio[index, rows].tolist(),
            )
    for name in sorted(table.traits.values):
        having = table.has_trait(name, rows)
        if having.any():
            yield name, np.packbits(having).tobytes()


def _bytes(column: npt.NDArray[np.int64]) -> bytes:
    return column.astype("<i8").tobytes()


def _used(table: HostTable, hosts: int) -> Used:
    """Root row -> [(provider uuid, resource class, amount), ...] of what is used there, in no order."""
    used: Used = {}
    if hosts:
        indices, rows = np.nonzero(table.used[: len(table.classes.values), : table.count])
        for index, row, root, amount in zip(
            indices.tolist(), rows.tolist(), table.root[rows].tolist(), table.used[indices, rows].tolist(), strict=True
        ):
            used.setdefault(root, []).append((table.uuids[row], table.classes.values[index], amount))
    return used


def _marks(host: Host) -> list[tuple[str, int | None]]:
    """From when on the age of each claim on a host counts."""
    return sorted((uuid, entry.watched_from_ms) for uuid, entry in host.entries.items() if entry.state is CLAIMED)


def _host(host: Host, used: Used) -> tuple[object, ...]:
    status = host.status
    return (
        host.name,
        host.server,
        host.inventory_digest,
        # At level 1 there are no metrics of NUMA nodes, and the digest is that of services that do not know them.
        (*status[:-2], status.numa_metrics) if status.numa_metrics else status[:-2],
        sorted(status.metrics.items()),
        host.lost,
        host.running_digest,
        sorted(used.get(host.root, ())),
        [host.entries[consumer].facts() for consumer in sorted(host.entries)],
    )
