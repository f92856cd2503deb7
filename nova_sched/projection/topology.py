"""Facts about the providers, aggregates and zones of a table: functions of a HostTable that change nothing.

Each answer is computed once for each ``topology_version`` and kept with :meth:`HostTable.derived`. Vectors have one
value for each row (shape [rows]); dictionaries have root rows as keys.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from nova_sched.projection.table import Flags, HostTable, Profile, RowNumbers
from rpc_api.events import AggregateUpdated

#: A provider with this trait serves all trees that have a provider in one of its aggregates.
SHARES = "MISC_SHARES_VIA_AGGREGATE"
#: A larger number in the metadata of an aggregate counts as unreadable, so that sums with it stay finite.
GREATEST = 1e300

Key = TypeVar("Key")


def service_version(profile: Profile) -> int:
    """The version of Nova's compute service that a host of this Profile reports in its ``stats``; 0 if it reports
    none."""
    version = dict(profile.stats).get("service_version", "")
    return int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0


def least_service_version(table: HostTable) -> int:
    """The lowest version of nova-compute that a host reports; 0 while a host reports none, and where there is no
    host."""
    return table.derived(
        "service version",
        lambda: min(
            (service_version(table.profiles.values[profile]) for profile in np.unique(table.profile[table.roots()])),
            default=0,
        ),
    )


# --- aggregates ----------------------------------------------------------------------------------------------------


def aggregate_rows(table: HostTable, uuid: str) -> Flags:
    """Which rows are in an aggregate (bool): providers that report it, and hosts that the aggregate names."""
    return _kept_flags(table, "aggregate", uuid, _rows_by_aggregate(table).get(uuid, ()))


def provider_aggregate_rows(table: HostTable, uuid: str) -> Flags:
    """Which rows are in an aggregate by what their providers say (bool), as Placement sees it."""
    return _kept_flags(table, "of providers", uuid, rows_in_aggregate(table, uuid))


def rows_in_aggregate(table: HostTable, uuid: str) -> Sequence[int]:
    """The rows of the providers that say that they are in an aggregate, ascending."""
    return _provider_rows_by_aggregate(table).get(uuid, ())


def _kept_flags(table: HostTable, kind: str, uuid: str, found: Sequence[int]) -> Flags:
    """Which rows those of an aggregate are. For one that has none nothing is kept: clients may name any number."""
    if not found:
        return table.derived("no rows", lambda: _flags(table, ()))
    return table.derived((kind, uuid), lambda: _flags(table, found))


def _flags(table: HostTable, found: Sequence[int]) -> Flags:
    rows = np.zeros(table.count, bool)
    rows[list(found)] = True
    return rows


def _provider_rows_by_aggregate(table: HostTable) -> dict[str, list[int]]:
    return table.derived("provider aggregate rows", lambda: _all_provider_rows_by_aggregate(table))


def _all_provider_rows_by_aggregate(table: HostTable) -> dict[str, list[int]]:
    by_aggregate: dict[str, list[int]] = {}
    for row in range(table.count):
        for uuid in table.row_aggregates[row] or ():
            by_aggregate.setdefault(uuid, []).append(row)
    return by_aggregate


def _rows_by_aggregate(table: HostTable) -> dict[str, list[int]]:
    return table.derived("aggregate rows", lambda: _all_rows_by_aggregate(table))


def _all_rows_by_aggregate(table: HostTable) -> dict[str, list[int]]:
    by_aggregate = {uuid: list(rows) for uuid, rows in _provider_rows_by_aggregate(table).items()}
    for uuid, aggregate in table.aggregates.items():
        by_aggregate.setdefault(uuid, []).extend(
            table.row_of_host[host] for host in aggregate.hosts if host in table.row_of_host
        )
    return by_aggregate


def aggregates_with(
    table: HostTable, kind: str, pairs: Callable[[AggregateUpdated], Iterable[Key]]
) -> dict[Key, tuple[str, ...]]:
    """Key -> uuids of the aggregates that have it, ascending.

    ``pairs(aggregate)`` yields the keys of one AggregateUpdated; ``kind`` is the name under which the answer is kept.
    """
    return table.derived(("aggregates", kind), lambda: _aggregates_with(table, pairs))


def _aggregates_with(
    table: HostTable, pairs: Callable[[AggregateUpdated], Iterable[Key]]
) -> dict[Key, tuple[str, ...]]:
    found: dict[Key, list[str]] = {}
    for uuid in sorted(table.aggregates):
        for key in pairs(table.aggregates[uuid]):
            uuids = found.setdefault(key, [])
            if uuid not in uuids:
                uuids.append(uuid)
    return {key: tuple(uuids) for key, uuids in found.items()}


def aggregate_numbers(table: HostTable, key: str) -> dict[int, float]:
    """Root row -> the lowest number that an aggregate of the host has in its metadata under ``key``; hosts are left
    out if one of their aggregates has something else there."""
    return table.derived(("numbers", key), lambda: _aggregate_numbers(table, key))


def _aggregate_numbers(table: HostTable, key: str) -> dict[int, float]:
    by_row: dict[int, float] = {}
    unreadable: set[int] = set()
    for aggregate in table.aggregates.values():
        if key not in aggregate.metadata:
            continue
        # As in Nova, the aggregates that providers report (Placement's) do not count here.
        roots = {table.row_of_host[host] for host in aggregate.hosts if host in table.row_of_host}
        try:
            number = float(aggregate.metadata[key])
        except ValueError:
            number = math.nan
        if not abs(number) <= GREATEST:
            unreadable |= roots
        for root in roots:
            by_row[root] = min(number, by_row.get(root, number))
    return {root: number for root, number in by_row.items() if root not in unreadable}


def domains(table: HostTable, kind: str) -> dict[int, str]:
    """Root row -> uuid of the aggregate whose metadata key ``domain`` is ``kind`` (the lowest uuid of several)."""
    return table.derived(("domains", kind), lambda: _domains(table, kind))


def _domains(table: HostTable, kind: str) -> dict[int, str]:
    by_row: dict[int, str] = {}
    rows = _rows_by_aggregate(table)
    for uuid in sorted(table.aggregates, reverse=True):
        if table.aggregates[uuid].metadata.get("domain") == kind:
            by_row.update((int(table.root[row]), uuid) for row in rows.get(uuid, ()))
    return by_row


# --- pools ---------------------------------------------------------------------------------------------------------


class Pools(NamedTuple):
    """The providers that serve hosts without being in their trees, such as shared storage.

    ``of_host`` has the rows of the pools of each root row that has some, in the order of their uuids. ``pairs`` are the
    same as two arrays (int64, shape [pairs]): a pool, and the root row of a host that it serves.
    """

    of_host: dict[int, tuple[int, ...]]
    pairs: tuple[RowNumbers, RowNumbers]
    #: The rows of all pools, and the place in them of the pool of each pair.
    rows: tuple[int, ...]
    places: RowNumbers
    #: For each row of the table the place of its only pool, ``len(rows)`` where there is none; None if a host has
    #: several.
    only: RowNumbers | None

    def hosts_of(self, pool: int) -> RowNumbers:
        """The root rows of the hosts that a pool serves."""
        pools, hosts = self.pairs
        found: RowNumbers = hosts[pools == pool]
        return found


def pools_of(table: HostTable) -> Pools:
    """All pools. A provider is one if it has the trait :data:`SHARES` and is in no tree of a host. It serves the hosts
    of its cell that have a provider in one of its aggregates."""
    return table.derived("pools", lambda: _pools_of(table))


def _pools_of(table: HostTable) -> Pools:
    sharing = np.flatnonzero(table.has_trait(SHARES))
    sharing = sharing[~table.is_host[table.root[sharing]]]
    of_host = {}
    for root, rows in _served(table, sharing).items():
        # A claim is one event in the log of the host.
        pools = tuple(row for row in rows if table.cell.item(table.root.item(row)) == table.cell.item(root))
        if pools and table.is_host.item(root):
            of_host[root] = pools
    pairs = np.array([(pool, root) for root, pools in of_host.items() for pool in pools], np.int64).reshape(-1, 2)
    pool_rows, places = np.unique(pairs[:, 0], return_inverse=True)
    only: RowNumbers | None = None
    if len(pairs) == len(of_host):
        only = np.full(table.count, len(pool_rows), np.int64)
        only[pairs[:, 1]] = places
    return Pools(of_host, (pairs[:, 0], pairs[:, 1]), tuple(pool_rows.tolist()), places, only)


def _served(table: HostTable, sharing: RowNumbers) -> dict[int, tuple[int, ...]]:
    """Root row -> the rows of the sharing providers that serve its tree from another one, in the order of their uuids:
    those that have an aggregate in common with one of its providers."""
    by_aggregate = _provider_rows_by_aggregate(table)
    found: dict[int, dict[int, None]] = {}
    for row in sorted(sharing.tolist(), key=table.uuids.__getitem__):
        own = table.root.item(row)
        for uuid in table.row_aggregates[row]:
            for member in by_aggregate[uuid]:
                root = table.root.item(member)
                if root != own:
                    found.setdefault(root, {})[row] = None
    return {root: tuple(found[root]) for root in sorted(found)}


def providers_of(table: HostTable, root: int) -> tuple[int, ...]:
    """The rows of the providers of a host: its tree, the root first, and then its pools."""
    tree, pools = table.trees[root], pools_of(table).of_host.get(root)
    return tree if pools is None else tree + pools


def shared_with(table: HostTable) -> dict[int, tuple[int, ...]]:
    """Root row, of a host or not -> the rows of the sharing providers of other trees that serve its tree, as Placement
    sees it: such a provider may also be in the tree of a host, or in another log."""
    return table.derived("shared with", lambda: _served(table, np.flatnonzero(table.has_trait(SHARES))))


def providers_for(table: HostTable, root: int) -> tuple[int, ...]:
    """The rows of the providers that serve a tree, of a host or not: the tree, the root first, and then those that
    :func:`shared_with` has for it."""
    return table.trees[root] + shared_with(table).get(root, ())


# --- availability zones --------------------------------------------------------------------------------------------


def in_zone(table: HostTable, zone: str, default: str) -> Flags:
    """Which rows are hosts of an availability zone (bool). A host that aggregates put in several zones is in each of
    them; a host that they put in none is in the zone that it reports, else in ``default``."""
    return table.derived(("in zone", zone, default), lambda: _in_zone(table, zone, default))


def _in_zone(table: HostTable, zone: str, default: str) -> Flags:
    found, placed = np.zeros(table.count, bool), np.zeros(table.count, bool)
    rows = _rows_by_aggregate(table)
    for uuid, aggregate in table.aggregates.items():
        of_aggregate = aggregate.metadata.get("availability_zone")
        if of_aggregate:
            roots = [table.root[row] for row in rows.get(uuid, ())]
            placed[roots] = True
            if of_aggregate == zone:
                found[roots] = True
    for row in np.flatnonzero(table.is_host[: table.count] & ~placed).tolist():
        found[row] = (_reported_zone(table, row) or default) == zone
    return found


def zone_names(table: HostTable, default: str) -> dict[int, str]:
    """Root row -> availability zone: that of an aggregate, else the one that the host reports, else ``default``."""
    return table.derived(("zones", default), lambda: _zone_names(table, default))


def _zone_names(table: HostTable, default: str) -> dict[int, str]:
    by_row = {int(row): _reported_zone(table, row) or default for row in table.roots()}
    rows = _rows_by_aggregate(table)
    for uuid in sorted(table.aggregates, reverse=True):
        zone = table.aggregates[uuid].metadata.get("availability_zone")
        if zone:
            by_row.update((int(table.root[row]), zone) for row in rows.get(uuid, ()))
    return by_row


def _reported_zone(table: HostTable, row: int) -> str | None:
    return table.zones.values[table.zone[row]] if table.zone[row] >= 0 else None
