"""What Linux says of a machine's NUMA nodes and PCI devices, under ``/sys`` or a tree of the same form."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from rpc_api import errors, events

ROOT = Path("/sys")
_ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


class Device(NamedTuple):
    """A PCI device: ``parent`` is the address of its physical function (None: it is none's virtual function),
    ``interfaces`` are the names of its network interfaces, ``parent_interfaces`` those of its parent's."""

    address: str
    vendor_id: str
    product_id: str
    numa_node: int | None
    dev_type: str
    parent: str | None
    interfaces: tuple
    parent_interfaces: tuple


def cpus_in(text: str, whose: str) -> set[int]:
    """CPUs of a list such as ``0-3,8,^2``; UsageError names ``whose`` list makes no sense."""
    cpus, excluded = set(), set()
    for rule in filter(None, map(str.strip, text.split(","))):
        match = re.fullmatch(r"(\^?)([0-9]{1,5})(?:-([0-9]{1,5}))?", rule)
        if not match or int(match[3] or match[2]) < int(match[2]):
            raise errors.UsageError(f"{whose} is {text!r}, wanted numbers and ranges of CPUs such as 0-3,8,^2; fix it")
        (excluded if match[1] else cpus).update(range(int(match[2]), int(match[3] or match[2]) + 1))
    return cpus - excluded


def numa_cells(root: Path = ROOT, shared=None, dedicated=frozenset()) -> tuple:
    """HostNUMACell records of the machine, those without CPUs left out; only CPUs that are ``shared`` (None: all) or
    ``dedicated`` count.

    None at all where the machine does not say.
    """
    cells = []
    for path in (root / "devices/system/node").glob("node[0-9]*"):
        own = cpus_in(_read(path / "cpulist"), f"{path}/cpulist")
        shared_here, dedicated_here = own if shared is None else own & shared, own & dedicated
        own = shared_here | dedicated_here
        memory_kb = int((re.search(r"MemTotal:\s*([0-9]+) kB", _read(path / "meminfo")) or (0, 0))[1])
        if own:
            topology = root / "devices/system/cpu"
            cells.append(
                events.HostNUMACell(
                    int(path.name[4:]),
                    _number(topology / f"cpu{min(own)}/topology/physical_package_id"),
                    tuple(sorted(shared_here)),
                    tuple(sorted(dedicated_here)),
                    _cores(topology, own),
                    memory_kb // 1024,
                    _pages(path / "hugepages", memory_kb),
                )
            )
    return tuple(sorted(cells))


def _cores(topology, cpus):
    """CPUs that share a core, one tuple a core."""
    cores = set()
    for cpu in cpus:
        text = _read(topology / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu)
        cores.add(tuple(sorted(cpus & cpus_in(text, f"the list of CPU {cpu}'s siblings"))))
    return tuple(sorted(cores))


def _pages(path, memory_kb):
    """HostPages of a node: the small ones are what the huge ones leave."""
    huge = {int(pages.name[10:-2]): _number(pages / "nr_hugepages") or 0 for pages in path.glob("hugepages-*kB")}
    small_kb = os.sysconf("SC_PAGE_SIZE") // 1024
    left_kb = max(memory_kb - sum(size * total for size, total in huge.items()), 0)
    return tuple(
        events.HostPages(size, total, 0) for size, total in sorted({**huge, small_kb: left_kb // small_kb}.items())
    )


def pci_devices(root: Path = ROOT) -> list[Device]:
    """All PCI devices of the machine, by address."""
    path = root / "bus/pci/devices"
    return [_device(path / name) for name in sorted(_names(path)) if _ADDRESS.fullmatch(name)]


def _device(path):
    parent = path / "physfn"
    is_virtual = parent.exists()
    node = _number(path / "numa_node")
    return Device(
        path.name,
        _read(path / "vendor").removeprefix("0x"),
        _read(path / "device").removeprefix("0x"),
        None if node is None or node < 0 else node,
        _type(path, is_virtual),
        parent.resolve().name if is_virtual else None,
        _names(path / "net"),
        _names(parent / "net") if is_virtual else (),
    )


def _type(path, is_virtual):
    """In nova's words."""
    if is_virtual:
        return "vdpa" if any(path.glob("vdpa[0-9]*")) else "type-VF"
    return "type-PF" if _number(path / "sriov_totalvfs") else "type-PCI"


def _read(path):
    """The text of a file, "" where there is none to be read: not every kernel has all of them."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path):
    text = _read(path)
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None


def _names(path):
    try:
        return tuple(sorted(os.listdir(path)))
    except OSError:
        return ()
