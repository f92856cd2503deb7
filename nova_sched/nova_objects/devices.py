"""All PCI devices of a host. nova-compute publishes pools of those that are free, and each device that changes.

A device is taken or given back in two messages: first the compute node with its pools, then the device. So a pool that
seems to have more devices than before may only be between the two, and grows after a while.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rpc_api import events
from rpc_api.digest import pool_key

#: Seconds for which a pool must have more devices before it is reported with them.
GROWS_AFTER = 10.0
#: States of a device in which no pool of free devices has it, but the host has it.
NOT_FREE = frozenset({"claimed", "allocated", "unavailable", "unclaimable"})

Pools = tuple[events.PCIPool, ...]


class Devices:
    """What is known of the devices of compute nodes. Times are monotonic seconds."""

    def __init__(self) -> None:
        #: Id of a compute node in Nova's database -> address -> fields of a device that is not free.
        self._not_free: dict[int, dict[str, Mapping[str, Any]]] = {}
        #: Host -> since when its pools seem to have more devices.
        self._grows_since: dict[str, float] = {}

    def take(self, fields: Mapping[str, Any]) -> int | None:
        """Note a device; returns the id of its compute node, None if that is not known."""
        node_id, address = fields.get("compute_node_id"), fields.get("address")
        if node_id is None or address is None:
            return None
        of_node = self._not_free.setdefault(node_id, {})
        if fields.get("status") in NOT_FREE:
            of_node[address] = fields
        else:
            of_node.pop(address, None)
        return node_id

    def forget_all(self) -> None:
        """Nothing is known any more."""
        self._not_free.clear()
        self._grows_since.clear()

    def pools_of(self, host: str, node: Mapping[str, Any], known: Pools | None, now: float) -> tuple[Pools, bool]:
        """The pools of a host with all of its devices, and whether that may change without a message.

        ``known`` are the pools in the log, None for a host that is not in the log. While the host has instances, a
        device that is missing may be in use: then a pool keeps the number that is known. A pool of which no device is
        free is missing after a restart of nova-compute; it is kept, unless a pool with other tags has its devices now.
        """
        free, before = node.get("pci_device_pools"), {pool_key(pool): pool for pool in known or ()}
        if free is None:
            return known or (), False
        pools = {pool_key(pool): pool for pool in free}
        if node.get("running_vms") == 0:
            self._grows_since.pop(host, None)
            return _sorted(pools), False
        taken_over = set(map(_devices_of, free))
        for key, pool in before.items():
            if _devices_of(pool) not in taken_over:
                pools[key] = pool._replace(count=0)
        found = self._counted(node.get("id"), pools)
        whole = {key: pool._replace(count=max(found[key], _count(before, key))) for key, pool in pools.items()}
        if known is None or all(pool.count <= _count(before, key) for key, pool in whole.items() if key in before):
            self._grows_since.pop(host, None)
            return _sorted(whole), False
        if now - self._grows_since.setdefault(host, now) >= GROWS_AFTER:
            del self._grows_since[host]
            return _sorted(whole), False
        return _sorted({key: before.get(key, pool) for key, pool in whole.items()}), True

    def _counted(self, node_id: int | None, pools: Mapping[str, events.PCIPool]) -> Counter[str]:
        """The devices of each pool: the free ones, and the known ones that are not free."""
        found = Counter({key: pool.count for key, pool in pools.items()})
        for device in self._not_free.get(node_id, {}).values() if node_id is not None else ():
            # A device that fits several pools is not counted: a pool must not seem larger than it is.
            fitting = [key for key, pool in pools.items() if fits(device, pool)]
            if len(fitting) == 1:
                found[fitting[0]] += 1
        return found


def fits(device: Mapping[str, Any], pool: events.PCIPool) -> bool:
    """Whether a device belongs to a pool, by what both have. Older releases of Nova have no address in a pool."""
    address = pool.tags.get("address")
    return (
        (device.get("vendor_id"), device.get("product_id")) == (pool.vendor_id, pool.product_id)
        and device.get("numa_node") == pool.numa_node
        and pool.tags.get("dev_type") in (None, device.get("dev_type"))
        and address in (None, device.get("parent_addr") or device.get("address"))
    )


def _devices_of(pool: events.PCIPool) -> tuple[Any, ...]:
    """What tells the devices of a pool from others, also if the operator gives them other tags."""
    return (pool.vendor_id, pool.product_id, pool.numa_node, pool.tags.get("dev_type"), pool.tags.get("address"))


def _count(pools: Mapping[str, events.PCIPool], key: str) -> int:
    return pools[key].count if key in pools else 0


def _sorted(pools: Mapping[str, events.PCIPool]) -> Pools:
    return tuple(pools[key] for key in sorted(pools))
