"""The local driver: reports the machine it runs on.

It starts no virtual machines: an instance is an entry in its state file, so
that what was placed here is still reported after a restart.
"""

import json
import os
import platform
import shutil
import socket
import uuid
from pathlib import Path

from oslo_config import cfg

from compute_agent.drivers import sysfs
from compute_agent.drivers.base import BuildRefused, Driver
from compute_agent.drivers.device_spec import pools_of, specs_of
from compute_agent.drivers.simulated import UP
from rpc_api import errors, events

NAMESPACE = uuid.UUID("8f3c8d1e-52b4-4b7e-9c0a-0d6d8c1f7a51")

OPTS = [
    cfg.StrOpt("state_path", default="/var/lib/nova_sched",
               help="Driver local: directory in which it remembers what it runs."),
    cfg.IntOpt("reserved_memory_mb", default=512, min=0,
               help="Driver local: memory in MB that instances do not get."),
]


PCI_OPTS = [
    cfg.MultiStrOpt("device_spec", default=[],
                    help="Driver local: PCI devices of the machine that instances may get, as nova's option of the "
                         "same name: JSON with vendor_id, product_id, address or devname, and tags such as "
                         "physical_network. No other device is offered."),
]


class LocalDriver(Driver):
    """The machine's processors, memory and disk as one provider, its NUMA nodes, and those of its PCI devices that
    ``device_specs`` choose; ``state_path`` is a directory to keep state in,
    ``sys_path`` where Linux describes the machine."""

    def __init__(self, host: str, state_path: str, reserved_memory_mb: int = 512, device_specs=(), sys_path=sysfs.ROOT):
        self._host = host
        self._reserved_memory_mb = reserved_memory_mb
        self._device_specs = device_specs
        self._sys_path = sys_path
        self._file = Path(state_path) / "instances.json"
        self._running = self._read()

    def inventory(self):
        total_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        disk_gb = shutil.disk_usage(self._file.parent).total // 10**9
        usable = os.sched_getaffinity(0)
        cpus = len(usable)
        inventories = (
            events.Inventory("VCPU", cpus, 0, 1, cpus, 1, 4.0),
            events.Inventory("MEMORY_MB", total_mb, min(self._reserved_memory_mb, total_mb), 1, total_mb, 1, 1.0),
            events.Inventory("DISK_GB", disk_gb, 0, 1, max(disk_gb, 1), 1, 1.0),
        )
        root = events.Provider(str(uuid.uuid5(NAMESPACE, self._host)), self._host, -1, inventories, (), ())
        return events.HostInventory(
            self._host, None, _address(), "local", 1, json.dumps({"arch": platform.machine()}),
            ((platform.machine(), "local", "exe"),), {}, (root,), sysfs.numa_cells(self._sys_path, usable),
            pools_of(sysfs.pci_devices(self._sys_path), self._device_specs) if self._device_specs else ())

    def status(self):
        return UP

    def running(self):
        return tuple(self._running.values())

    def spawn(self, consumer):
        self._running[consumer.instance_uuid] = consumer
        try:
            self._write()
        except OSError as fault:
            del self._running[consumer.instance_uuid]
            raise BuildRefused(f"its state cannot be written: {fault.strerror}") from None

    def destroy(self, instance_uuid):
        if self._running.pop(instance_uuid, None) is not None:
            self._write()

    def _read(self):
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            entries = json.loads(self._file.read_text()) if self._file.exists() else []
            return {one["instance_uuid"]: events.from_object(
                events.TABLE["Consumer"].obj_from_primitive(one["consumer"])) for one in entries}
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise errors.UsageError(f"the state file {self._file} cannot be read ({fault}); "
                                    "mend or remove it") from None

    def _write(self):
        entries = [{"instance_uuid": uuid_, "consumer": events.to_object(consumer).obj_to_primitive()}
                   for uuid_, consumer in sorted(self._running.items())]
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(entries))
        os.replace(fresh, self._file)


def _address():
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return None


def drivers(conf, host: str) -> dict:
    """This machine as the one host, under the agent's name."""
    options = conf.compute_agent
    return {host: LocalDriver(host, options.state_path, options.reserved_memory_mb, specs_of(conf.pci.device_spec))}
