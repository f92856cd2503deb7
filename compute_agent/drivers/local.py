"""The local driver: reports the machine it runs on.

It starts no virtual machines: an instance is an entry in its state file, so
that what was placed here is still reported after a restart.
"""

import json
import os
import platform
import shutil
import socket
from pathlib import Path
from typing import NamedTuple

from oslo_config import cfg

from compute_agent.drivers import sysfs
from compute_agent.drivers.base import BuildRefused, Driver
from compute_agent.drivers.compute_id import check_cpus, kept_uuid
from compute_agent.drivers.device_spec import pools_of, specs_of
from compute_agent.drivers.simulated import UP
from rpc_api import errors, events

OPTS = [
    cfg.StrOpt(
        "state_path",
        default="/var/lib/nova_sched",
        help="Driver local: directory in which it keeps the instances that it runs, and the uuid and the name of the "
        "host (compute_id). While it runs instances, it does not start under another name.",
    ),
    cfg.IntOpt("reserved_memory_mb", default=512, min=0, help="Driver local: memory in MB that instances do not get."),
]

COMPUTE_OPTS = [
    cfg.StrOpt(
        "cpu_dedicated_set",
        help="Driver local: CPUs for pinned guests (PCPU), as nova's option of the same name: 4-12,^8,15.",
    ),
    cfg.StrOpt(
        "cpu_shared_set",
        help="Driver local: CPUs for guests that are not pinned (VCPU), as nova's option of the same name. All "
        "CPUs where neither this nor cpu_dedicated_set is set; none where only that is.",
    ),
]
PCI_OPTS = [
    cfg.MultiStrOpt(
        "device_spec",
        default=[],
        # The names that it had in Nova until Zed, which Nova 34 still reads.
        deprecated_opts=[
            cfg.DeprecatedOpt("passthrough_whitelist", group="pci"),
            cfg.DeprecatedOpt("pci_passthrough_whitelist", group="DEFAULT"),
        ],
        help="Driver local: PCI devices of the machine that instances may get, as nova's option of the "
        "same name: JSON with vendor_id, product_id, address or devname, and tags such as "
        "physical_network. No other device is offered.",
    )
]


class CPUs(NamedTuple):
    """Numbers of the CPUs that guests may have: ``shared`` by those that are not pinned,
    ``dedicated`` to the others."""

    shared: frozenset
    dedicated: frozenset


def cpus_of(dedicated: str | None, shared: str | None, usable) -> CPUs:
    """The CPUs of the options ``cpu_dedicated_set`` and ``cpu_shared_set`` (None or "": not set) on a machine with
    these ``usable`` ones; UsageError for CPUs that it has not, or that are in both."""
    sets = {}
    for name, text in (("cpu_shared_set", shared), ("cpu_dedicated_set", dedicated)):
        sets[name] = chosen = frozenset(sysfs.cpus_in(text or "", f"[compute] {name}"))
        missing = sorted(chosen.difference(usable))
        if missing:
            raise errors.UsageError(
                f"[compute] {name} is {text!r}, and this machine has no CPU {missing[0]} for it "
                f"(it has {', '.join(map(str, sorted(usable)))}); fix it"
            )
    both = sorted(sets["cpu_shared_set"] & sets["cpu_dedicated_set"])
    if both:
        raise errors.UsageError(
            f"CPU {both[0]} is in [compute] cpu_shared_set and in cpu_dedicated_set, wanted each "
            "in one of them; fix them"
        )
    if not any(sets.values()):
        return CPUs(frozenset(usable), frozenset())
    return CPUs(*sets.values())


class LocalDriver(Driver):
    """The machine's processors, memory and disk as one provider, its NUMA nodes, and those of its PCI devices that
    ``device_specs`` choose; ``state_path`` is a directory to keep state in, ``cpus`` are those that guests may have
    (None: all shared), ``sys_path`` is where Linux describes the machine. UsageError if the instances that it runs
    belong to a host of another name, or use CPUs that guests may not have."""

    def __init__(
        self,
        host: str,
        state_path: str,
        reserved_memory_mb: int = 512,
        device_specs=(),
        sys_path=sysfs.ROOT,
        cpus: CPUs | None = None,
    ):
        self._host = host
        self._reserved_memory_mb = reserved_memory_mb
        self._device_specs = device_specs
        self._sys_path = sys_path
        self._cpus = cpus or CPUs(frozenset(os.sched_getaffinity(0)), frozenset())
        self._file = Path(state_path) / "instances.json"
        self._running = self._read()
        check_cpus(self.running(), *self._cpus)
        self._uuid = kept_uuid(self._file.parent, host, self.running())

    def inventory(self):
        total_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        disk_gb = shutil.disk_usage(self._file.parent).total // 10**9
        shared, dedicated = self._cpus
        inventories = (
            *(
                events.Inventory(resource_class, len(cpus), 0, 1, len(cpus), 1, ratio)
                for resource_class, cpus, ratio in (("VCPU", shared, 4.0), ("PCPU", dedicated, 1.0))
                if cpus
            ),
            events.Inventory("MEMORY_MB", total_mb, min(self._reserved_memory_mb, total_mb), 1, total_mb, 1, 1.0),
            events.Inventory("DISK_GB", disk_gb, 0, 1, max(disk_gb, 1), 1, 1.0),
        )
        root = events.Provider(self._uuid, self._host, -1, inventories, (), ())
        return events.HostInventory(
            self._host,
            None,
            _address(),
            "local",
            1,
            json.dumps({"arch": platform.machine()}),
            ((platform.machine(), "local", "exe"),),
            {},
            (root,),
            sysfs.numa_cells(self._sys_path, shared, dedicated),
            pools_of(sysfs.pci_devices(self._sys_path), self._device_specs) if self._device_specs else (),
        )

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
            return {
                entry["instance_uuid"]: events.from_object(
                    events.TABLE["Consumer"].obj_from_primitive(entry["consumer"])
                )
                for entry in entries
            }
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise errors.UsageError(f"the state file {self._file} cannot be read ({fault}); fix or remove it") from None

    def _write(self):
        entries = [
            {"instance_uuid": uuid_, "consumer": events.to_object(consumer).obj_to_primitive()}
            for uuid_, consumer in sorted(self._running.items())
        ]
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
    cpus = cpus_of(conf.compute.cpu_dedicated_set, conf.compute.cpu_shared_set, os.sched_getaffinity(0))
    return {
        host: LocalDriver(
            host, options.state_path, options.reserved_memory_mb, specs_of(conf.pci.device_spec), cpus=cpus
        )
    }
