"""The digest of a projection: equal states have equal digests, wherever and however they were folded.

It covers the state and not its layout: rows, classes and interned ids are
replaced by their values, in sorted order.
"""

from collections.abc import Iterator
from hashlib import blake2b

import msgpack
import numpy as np

from nova_sched.projection.ledger import CLAIMED, Host
from nova_sched.projection.state import State
from nova_sched.projection.table import HostTable

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
