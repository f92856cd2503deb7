"""What follows from the providers, aggregates and zones of a table: functions of a HostTable that change nothing.

Each answer is computed once for each ``topology_version`` and kept with :meth:`HostTable.derived`. Vectors have one
value for each row (shape [rows]); dictionaries have root rows as keys.
"""

import math

import numpy as np

#: A larger number in the metadata of an aggregate counts as unreadable, so that sums with it stay finite.
GREATEST = 1e300


def service_version(profile) -> int:
    """The version of Nova's compute service that a host of this Profile reports in its ``stats``; 0 where it reports
    none."""
    version = dict(profile.stats).get("service_version", "")
    return int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0


def least_service_version(table) -> int:
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


def aggregate_rows(table, uuid: str) -> np.ndarray:
    """Which rows are in an aggregate (bool): providers that report it, and hosts that the aggregate names."""
    return table.derived(("aggregate", uuid), lambda: _aggregate_rows(table, uuid))


def _aggregate_rows(table, uuid):
    rows = np.zeros(table.count, bool)
    for row in _rows_by_aggregate(table).get(uuid, ()):
        rows[row] = True
    return rows


def _rows_by_aggregate(table):
    return table.derived("aggregate rows", lambda: _all_rows_by_aggregate(table))


def _all_rows_by_aggregate(table):
    by_aggregate = {}
    for row in range(table.count):
        for uuid in table.row_aggregates[row] or ():
            by_aggregate.setdefault(uuid, []).append(row)
    for uuid, aggregate in table.aggregates.items():
        by_aggregate.setdefault(uuid, []).extend(
            table.row_of_host[host] for host in aggregate.hosts if host in table.row_of_host
        )
    return by_aggregate


def aggregates_with(table, kind: str, pairs) -> dict:
    """Key -> uuids of the aggregates that have it, ascending.

    ``pairs(aggregate)`` yields the keys of one AggregateUpdated; ``kind`` is the name under which the answer is kept.
    """
    return table.derived(("aggregates", kind), lambda: _aggregates_with(table, pairs))


def _aggregates_with(table, pairs):
    found = {}
    for uuid in sorted(table.aggregates):
        for key in pairs(table.aggregates[uuid]):
            uuids = found.setdefault(key, [])
            if uuid not in uuids:
                uuids.append(uuid)
    return {key: tuple(uuids) for key, uuids in found.items()}


def aggregate_numbers(table, key: str) -> dict[int, float]:
    """Root row -> the lowest number that an aggregate of the host has in its metadata under ``key``; hosts are left
    out if one of their aggregates has something else there."""
    return table.derived(("numbers", key), lambda: _aggregate_numbers(table, key))


def _aggregate_numbers(table, key):
    by_row, unreadable = {}, set()
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


def domains(table, kind: str) -> dict[int, str]:
    """Root row -> uuid of the aggregate whose metadata key ``domain`` is ``kind`` (the lowest uuid of several)."""
    return table.derived(("domains", kind), lambda: _domains(table, kind))


def _domains(table, kind):
    by_row, rows = {}, _rows_by_aggregate(table)
    for uuid in sorted(table.aggregates, reverse=True):
        if table.aggregates[uuid].metadata.get("domain") == kind:
            by_row.update((int(table.root[row]), uuid) for row in rows.get(uuid, ()))
    return by_row


# --- availability zones --------------------------------------------------------------------------------------------


def in_zone(table, zone: str, default: str) -> np.ndarray:
    """Which rows are hosts of an availability zone (bool). A host that aggregates put in several zones is in each of
    them; a host that they put in none is in the zone that it reports, else in ``default``."""
    return table.derived(("in zone", zone, default), lambda: _in_zone(table, zone, default))


def _in_zone(table, zone, default):
    found, placed = np.zeros(table.count, bool), np.zeros(table.count, bool)
    rows = _rows_by_aggregate(table)
    for uuid, aggregate in table.aggregates.items():
        of_aggregate = aggregate.metadata.get("availability_zone")
        if of_aggregate:
            roots = [table.root[row] for row in rows.get(uuid, ())]
            placed[roots] = True
            if of_aggregate == zone:
                found[roots] = True
    for row in np.flatnonzero(table.is_root[: table.count] & ~placed).tolist():
        found[row] = (_reported_zone(table, row) or default) == zone
    return found


def zone_names(table, default: str) -> dict[int, str]:
    """Root row -> availability zone: that of an aggregate, else the one that the host reports, else ``default``."""
    return table.derived(("zones", default), lambda: _zone_names(table, default))


def _zone_names(table, default):
    by_row = {int(row): _reported_zone(table, row) or default for row in table.roots()}
    rows = _rows_by_aggregate(table)
    for uuid in sorted(table.aggregates, reverse=True):
        zone = table.aggregates[uuid].metadata.get("availability_zone")
        if zone:
            by_row.update((int(table.root[row]), zone) for row in rows.get(uuid, ()))
    return by_row


def _reported_zone(table, row):
    return table.zones.values[table.zone[row]] if table.zone[row] >= 0 else None
