"""Workloads: hosts, aggregates and requests, read from recorded traces or generated."""

import random
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from nova_sched.playground.tables import rows
from rpc_api import errors, events

NAMESPACE = uuid.UUID("5b0c7c0e-1f0e-4b0a-9d55-3f2f1d7b1c11")
PROJECT = "play"


class Request(NamedTuple):
    """One requested instance.

    ``shares`` are the resources of each NUMA node that it wants, or of the host (then one share). ``arrives`` and
    ``departs`` are seconds from the start of the recording, ``departs`` None for an instance that stays. ``policy`` is
    a server group policy or None; ``partition`` is the number of a fault domain.
    """

    seq: int
    instance_uuid: str
    shares: tuple
    numa: bool
    arrives: float
    departs: float | None
    policy: str | None
    group: str | None
    partition: str | None


@dataclass
class Workload:
    """``inventories``: host name -> HostInventory; ``racks``: host name -> rack uuid; requests in order of arrival;
    ``notes``: sentences about how the files were read."""

    name: str
    inventories: dict
    requests: list
    racks: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)


def uuid_of(*parts) -> str:
    """Return a uuid that is derived from its parts."""
    return str(uuid.uuid5(NAMESPACE, "/".join(str(part) for part in parts)))


def _inventory(name, provider_names, amounts, aggregates=()):
    """A HostInventory: a root, and one child for each of ``provider_names`` with its (VCPU, MEMORY_MB) amounts."""
    root = uuid_of("host", name)
    providers = [events.Provider(root, name, -1, _classes(amounts[0]) if not provider_names else (), (), aggregates)]
    for child, amount in zip(provider_names, amounts if provider_names else (), strict=True):
        providers.append(events.Provider(uuid_of("host", child), child, 0, _classes(amount), (), ()))
    return events.HostInventory(name, None, None, "simulated", 1, "{}", (), {}, tuple(providers))


def _classes(amount):
    return tuple(
        events.Inventory(resource_class, total, 0, 1, total, 1, 1.0)
        for resource_class, total in zip(("VCPU", "MEMORY_MB"), amount, strict=True)
        if total > 0
    )


# --- Huawei: servers with two NUMA nodes, racks, groups ---------------------------------------------------------

_SERVER = ("host", "numa0_cpus", "numa0_ram_gb", "numa1_cpus", "numa1_ram_gb")
_REQUEST = ("seq", "vcpus", "ram_gb", "numa_nodes", "policy", "group", "fault_domain")


def huawei(servers: str, racks: str | None, requests: str, seed: int) -> Workload:
    """Read the three files of ``huawei-topology``; UsageError with the file, the line and the fault."""
    rack_of = _racks_in(racks) if racks else {}
    inventories = {}
    for row in rows(servers, _SERVER):
        name = row.name("host")
        amounts = [(row.whole(f"numa{node}_cpus"), row.whole(f"numa{node}_ram_gb") * 1024) for node in (0, 1)]
        if name in inventories:
            raise errors.UsageError(f"{row.where}: the host {name} is there twice; remove one of the two lines")
        if racks and name not in rack_of:
            raise errors.UsageError(f"{row.where}: the host {name} has no rack in {racks}; add it there")
        inventories[name] = _inventory(name, [f"{name}_numa0", f"{name}_numa1"], amounts)
    wanted, notes = _huawei_requests(requests, seed)
    return Workload(
        Path(requests).stem,
        inventories,
        wanted,
        {host: rack_of[host] for host in inventories if host in rack_of},
        notes,
    )


def _racks_in(path):
    """Return host -> uuid of its rack."""
    found = {}
    for row in rows(path, ("host", "rack")):
        host, rack = row.name("host"), uuid_of("rack", row.name("rack"))
        if found.setdefault(host, rack) != rack:
            raise errors.UsageError(
                f"{row.where}: the host {host} is in another rack in a line before; remove one of the two lines"
            )
    return found


_HUAWEI_POLICIES = {"": None, "affinity": "affinity", "anti-affinity": "anti-affinity", "fault_domain": "fault-domain"}


def _huawei_requests(path, seed):
    """(Requests, notes) of a file: several traces that were joined are played one after the other."""
    parts = {}
    for row in rows(path, _REQUEST, optional=("policy", "group", "fault_domain")):
        part, seq = parts.setdefault(row.part, {}), row.whole("seq")
        if seq in part:
            raise errors.UsageError(
                f"{row.where}: the number {seq} is there twice, first in {part[seq].where}; give "
                "each request a number of its own, or put a header line between two traces"
            )
        part[seq] = row
    wanted, notes, taken = [], [], set()
    for part in parts.values():
        # A trace that continues the numbers of the one before is the rest of it.
        shift = max(taken) + 1 - min(part) if taken.intersection(part) else 0
        if shift:
            notes.append(
                f"{next(iter(part.values())).where}: another trace starts here, whose numbers were there "
                f"before; its requests are {min(part) + shift} to {max(part) + shift}"
            )
        trace = (seed, "trace", shift) if shift else (seed,)
        wanted += [_huawei_request(row, seq + shift, seed, trace) for seq, row in part.items()]
        taken.update(seq + shift for seq in part)
    return wanted, notes


def _huawei_request(row, seq, seed, trace):
    nodes = row.whole("numa_nodes")
    vcpus, memory_mb = row.whole("vcpus"), row.whole("ram_gb") * 1024
    if nodes < 1 or vcpus % nodes or memory_mb % nodes:
        raise errors.UsageError(
            f"{row.where}: {vcpus} vcpus and {memory_mb} MB cannot be divided equally over {nodes} "
            "NUMA nodes; fix that line"
        )
    policy = row.text("policy").lower()
    if policy not in _HUAWEI_POLICIES:
        raise errors.UsageError(
            f"{row.where}: the policy is {row.text('policy')!r}, wanted one of "
            f"{', '.join(name or '(empty)' for name in _HUAWEI_POLICIES)}; fix that line"
        )
    group = uuid_of(*trace, "group", policy, row.name("group")) if policy else None
    return Request(
        seq,
        uuid_of(seed, "instance", seq),
        ((vcpus // nodes, memory_mb // nodes),) * nodes,
        True,
        float(seq),
        None,
        _HUAWEI_POLICIES[policy],
        group,
        row.text("fault_domain") or None,
    )


# --- Azure: arrivals and departures ------------------------------------------------------------------------------


def azure(trace: str, hosts: int, host_cores: int | None, host_ram: int | None, seed: int) -> Workload:
    """Read a trace of ``azure-packing``. By default a host is as large as the largest instance."""
    wanted = []
    for row in rows(trace, ("vmId", "cores", "ram", "starttime", "endtime")):
        ends = row.number("endtime")
        wanted.append(
            (
                row.number("starttime"),
                len(wanted),
                row.whole("cores"),
                row.whole("ram"),
                None if ends == float("inf") else ends,
            )
        )
    if not wanted:
        raise errors.UsageError(f"{trace} holds no instances; name a trace of azure-packing")
    wanted.sort(key=lambda row: row[:2])
    size = (host_cores or max(row[2] for row in wanted), host_ram or max(row[3] for row in wanted))
    inventories = {f"host-{number}": _inventory(f"host-{number}", [], [size]) for number in range(hosts)}
    requests = [
        Request(
            seq,
            uuid_of(seed, "instance", seq),
            ((cores, ram),),
            False,
            max(starts, 0.0) * 86400,
            None if ends is None else ends * 86400,
            None,
            None,
            None,
        )
        for seq, (starts, _, cores, ram, ends) in enumerate(wanted)
    ]
    return Workload(Path(trace).name.split(".")[0], inventories, requests)


# --- generated ---------------------------------------------------------------------------------------------------

_SHAPES = ((4, 8, 1), (2, 4, 1), (32, 64, 2), (8, 32, 1), (2, 8, 1), (4, 16, 1), (8, 16, 1), (16, 64, 1), (32, 128, 2))
_WEIGHTS = (18, 17, 15, 9, 9, 8, 6, 4, 3)


def generated(hosts: int, requests: int, seed: int) -> Workload:
    """Return a cloud and requests of the shape of ``huawei-topology``, drawn from ``seed``."""
    chance = random.Random(seed)
    inventories, racks = {}, {}
    for number in range(hosts):
        name = f"host-{number}"
        cpus = [chance.choice((16, 32, 36, 48, 64)) for _ in (0, 1)]
        inventories[name] = _inventory(name, [f"{name}_numa0", f"{name}_numa1"], [(cpu, cpu * 2048) for cpu in cpus])
        racks[name] = uuid_of("rack", number // 4)
    wanted, seq, groups = [], 0, 0
    while seq < requests:
        policy = chance.choices((None, "affinity", "anti-affinity", "fault-domain"), (60, 10, 12, 18))[0]
        vcpus, ram_gb, nodes = chance.choices(_SHAPES, _WEIGHTS)[0]
        members = 1 if policy is None else chance.randint(2, 6)
        groups += 1
        for member in range(min(members, requests - seq)):
            wanted.append(
                Request(
                    seq,
                    uuid_of(seed, "instance", seq),
                    ((vcpus // nodes, ram_gb * 1024 // nodes),) * nodes,
                    True,
                    float(seq),
                    None,
                    policy,
                    uuid_of(seed, "group", groups) if policy else None,
                    str(member % 3) if policy == "fault-domain" else None,
                )
            )
            seq += 1
    return Workload("generated", inventories, wanted, racks)
