"""The simulated driver: a host of given inventory whose instances exist on paper."""

import uuid
from hashlib import blake2b

from oslo_config import cfg

from compute_agent.drivers.base import BuildRefused, Driver
from rpc_api import errors, events

NAMESPACE = uuid.UUID("c0b9c7a0-7a55-4c7e-8f0e-1a4f1f6f0b52")

OPTS = [
    cfg.IntOpt("simulated_hosts", default=1, min=1, help="Driver simulated: number of hosts."),
    cfg.StrOpt("simulated_name", default="{host}-{number}",
               help="Driver simulated: names of its hosts; {host} is the agent's, {number} counts from 1."),
    cfg.IntOpt("simulated_vcpus", default=16, min=1, help="Driver simulated: processors of a host."),
    cfg.IntOpt("simulated_memory_mb", default=65536, min=1, help="Driver simulated: memory of a host in MB."),
    cfg.IntOpt("simulated_disk_gb", default=1000, min=1, help="Driver simulated: disk of a host in GB."),
]

UP = events.HostStatus(False, None, False, 0, 0, {})


class SimulatedDriver(Driver):
    """``fail`` is the share of builds that fail (0 to 1), drawn from ``seed``, the instance and the host."""

    def __init__(self, inventory, fail: float = 0.0, seed: int = 0):
        self._inventory = inventory
        self._fail = fail
        self._seed = seed
        self._running = {}
        self.state = UP

    def inventory(self):
        return self._inventory

    def status(self):
        return self.state

    def running(self):
        return tuple(self._running.values())

    def spawn(self, consumer):
        if self._fail and self._draw(consumer.instance_uuid) < self._fail:
            raise BuildRefused("simulated failure")
        self._running[consumer.instance_uuid] = consumer

    def destroy(self, instance_uuid):
        self._running.pop(instance_uuid, None)

    def _draw(self, instance_uuid):
        text = f"{self._seed}/{instance_uuid}/{self._inventory.nodename}"
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


def drivers(conf, host: str) -> dict:
    """The simulated hosts that ``[compute_agent]`` describes, by name."""
    options = conf.compute_agent
    try:
        names = [options.simulated_name.format(host=host, number=number)
                 for number in range(1, options.simulated_hosts + 1)]
    except (KeyError, IndexError, ValueError) as fault:
        raise errors.UsageError(f"[compute_agent] simulated_name is {options.simulated_name!r} ({fault!r}), wanted a "
                                "name with {host} and {number}; mend it") from None
    if len(set(names)) < len(names):
        raise errors.UsageError(f"[compute_agent] simulated_name is {options.simulated_name!r}, which gives several "
                                "hosts one name; put {number} into it")
    return {name: SimulatedDriver(inventory_of(name, options.simulated_vcpus, options.simulated_memory_mb,
                                               options.simulated_disk_gb)) for name in names}


def inventory_of(host: str, vcpus: int, memory_mb: int, disk_gb: int):
    """The HostInventory of a simulated host: one provider, allocation ratios of 1."""
    inventories = tuple(events.Inventory(resource_class, total, 0, 1, total, 1, 1.0) for resource_class, total in (
        ("VCPU", vcpus), ("MEMORY_MB", memory_mb), ("DISK_GB", disk_gb)))
    root = events.Provider(str(uuid.uuid5(NAMESPACE, host)), host, -1, inventories, (), ())
    return events.HostInventory(host, None, None, "simulated", 1, "{}", (("x86_64", "simulated", "exe"),), {}, (root,))
