"""The simulated driver: a host of given inventory whose instances exist on paper."""

import re
import uuid
from hashlib import blake2b

from oslo_config import cfg

from compute_agent.drivers.base import BuildRefused, Driver
from compute_agent.drivers.sysfs import cpus_in
from nova_sched.projection.devices import fault_of
from rpc_api import errors, events

NAMESPACE = uuid.UUID("c0b9c7a0-7a55-4c7e-8f0e-1a4f1f6f0b52")

OPTS = [
    cfg.IntOpt("simulated_hosts", default=1, min=1, help="Driver simulated: number of hosts."),
    cfg.StrOpt(
        "simulated_name",
        default="{host}-{number}",
        help="Driver simulated: names of its hosts; {host} is the agent's, {number} counts from 1.",
    ),
    cfg.IntOpt("simulated_vcpus", default=16, min=1, help="Driver simulated: processors of a host."),
    cfg.IntOpt("simulated_memory_mb", default=65536, min=1, help="Driver simulated: memory of a host in MB."),
    cfg.IntOpt("simulated_disk_gb", default=1000, min=1, help="Driver simulated: disk of a host in GB."),
    cfg.IntOpt(
        "simulated_numa_nodes",
        default=0,
        min=0,
        max=64,
        help="Driver simulated: NUMA nodes of a host, each a socket, among which its processors and memory are "
        "divided; 0 for a host that reports none.",
    ),
    cfg.StrOpt(
        "simulated_dedicated_cpus",
        default="0",
        help="Driver simulated: processors that run pinned CPUs of guests (PCPU in place of VCPU): how many, "
        "taken from the end of each NUMA node in turn, or a list such as 4-7,12,^5.",
    ),
    cfg.ListOpt(
        "simulated_huge_pages",
        default=[],
        help="Driver simulated: huge pages of each NUMA node: size in KiB:number, such as 2048:512,1048576:4. "
        "The rest of the memory is pages of 4 KiB.",
    ),
    cfg.ListOpt(
        "simulated_pci",
        default=[],
        help="Driver simulated: pools of PCI devices of a host: vendor:product:number:NUMA node (- for none), "
        "and tags as :name=value, such as 8086:1520:4:0:physical_network=net1.",
    ),
]
#: Of the pages that are not huge, in KiB.
SMALL_KB = 4

UP = events.HostStatus(False, None, False, 0, 0, {})


class SimulatedDriver(Driver):
    """``fail`` is the share of builds that fail (0 to 1), drawn from ``seed``, the instance and the host."""

    def __init__(self, inventory, fail: float = 0.0, seed: int = 0):
        #: What it reports; a simulation changes it.
        self.offered = inventory
        self._fail = fail
        self._seed = seed
        self._running = {}
        self.state = UP

    def inventory(self):
        return self.offered

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
        text = f"{self._seed}/{instance_uuid}/{self.offered.nodename}"
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


def drivers(conf, host: str) -> dict:
    """The simulated hosts that ``[compute_agent]`` describes, by name."""
    options = conf.compute_agent
    try:
        names = [
            options.simulated_name.format(host=host, number=number) for number in range(1, options.simulated_hosts + 1)
        ]
    except (KeyError, IndexError, ValueError) as fault:
        raise errors.UsageError(
            f"[compute_agent] simulated_name is {options.simulated_name!r} ({fault!r}), wanted a "
            "name with {host} and {number}; fix it"
        ) from None
    if len(set(names)) < len(names):
        raise errors.UsageError(
            f"[compute_agent] simulated_name is {options.simulated_name!r}, which gives several "
            "hosts one name; put {number} into it"
        )
    cells, pools = _cells(options), tuple(map(_pool, options.simulated_pci))
    made = {
        name: inventory_of(
            name, options.simulated_vcpus, options.simulated_memory_mb, options.simulated_disk_gb, cells, pools
        )
        for name in names
    }
    fault = fault_of(made[names[0]])
    if fault:
        raise errors.UsageError(
            f"the simulated hosts cannot be: {fault}; fix [compute_agent] simulated_huge_pages and simulated_pci"
        )
    return {name: SimulatedDriver(inventory) for name, inventory in made.items()}


def _cells(options):
    """HostNUMACell records of each host."""
    nodes, vcpus, memory_mb = options.simulated_numa_nodes, options.simulated_vcpus, options.simulated_memory_mb
    if not nodes and (options.simulated_dedicated_cpus != "0" or options.simulated_huge_pages):
        raise errors.UsageError(
            "[compute_agent] simulated_numa_nodes is 0, wanted at least 1 for dedicated CPUs or huge pages; fix it"
        )
    if nodes > min(vcpus, memory_mb):
        raise errors.UsageError(
            f"[compute_agent] simulated_numa_nodes is {nodes}, wanted at most as many as the "
            f"{vcpus} simulated_vcpus and the {memory_mb} simulated_memory_mb; fix it"
        )
    cpus = [range(node * vcpus // nodes, (node + 1) * vcpus // nodes) for node in range(nodes)]
    dedicated = _dedicated(options.simulated_dedicated_cpus, cpus)
    return tuple(
        events.HostNUMACell(
            node,
            node,
            tuple(cpu for cpu in own if cpu not in dedicated),
            tuple(cpu for cpu in own if cpu in dedicated),
            tuple((cpu,) for cpu in own),
            memory_mb // nodes,
            _pages(options.simulated_huge_pages, memory_mb // nodes),
        )
        for node, own in enumerate(cpus)
    )


def _dedicated(text, cpus):
    whose, known = "[compute_agent] simulated_dedicated_cpus", sum(map(len, cpus))
    if text.isdecimal():
        # The last of each node, then the last but one of each, and so on.
        turns = sorted(
            (position, node, cpu) for node, own in enumerate(cpus) for position, cpu in enumerate(reversed(own))
        )
        dedicated = {cpu for _, _, cpu in turns[: int(text)]}
        fits = int(text) <= known
    else:
        dedicated = cpus_in(text, whose)
        fits = max(dedicated, default=0) < known
    if not fits:
        raise errors.UsageError(f"{whose} is {text!r}, wanted none but the {known} simulated_vcpus; fix it")
    return dedicated


def _pages(settings, memory_mb):
    """HostPages of a node with this memory."""
    sizes, left_kb = [], memory_mb * 1024
    for setting in settings:
        match = re.fullmatch(r"\s*([0-9]{1,9}):([0-9]{1,9})\s*", setting)
        if not match:
            raise errors.UsageError(
                f"[compute_agent] simulated_huge_pages has {setting!r}, wanted size in KiB:number; fix it"
            )
        sizes.append((int(match[1]), int(match[2])))
        left_kb -= sizes[-1][0] * sizes[-1][1]
    if left_kb < 0:
        raise errors.UsageError(
            f"[compute_agent] simulated_huge_pages are {','.join(settings)}, wanted no more than "
            f"the {memory_mb} MB of memory of a NUMA node; fix it"
        )
    return tuple(events.HostPages(size, total, 0) for size, total in sorted([(SMALL_KB, left_kb // SMALL_KB), *sizes]))


def _pool(setting):
    match = re.fullmatch(
        r"\s*([0-9a-fA-F]{1,4}):([0-9a-fA-F]{1,4}):([0-9]{1,9}):(-|[0-9]{1,2})((?::[^:=]+=[^:]*)*)\s*", setting
    )
    if not match:
        raise errors.UsageError(
            f"[compute_agent] simulated_pci has {setting!r}, wanted vendor:product:number:NUMA "
            "node and then :tag=value; fix it"
        )
    vendor_id, product_id, count, node, tags = match.groups()
    tags = dict(tag.split("=", 1) for tag in tags.split(":")[1:])
    return events.PCIPool(
        vendor_id.lower(),
        product_id.lower(),
        None if node == "-" else int(node),
        {"dev_type": "type-PCI", **tags},
        int(count),
    )


def inventory_of(host: str, vcpus: int, memory_mb: int, disk_gb: int, cells=(), pools=()):
    """The HostInventory of a simulated host: one provider, allocation ratios of 1;
    of its processors those that its NUMA nodes dedicate are PCPU."""
    dedicated = sum(len(cell.dedicated_cpus) for cell in cells)
    inventories = tuple(
        events.Inventory(resource_class, total, 0, 1, total, 1, 1.0)
        for resource_class, total in (
            ("VCPU", vcpus - dedicated),
            ("PCPU", dedicated),
            ("MEMORY_MB", memory_mb),
            ("DISK_GB", disk_gb),
        )
        if total
    )
    root = events.Provider(str(uuid.uuid5(NAMESPACE, host)), host, -1, inventories, (), ())
    return events.HostInventory(
        host, None, None, "simulated", 1, "{}", (("x86_64", "simulated", "exe"),), {}, (root,), cells, pools
    )
