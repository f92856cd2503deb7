"""The parts of Nova's objects that are read, as records of ours. Nothing of Nova is imported.

Each table names the fields that are read and the functions that check them. Other fields are ignored, so objects of a
release before or after read the same. A field that the sender did not set is missing in the result. Sources: the field
lists of Nova's ``objects/compute_node.py``, ``service.py``, ``instance.py``, ``numa.py`` and ``pci_device_pool.py``.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from nova_sched.nova_objects.names import DATA, DEVICE, IMAGE_PREFIX, INSTANCE, NODE, SERVICE
from rpc_api import events
from rpc_api.digest import pool_key

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
#: Numbers beyond this do not fit the log.
MAX_NUMBER = 2**63 - 1
#: Stats of a compute node that are not published: they count instances, which the fold counts itself, or they differ in
#: each message (libvirt: the output of uptime).
COUNTERS = re.compile(r"num_instances|num_(vm|task|os_type|proj)_.*|io_workload|failed_builds|uptime")

Check = Callable[[Any], Any]


class Wrong(Exception):
    """A field has a value that cannot be used; the text says what is wanted."""


def fields_of(primitive: Mapping[str, Any], table: Mapping[str, Check]) -> dict[str, Any]:
    """The fields of an object that ``table`` names and the sender set, as the table's functions return them; Wrong
    names the first one that cannot be used."""
    data = primitive.get(DATA)
    if type(data) is not dict:
        raise Wrong(f"{DATA} is not a map, wanted the fields of the object")
    found = {}
    for name, check in table.items():
        if name in data:
            try:
                found[name] = check(data[name])
            except Wrong as wrong:
                raise Wrong(f"the field {name} is wrong, wanted {wrong}") from None
    return found


def _text(value: Any) -> str:
    if type(value) is not str or not is_text(value):
        raise Wrong("a text")
    return value


def is_text(value: str) -> bool:
    """Whether the log can have a text: JSON may have halves of characters, UTF-8 may not."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _optional(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _uuid(value: Any) -> str:
    if type(value) is not str or not _UUID.fullmatch(value):
        raise Wrong("a UUID")
    return value.lower()


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_NUMBER:
        raise Wrong("a whole number from 0 on")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise Wrong("true or false")
    return value


def _items(value: Any) -> list[Any]:
    """The elements of a list, or of a list that is an object."""
    if type(value) is dict:
        value = value.get(DATA)
        value = value.get("objects") if type(value) is dict else None
    if type(value) is not list:
        raise Wrong("a list")
    return value


def _texts(value: Any) -> dict[str, str]:
    if type(value) is not dict:
        raise Wrong("a map of texts")
    return {_text(name): _text(text) for name, text in value.items() if text is not None}


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(sorted(map(_number, _items(value))))


def _json(text: Any) -> Any:
    try:
        return json.loads(_text(text))
    except (ValueError, RecursionError):
        raise Wrong("JSON") from None


# --- a compute node ------------------------------------------------------------------------------------------------


def _supported(value: Any) -> tuple[tuple[str, ...], ...]:
    """HVSpec objects as (architecture, hypervisor type, vm mode)."""
    return tuple(
        tuple(map(_text, (data["arch"], data["hv_type"], data["vm_mode"])))
        for data in map(_data_of({"arch", "hv_type", "vm_mode"}), _items(value))
    )


def _data_of(needed: set[str]) -> Callable[[Any], dict[str, Any]]:
    """A function that returns the fields of a nested object, which has the ``needed`` ones."""

    def read(primitive: Any) -> dict[str, Any]:
        data = primitive.get(DATA) if type(primitive) is dict else None
        if type(data) is not dict or not needed <= data.keys():
            raise Wrong(f"objects with {', '.join(sorted(needed))}")
        return data

    return read


def _numa_cells(text: Any) -> tuple[events.HostNUMACell, ...]:
    """The JSON text of a NUMATopology; empty without one. What guests use of it is not read: that follows from the
    consumers."""
    topology = _json(text) if text else None
    if topology is None:
        return ()
    return tuple(map(_numa_cell, _items(_data_of({"cells"})(topology)["cells"])))


def _numa_cell(primitive: Any) -> events.HostNUMACell:
    data = _data_of({"id", "cpuset", "memory"})(primitive)
    networks = data.get("network_metadata")
    networks = {} if networks is None else _data_of(set())(networks)
    return events.HostNUMACell(
        _number(data["id"]),
        _optional(_number)(data.get("socket")),
        _numbers(data["cpuset"]),
        _numbers(data.get("pcpuset", [])),
        tuple(sorted(map(_numbers, _items(data.get("siblings", []))))),
        _number(data["memory"]),
        tuple(sorted(map(_pages, _items(data.get("mempages", []))))),
        tuple(sorted(map(_text, _items(networks.get("physnets", []))))),
        _flag(networks.get("tunneled", False)),
    )


def _pages(primitive: Any) -> events.HostPages:
    data = _data_of({"size_kb", "total"})(primitive)
    return events.HostPages(_number(data["size_kb"]), _number(data["total"]), _number(data.get("reserved", 0)))


def _free_pools(value: Any) -> tuple[events.PCIPool, ...]:
    """A PciDevicePoolList: pools of devices that are free now. Pools that differ in their count only are one."""
    pools: dict[str, events.PCIPool] = {}
    for data in map(_data_of({"vendor_id", "product_id", "count"}), _items(value) if value is not None else ()):
        tags = data.get("tags") or {}
        if type(tags) is not dict:
            raise Wrong("pools whose tags are texts")
        tags = {_text(name): _optional(_text)(text) for name, text in tags.items()}
        pool = events.PCIPool(
            _text(data["vendor_id"]),
            _text(data["product_id"]),
            _node_number(data.get("numa_node")),
            dict(sorted(tags.items())),
            _number(data["count"]),
        )
        key = pool_key(pool)
        pools[key] = pool._replace(count=pool.count + pools[key].count) if key in pools else pool
    return tuple(pools[key] for key in sorted(pools))


def _metrics(text: Any) -> tuple[dict[str, float], tuple[events.NUMAMetric, ...]]:
    """The JSON text of a MonitorMetricList: name -> value of the host, and values of its NUMA nodes. Other values, and
    those that are not finite, are left out."""
    values: dict[str, float] = {}
    by_node = []
    for metric in _items(_json(text)) if text else ():
        name = metric.get("name") if type(metric) is dict else None
        name = _text(name)
        value, nodes = metric.get("value"), metric.get("numa_membw_values")
        if type(value) in (int, float) and math.isfinite(value) and abs(value) <= MAX_NUMBER:
            values[name] = float(value)
        if type(nodes) is dict:
            by_node += [
                events.NUMAMetric(name, int(node), number)
                for node, number in nodes.items()
                if node.isascii() and node.isdigit() and len(node) < 10 and type(number) is int
            ]
    return dict(sorted(values.items())), tuple(sorted(by_node))


def _node_number(value: Any) -> int | None:
    """A NUMA node; None for a device without one, for which the kernel has -1."""
    return None if value is None or value == -1 else _number(value)


OF_NODE: dict[str, Check] = {
    "id": _number,
    "uuid": _uuid,
    "host": _optional(_text),
    "hypervisor_hostname": _optional(_text),
    "hypervisor_type": _text,
    "hypervisor_version": _number,
    "cpu_info": _optional(_text),
    "host_ip": _optional(_text),
    "stats": lambda value: {} if value is None else _texts(value),
    "metrics": _metrics,
    "supported_hv_specs": _supported,
    "numa_topology": _numa_cells,
    "pci_device_pools": _free_pools,
    "running_vms": _optional(_number),
}

# --- a service and an instance -------------------------------------------------------------------------------------

OF_SERVICE: dict[str, Check] = {
    "host": _optional(_text),
    "binary": _optional(_text),
    "disabled": _flag,
    "disabled_reason": _optional(_text),
    "forced_down": _flag,
    "version": _number,
}


def _image_of(value: Any) -> dict[str, str]:
    """The properties of the image, of the system metadata of an instance."""
    return {
        name.removeprefix(IMAGE_PREFIX): text for name, text in _texts(value).items() if name.startswith(IMAGE_PREFIX)
    }


OF_INSTANCE: dict[str, Check] = {
    "uuid": _uuid,
    "host": _optional(_text),
    "vm_state": _optional(_text),
    "system_metadata": _image_of,
}

OF_DEVICE: dict[str, Check] = {
    "compute_node_id": _optional(_number),
    "address": _text,
    "vendor_id": _text,
    "product_id": _text,
    "dev_type": _text,
    "status": _text,
    "numa_node": _node_number,
    "parent_addr": _optional(_text),
}

#: Name of an object on the wire -> its table.
OBJECTS = {NODE: OF_NODE, SERVICE: OF_SERVICE, INSTANCE: OF_INSTANCE, DEVICE: OF_DEVICE}
