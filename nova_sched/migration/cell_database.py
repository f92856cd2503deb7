"""Read the database of a cell of Nova: what neither its REST API nor Placement says of hosts and instances.

Nothing is written; an account that may only SELECT is enough. SQLAlchemy and the driver of the URL must be installed.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from nova_sched.nova_objects import devices, facts
from nova_sched.nova_objects.names import BINARY, DATA, IMAGE_PREFIX, IRONIC
from nova_sched.nova_objects.tables import OF_DEVICE, OF_NODE, OF_SERVICE, Wrong, fields_of
from nova_sched.request.instances import image_properties_of
from rpc_api import errors, events
from rpc_api.digest import pool_key
from rpc_api.packing import pack
from rpc_api.wording import number_of

_NODES = """
    SELECT id, uuid, host, hypervisor_hostname, hypervisor_type, hypervisor_version, cpu_info, host_ip, stats, metrics,
           supported_instances, numa_topology, pci_stats, running_vms
    FROM compute_nodes WHERE deleted = 0 ORDER BY id"""
_SERVICES = f"""
    SELECT host, "binary", disabled, disabled_reason, forced_down, version
    FROM services WHERE deleted = 0 AND "binary" = '{BINARY}'"""
_DEVICES = """
    SELECT compute_node_id, address, vendor_id, product_id, dev_type, status, numa_node, parent_addr, instance_uuid,
           request_id
    FROM pci_devices WHERE deleted = 0"""
_INSTANCES = """
    SELECT i.uuid, i.host, e.numa_topology, e.migration_context
    FROM instances i JOIN instance_extra e ON e.instance_uuid = i.uuid WHERE i.deleted = 0 AND i.host IS NOT NULL"""
#: Statuses of migrations that are over: their uuids hold nothing any more.
_OVER = ("cancelled", "completed", "confirmed", "done", "error", "failed", "reverted")
_MIGRATIONS = f"""
    SELECT id, uuid, instance_uuid, source_compute, dest_compute
    FROM migrations WHERE deleted = 0 AND uuid IS NOT NULL AND status NOT IN {_OVER}"""
_IMAGES = f"""
    SELECT m.instance_uuid, m."key", m.value
    FROM instance_system_metadata m JOIN instances i ON i.uuid = m.instance_uuid
    WHERE i.deleted = 0 AND m.deleted = 0 AND m."key" LIKE '{IMAGE_PREFIX}%'"""
_MAPPINGS = """
    SELECT h.host, c.name FROM host_mappings h JOIN cell_mappings c ON c.id = h.cell_id"""


class Move(NamedTuple):
    """A move of an instance that is under way: the uuid of the migration holds what the instance has on the host
    ``source``, and the uuid of the instance what it gets on ``dest`` (None while that is not known)."""

    instance_uuid: str
    source: str
    dest: str | None


class CellFacts(NamedTuple):
    """``reports`` are the HostReported of the hosts of a cell, ``nodes`` their hosts by the uuid of the compute node,
    ``guests`` the packed Guests with NUMA nodes or PCI devices by consumer and host, ``moves`` the Moves by the uuid of
    the migration, ``images`` the properties of images by instance, and ``faults`` a sentence for each thing that cannot
    be read. A consumer is an instance, or a migration for what its instance has on the source."""

    reports: Mapping[str, events.HostReported]
    nodes: Mapping[str, str]
    guests: Mapping[tuple[str, str], bytes]
    moves: Mapping[str, Move]
    images: Mapping[str, Mapping[str, str]]
    faults: list[str]


def read(url: str) -> CellFacts:
    """The facts of a cell. UsageError for a URL that cannot be used, ServiceUnavailable for a database that cannot be
    read."""
    with _rows(url) as rows:
        services = {row["host"]: row for row in rows(_SERVICES)}
        of_node: dict[int, list[dict[str, Any]]] = {}
        for device in rows(_DEVICES):
            of_node.setdefault(device["compute_node_id"], []).append(device)
        reports, nodes, places, faults = {}, {}, _Places(), []
        compute_nodes = list(rows(_NODES))
        bare_metal = Counter(_host_of(row) for row in compute_nodes if (row["hypervisor_type"] or "").lower() == IRONIC)
        faults += [_several(host, count) for host, count in sorted(bare_metal.items()) if count > 1]
        for row in compute_nodes:
            host = _host_of(row)
            found = of_node.get(row["id"], [])
            nodes[row["uuid"]] = host
            if bare_metal[host] > 1:
                # The tap chooses one of them, and another choice here would differ from it again and again.
                continue
            if host not in services:
                faults.append(
                    f"the compute node {row['uuid']} of {host} has no service, so {host} gets no instances; start its "
                    "nova-compute, or delete the row"
                )
                continue
            try:
                report = _report(host, row, services[host], found)
            except (Wrong, ValueError, TypeError) as wrong:
                faults.append(f"the compute node {row['uuid']} of {host} cannot be read: {wrong}")
                continue
            if host in reports:
                faults.append(f"the host {host} has several compute nodes, of which the first one is imported")
                continue
            reports[host] = report
            places.add(host, _pools(report), found)
        moves = {row["id"]: row for row in rows(_MIGRATIONS)}
        guests: dict[tuple[str, str], bytes] = {}
        for row in rows(_INSTANCES):
            try:
                guests |= _guests(row, moves, places)
            except (ValueError, TypeError, KeyError) as wrong:
                faults.append(f"the NUMA topology of the instance {row['uuid']} cannot be read: {wrong!r}")
        images: dict[str, dict[str, str]] = {}
        for row in rows(_IMAGES):
            images.setdefault(row["instance_uuid"], {})[row["key"].removeprefix(IMAGE_PREFIX)] = row["value"]
    return CellFacts(
        reports,
        nodes,
        guests,
        {row["uuid"]: Move(row["instance_uuid"], row["source_compute"], row["dest_compute"]) for row in moves.values()},
        {uuid: image_properties_of(texts) for uuid, texts in images.items()},
        faults,
    )


def _host_of(row: Mapping[str, Any]) -> str:
    return str(row["host"] or row["hypervisor_hostname"])


def _several(host: str, count: int) -> str:
    return (
        f"the host {host} has {number_of(count, 'bare-metal node')} (Ironic), and nova_sched can choose one per "
        "nova-compute, so its facts are left to the tap; keep nova-scheduler in a cloud with such hosts"
    )


def hosts_of_cells(url: str) -> dict[str, str]:
    """Host -> name of its cell, of the API database of Nova."""
    with _rows(url) as rows:
        return {row["host"]: row["name"] for row in rows(_MAPPINGS)}


@contextmanager
def _rows(url: str) -> Iterator[Any]:
    """A function that gives the rows of a query as dictionaries."""
    try:
        import sqlalchemy
    except ImportError:
        raise errors.UsageError(
            "SQLAlchemy is not installed, which reads databases; install nova_sched[database], or leave the option out"
        ) from None
    try:
        engine = sqlalchemy.create_engine(url)
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError, ImportError) as fault:
        raise errors.UsageError(
            f"the URL of the database cannot be used: {_line(fault)}; wanted mysql+pymysql://USER:PASSWORD@HOST/NAME"
        ) from None
    quote = engine.dialect.identifier_preparer.quote_identifier

    def rows(query: str) -> Iterator[dict[str, Any]]:
        for word in ("binary", "key"):
            query = query.replace(f'"{word}"', quote(word))
        return (dict(row) for row in connection.execute(sqlalchemy.text(query)).mappings())

    try:
        with engine.connect() as connection:
            yield rows
    except sqlalchemy.exc.SQLAlchemyError as fault:
        # (Its text has the statement on further lines.)
        raise errors.ServiceUnavailable(
            f"the database {engine.url.render_as_string(hide_password=True)} cannot be read: "
            f"{_line(getattr(fault, 'orig', None) or fault)}; check the URL, the account and the server"
        ) from None
    finally:
        engine.dispose()


def _line(fault: BaseException) -> str:
    return " ".join(str(fault).split())[:300].rstrip(".")


# --- hosts -----------------------------------------------------------------------------------------------------------


def _report(
    host: str, row: Mapping[str, Any], service: Mapping[str, Any], found: list[dict[str, Any]]
) -> events.HostReported:
    node = fields_of({DATA: _as_sent(row)}, OF_NODE)
    if not facts.is_complete({**node, "host": host}):
        raise Wrong(f"one of {', '.join(facts.NEEDED)} is missing")
    known = devices.Devices()
    for device in found:
        known.take(fields_of({DATA: device}, OF_DEVICE))
    pools, _ = known.pools_of(host, node, None, 0.0)
    of_service = fields_of({DATA: _flags(service)}, OF_SERVICE)
    version = of_service.get("version")
    inventory = facts.inventory_of({**node, "host": host}, None if version is None else str(version), pools)
    status = facts.status_of(node, of_service, None)
    if status is None:
        raise Wrong("its service does not say whether it is disabled")
    return facts.report_of(host, inventory, status)


def _flags(row: Mapping[str, Any]) -> dict[str, Any]:
    """A service with true and false, which some databases have as numbers."""
    return {**row, **{name: bool(row[name]) for name in ("disabled", "forced_down")}}


def _as_sent(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of compute_nodes in the form in which nova-compute sends the object."""
    supported = json.loads(row["supported_instances"] or "[]")
    return {
        **row,
        "host": row["host"],
        "stats": {name: None if text is None else str(text) for name, text in json.loads(row["stats"] or "{}").items()},
        "supported_hv_specs": [
            {DATA: dict(zip(("arch", "hv_type", "vm_mode"), one, strict=True))} for one in supported
        ],
        "pci_device_pools": json.loads(row["pci_stats"]) if row["pci_stats"] else None,
    }


def _pools(report: events.HostReported) -> tuple[events.PCIPool, ...]:
    return events.thaw("HostInventory", report.inventory).pci_pools


# --- instances -------------------------------------------------------------------------------------------------------


class _Places:
    """The PCI pools of hosts, and the devices that instances use of them."""

    def __init__(self) -> None:
        self._pools: dict[str, tuple[events.PCIPool, ...]] = {}
        #: (Host, instance uuid) -> devices.
        self._used: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def add(self, host: str, pools: tuple[events.PCIPool, ...], found: list[dict[str, Any]]) -> None:
        """Add a host with all of its devices."""
        self._pools[host] = pools
        for device in found:
            if device["instance_uuid"] and device["status"] in ("claimed", "allocated"):
                self._used.setdefault((host, device["instance_uuid"]), []).append(device)

    def guest(self, host: str, uuid: str, topology: Any, is_used: Callable[[str], bool]) -> bytes | None:
        """The packed Guest of an instance on a host, with those of its devices there whose addresses ``is_used``; None
        if it has neither NUMA nodes nor devices."""
        numa = _numa_uses(topology)
        counts: Counter[tuple[str, str | None]] = Counter()
        for device in self._used.get((host, uuid), ()):
            pools = [pool for pool in self._pools[host] if devices.fits(fields_of({DATA: device}, OF_DEVICE), pool)]
            if is_used(device["address"]) and len(pools) == 1:
                counts[pool_key(pools[0]), device["request_id"]] += 1
        pci = tuple(
            events.PCIUse(pool, count, request)
            for (pool, request), count in sorted(counts.items(), key=lambda item: (item[0][0], item[0][1] or ""))
        )
        return pack(events.Guest(numa, pci, {})) if numa or pci else None


def _guests(
    row: Mapping[str, Any], moves: Mapping[int, Mapping[str, Any]], places: _Places
) -> dict[tuple[str, str], bytes]:
    """(Consumer, host) -> the packed Guest of an instance. While it is moved, it has one on its old host, which the
    migration holds, and one on its new host, which may be the same."""
    uuid, topology = row["uuid"], json.loads(row["numa_topology"]) if row["numa_topology"] else None
    context = json.loads(row["migration_context"])[DATA] if row["migration_context"] else {}
    move = moves.get(context.get("migration_id"))
    found = {(uuid, row["host"]): places.guest(row["host"], uuid, topology, lambda address: True)}
    if move is not None:
        source, dest = move["source_compute"], move["dest_compute"]
        old = {device[DATA]["address"] for device in _objects(context.get("old_pci_devices"))}
        is_same = source == dest
        found[move["uuid"], source] = places.guest(
            source, uuid, context.get("old_numa_topology"), lambda address: not is_same or address in old
        )
        found[uuid, dest] = places.guest(
            dest, uuid, context.get("new_numa_topology"), lambda address: not is_same or address not in old
        )
    return {place: guest for place, guest in found.items() if guest is not None}


def _objects(primitive: Any) -> list[Any]:
    """The elements of a list that is an object; none without it."""
    return list(primitive[DATA]["objects"]) if primitive else []


def _numa_uses(topology: Mapping[str, Any] | None) -> tuple[events.NUMAUse, ...]:
    """The use of NUMA nodes by an instance: its nodes have the numbers of those of its host."""
    uses = []
    for number, primitive in enumerate(topology[DATA]["cells"] if topology else ()):
        cell = primitive[DATA]
        pins = {int(guest): host for guest, host in (cell.get("cpu_pinning_raw") or {}).items()}
        uses.append(
            events.NUMAUse(
                cell["id"],
                number,
                len(set(cell["cpuset"]) - pins.keys()),
                tuple(sorted(pins.items())),
                tuple(sorted(cell.get("cpuset_reserved") or ())),
                cell.get("cpu_thread_policy") == "isolate",
                cell["memory"],
                cell.get("pagesize") or 0,
            )
        )
    return tuple(uses)
