"""Hosts at a moment, as plain values: one row per host, or all facts of one host."""

from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np

from nova_sched.projection import provider_tree
from nova_sched.projection.devices import guest_of
from nova_sched.projection.digest import state_digest
from nova_sched.projection.host_status import DISABLED, UP, is_disabled, is_disabled_by_service
from nova_sched.projection.inventory import closed_providers
from nova_sched.projection.ledger import AGENT, Host
from nova_sched.projection.topology import pools_of, zone_names
from rpc_api import errors

#: A host that is forced down or lost.
DOWN = "down"
TRACKED = "tracked"


class HostRow(NamedTuple):
    """One host: whether it takes instances, and ``amounts``: resource class -> (used, capacity) over its
    tree of providers.

    ``instances`` counts claims and running instances; ``tracked`` those that only nova-compute reports. ``authority``
    is who says what its consumers hold: its agent, or nova.
    """

    cell: str
    host: str
    status: str
    reason: str | None
    instances: int
    tracked: int
    amounts: dict
    zone: str
    aggregates: tuple
    authority: str = AGENT


class CellFold(NamedTuple):
    """The position to which a cell's log was folded, and the digest of its state there."""

    cell: str
    position: int
    at_ns: int | None
    digest: str
    hosts: int


def folds_of(world, times) -> list[CellFold]:
    """A :class:`CellFold` for each cell; ``times`` has the time of each cell's position."""
    return [
        CellFold(cell, projection.position, times.get(cell), state_digest(projection), len(projection.hosts))
        for cell, projection in sorted(world.projections.items())
    ]


def status_of(host, table) -> tuple[str, str | None]:
    """Return whether a host takes instances, and all reasons why not."""
    status, why = host.status, []
    if host.lost:
        why.append("lost: unreachable")
    if status.forced_down:
        why.append("forced down")
    if host.disabled_for is not None:
        why.append(f"disabled by an operator: {host.disabled_for}" if host.disabled_for else "disabled by an operator")
    if is_disabled_by_service(host, table):
        why.append(f"disabled: {status.disabled_reason}" if status.disabled_reason else "disabled")
    disabled = is_disabled(host, table)
    return DOWN if host.lost or status.forced_down else DISABLED if disabled else UP, "; ".join(why) or None


def counted(counts) -> str:
    """Return the counts of :func:`counts_of` in words."""
    total = sum(counts.values())
    if not total:
        return "no hosts"
    return f"{total} host{'' if total == 1 else 's'}: " + ", ".join(
        f"{count} {name}" for name, count in counts.items() if count or name == UP
    )


def wanted(name: str, patterns) -> bool:
    """Return whether a name matches one of some names or globs; without patterns every name matches."""
    return not patterns or any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


def named_hosts(world, patterns) -> list[tuple[str, object]]:
    """Return (cell, Host) of all hosts that match some names or globs, by cell and name. NovaSchedError for a pattern
    that matches no host."""
    found = [
        (cell, host)
        for cell, projection in sorted(world.projections.items())
        for _, host in sorted(projection.hosts.items())
        if wanted(host.name, patterns)
    ]
    for pattern in patterns:
        if not any(wanted(host.name, [pattern]) for _, host in found):
            raise errors.NovaSchedError(
                f"there is no host {pattern!r} in "
                f"{', '.join(sorted(world.projections)) or 'any log'} at that moment; "
                "name another host or moment, or a glob like 'host-*'"
            )
    return found


class Sums:
    """Return sums over the trees of hosts: ``used`` and ``capacity`` (int64, shape [classes, rows], set on root
    rows)."""

    def __init__(self, table):
        self.classes = list(table.classes.values)
        self.used, self.capacity = (self._summed(table, getattr(table, name)) for name in ("used", "capacity"))

    def _summed(self, table, column):
        column = column[: len(self.classes), : table.count]
        if not table.nested_rows:
            return column
        summed, taken = np.zeros_like(column), np.flatnonzero(table.root[: table.count] >= 0)
        for number in range(len(self.classes)):
            np.add.at(summed[number], table.root[taken], column[number, taken])
        return summed

    def of(self, root: int) -> dict:
        """Return resource class -> (used, capacity) for the classes of one host."""
        return {
            name: (int(self.used[number, root]), int(self.capacity[number, root]))
            for number, name in enumerate(self.classes)
            if self.capacity[number, root] or self.used[number, root]
        }


def rows_of(world, hosts, default_zone: str = "nova"):
    """Yield the :class:`HostRow` of each of some (cell, Host)."""
    sums, zones, names = Sums(world.table), zone_names(world.table, default_zone), aggregates_by_host(world.table)
    for cell, host in hosts:
        tracked = world.projections[cell].tracked.of(host.name)
        held = {entry.instance_uuid for entry in host.entries.values()}
        yield HostRow(
            cell,
            host.name,
            *status_of(host, world.table),
            len(host.entries),
            len(tracked.keys() - held),
            sums.of(host.root),
            zones[host.root],
            tuple(names.get(host.name, ())),
            host.authority,
        )


def aggregates_by_host(table) -> dict[str, list[str]]:
    """Return host -> names of its aggregates, sorted."""
    by_host = {}
    for aggregate in table.aggregates.values():
        for host in aggregate.hosts:
            by_host.setdefault(host, set()).add(aggregate.name)
    return {host: sorted(names) for host, names in by_host.items()}


# --- everything of one host ------------------------------------------------------------------------------------------


def details_of(world, cell: str, host, times, default_zone: str = "nova") -> dict:
    """Return all facts of one host as plain values; ``times`` is position -> time of its instances' records."""
    table, projection = world.table, world.projections[cell]
    inventory = provider_tree.read(host.inventory).inventory
    row = next(rows_of(world, [(cell, host)], default_zone))
    return {
        "cell": cell,
        "host": host.name,
        "status": row.status,
        "reason": row.reason,
        "lost": host.lost,
        "disabled": is_disabled(host, table),
        "disabled_reason": host.status.disabled_reason,
        "disabled_by_operator": host.disabled_for,
        "forced_down": host.status.forced_down,
        "num_io_ops": host.status.num_io_ops,
        "failed_builds": host.status.failed_builds,
        "metrics": dict(sorted(host.status.metrics.items())),
        "numa_metrics": [metric._asdict() for metric in host.status.numa_metrics],
        "server": host.server,
        "authority": host.authority,
        "is_ledger": projection.rules.one_ledger,
        "node": inventory.nodename,
        "ip": inventory.host_ip,
        "zone": row.zone,
        "hypervisor": {"type": inventory.hypervisor_type, "version": inventory.hypervisor_version},
        "aggregates": [
            {"uuid": aggregate.uuid, "name": aggregate.name, "metadata": dict(sorted(aggregate.metadata.items()))}
            for _, aggregate in sorted(table.aggregates.items())
            if host.name in aggregate.hosts
        ],
        "providers": [_provider(table, row) for row in table.trees[host.root]],
        "closed_providers": closed_providers(projection, host),
        "pools": [_provider(table, row) for row in sorted(pools_of(table).of_host.get(host.root, ()))],
        "numa_nodes": _numa_nodes(table.row_devices[host.root]),
        "pci_pools": _pci_pools(table.row_devices[host.root]),
        "instances": [
            _instance(entry, times, projection.holders.get(entry.consumer_uuid))
            for entry in sorted(host.entries.values(), key=lambda entry: (entry.position, entry.consumer_uuid))
        ],
        "stray_use": [
            {"provider": uuid, "resource_class": name, "amount": amount}
            for (uuid, name), amount in sorted(host.unreported.items())
        ],
        "tracked_only": sorted(
            projection.tracked.of(host.name).keys() - {entry.instance_uuid for entry in host.entries.values()}
        ),
        "digest": f"{host.digest():016x}",
    }


def _provider(table, row):
    parent = int(table.parent[row])
    return {
        "uuid": table.uuids[row],
        "name": table.provider_names[row],
        "parent": None if parent < 0 else table.uuids[parent],
        "generation": int(table.generation[row]),
        "reported": bool(table.reported[row]),
        "inventories": [
            {
                "resource_class": name,
                **{
                    key: int(getattr(table, key)[number, row])
                    for key in ("total", "reserved", "used", "free", "capacity", "min_unit", "max_unit", "step_size")
                },
                "allocation_ratio": float(table.ratio[number, row]),
            }
            for name, number in sorted((name, number) for number, name in enumerate(table.classes.values))
            if table.step_size[number, row]
        ],
        "traits": sorted(name for name in table.traits.values if table.row_has_trait(name, row)),
        "aggregates": list(table.row_aggregates[row]),
    }


def provider_details(projection, uuid: str) -> dict:
    """Return all facts of one provider as plain values, with those who hold something of it."""
    tree, table = projection.trees[uuid], projection.table
    row = tree.rows[uuid]
    entries = tree.entries if type(tree) is Host else tree.users
    return {
        **_provider(table, row),
        "host": tree.name if type(tree) is Host else None,
        "children": [table.provider_names[other] for other in table.trees[tree.root] if table.parent[other] == row],
        "serves": sorted(table.host_names[root] for root, pools in pools_of(table).of_host.items() if row in pools),
        "consumers": [
            {
                "consumer": entry.consumer_uuid,
                **_holder(projection.holders.get(entry.consumer_uuid)),
                "project": entry.project_id,
                "host": entry.host or None,
                "state": entry.state,
                "position": entry.position,
                "resources": amounts_of(held for held in entry.allocations if held.provider_uuid == uuid),
            }
            for entry in sorted(entries.values(), key=lambda entry: (entry.position, entry.consumer_uuid))
            if any(held.provider_uuid == uuid for held in entry.allocations)
        ],
    }


def _holder(holder):
    return {
        "generation": holder and holder.generation,
        "type": holder and holder.consumer_type,
        "user": holder and holder.user_id,
    }


def _numa_nodes(devices):
    if devices is None:
        return []
    return [
        {
            "node": cell.id,
            "socket": cell.socket,
            "shared_cpus": len(cell.shared_cpus),
            "shared_used": use.shared_cpus,
            "dedicated_cpus": sorted(cell.dedicated_cpus),
            "pinned": sorted(use.pinned),
            "free_cpus": sorted(set(cell.dedicated_cpus) - use.pinned),
            "memory_mb": cell.memory_mb,
            "memory_used_mb": use.memory_mb,
            "pages": [
                {
                    "size_kb": page.size_kb,
                    "total": page.total,
                    "reserved": page.reserved,
                    "used": used,
                    "free": page.total - page.reserved - used,
                }
                for page, used in zip(cell.pages, use.pages, strict=True)
            ],
            "physnets": list(cell.physnets),
        }
        for cell, use in zip(devices.cells, devices.cell_uses, strict=True)
    ]


def _pci_pools(devices):
    if devices is None:
        return []
    return [
        {
            "vendor_id": pool.vendor_id,
            "product_id": pool.product_id,
            "numa_node": pool.numa_node,
            "tags": dict(sorted(pool.tags.items())),
            "total": pool.count,
            "used": devices.pool_uses[number],
            "free": devices.free_in_pool(number),
        }
        for number, pool in enumerate(devices.pools)
    ]


def _instance(entry, times, holder):
    guest = None if entry.guest is None else guest_of(entry.guest)
    return {
        "instance": entry.instance_uuid,
        "consumer": entry.consumer_uuid,
        "project": entry.project_id,
        **_holder(holder),
        "state": entry.state,
        "since_position": entry.position,
        "since": times.get(entry.position),
        "claim": entry.claim_uuid,
        "resources": amounts_of(entry.allocations),
        "rule": entry.rule and dict(entry.rule._asdict()),
        "pins": [pin for use in guest.numa for pin in map(list, use.pins)] if guest else [],
        "pci": sum(use.count for use in guest.pci) if guest else 0,
    }


def amounts_of(allocations) -> dict[str, int]:
    """Return resource class -> sum of the amounts of some Allocation records, by class."""
    amounts = {}
    for _, name, amount in sorted(allocations, key=lambda allocation: allocation[1]):
        amounts[name] = amounts.get(name, 0) + amount
    return amounts
