"""Workloads: hosts, aggregates and requests, read from recorded traces or generated."""

import csv
import gzip
import random
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rpc_api import errors, events

NAMESPACE = uuid.UUID("5b0c7c0e-1f0e-4b0a-9d55-3f2f1d7b1c11")
PROJECT = "play"
UNLIMITED = 2**31 - 1


class Request(NamedTuple):
    """One instance that is asked for.

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
    """``inventories``: host name -> HostInventory; ``racks``: host name -> rack uuid; requests in order of arrival."""

    name: str
    inventories: dict
    requests: list
    racks: dict = field(default_factory=dict)


def uuid_of(*parts) -> str:
    """A uuid that follows from its parts."""
    return str(uuid.uuid5(NAMESPACE, "/".join(str(part) for part in parts)))


def _inventory(name, provider_names, amounts, aggregates=()):
    """A HostInventory: a root, and one child for each of ``provider_names`` with its (VCPU, MEMORY_MB) amounts."""
    root = uuid_of("host", name)
    providers = [events.Provider(root, name, -1, _classes(amounts[0]) if not provider_names else (), (), aggregates)]
    for child, amount in zip(provider_names, amounts):
        providers.append(events.Provider(uuid_of("host", child), child, 0, _classes(amount), (), ()))
    return events.HostInventory(name, None, None, "simulated", 1, "{}", (), {}, tuple(providers))


def _classes(amount):
    return tuple(events.Inventory(resource_class, total, 0, 1, total, 1, 1.0)
                 for resource_class, total in zip(("VCPU", "MEMORY_MB"), amount) if total > 0)


# --- Huawei: servers with two NUMA nodes, racks, groups ---------------------------------------------------------

def huawei(servers: str, racks: str | None, requests: str, seed: int) -> Workload:
    """Read the three files of ``huawei-topology``; UsageError names the file, the line and what is wrong."""
    rack_of = {row["host"]: uuid_of("rack", row["rack"]) for row, _ in _rows(racks, ("host", "rack"))} if racks else {}
    inventories, columns = {}, ("host", "numa0_cpus", "numa0_ram_gb", "numa1_cpus", "numa1_ram_gb")
    for row, where in _rows(servers, columns):
        name = row["host"]
        amounts = [(_whole(row, f"numa{node}_cpus", where), _whole(row, f"numa{node}_ram_gb", where) * 1024)
                   for node in (0, 1)]
        if name in inventories:
            raise errors.UsageError(f"{where}: the host {name} is there twice; mend that line")
        if racks and name not in rack_of:
            raise errors.UsageError(f"{where}: the host {name} has no rack in {racks}; add it there")
        inventories[name] = _inventory(name, [f"{name}_numa0", f"{name}_numa1"], amounts)
    wanted = []
    for row, where in _rows(requests, ("seq", "vcpus", "ram_gb", "numa_nodes", "policy", "group", "fault_domain")):
        wanted.append(_huawei_request(row, where, seed))
    return Workload(Path(requests).stem, inventories, wanted,
                    {host: rack_of[host] for host in inventories if host in rack_of})


_HUAWEI_POLICIES = {"": None, "affinity": "affinity", "anti-affinity": "anti-affinity", "fault_domain": "fault-domain"}


def _huawei_request(row, where, seed):
    seq, nodes = _whole(row, "seq", where), _whole(row, "numa_nodes", where)
    vcpus, memory_mb = _whole(row, "vcpus", where), _whole(row, "ram_gb", where) * 1024
    if nodes < 1 or vcpus % nodes or memory_mb % nodes:
        raise errors.UsageError(f"{where}: {vcpus} vcpus and {memory_mb} MB do not part equally over {nodes} NUMA "
                                "nodes; mend that line")
    if row["policy"] not in _HUAWEI_POLICIES:
        raise errors.UsageError(f"{where}: the policy is {row['policy']!r}, wanted one of "
                                f"{', '.join(name or '(empty)' for name in _HUAWEI_POLICIES)}; mend that line")
    policy = _HUAWEI_POLICIES[row["policy"]]
    group = uuid_of(seed, "group", row["policy"], row["group"]) if policy else None
    return Request(seq, uuid_of(seed, "instance", seq), ((vcpus // nodes, memory_mb // nodes),) * nodes, True,
                   float(seq), None, policy, group, row["fault_domain"] or None)


# --- Azure: arrivals and departures ------------------------------------------------------------------------------

def azure(trace: str, hosts: int, host_cores: int | None, host_ram: int | None, seed: int) -> Workload:
    """Read a trace of ``azure-packing``; hosts are as large as its largest instance, unless told otherwise."""
    wanted = []
    for row, where in _rows(trace, ("vmId", "cores", "ram", "starttime", "endtime")):
        cores, ram = _whole(row, "cores", where), _whole(row, "ram", where)
        starts, ends = _number(row, "starttime", where), _number(row, "endtime", where)
        wanted.append((starts, len(wanted), cores, ram, None if ends == float("inf") else ends))
    if not wanted:
        raise errors.UsageError(f"{trace} holds no instances; name a trace of azure-packing")
    wanted.sort(key=lambda one: one[:2])
    size = (host_cores or max(one[2] for one in wanted), host_ram or max(one[3] for one in wanted))
    inventories = {f"host-{number}": _inventory(f"host-{number}", [], [size]) for number in range(hosts)}
    requests = [Request(seq, uuid_of(seed, "instance", seq), ((cores, ram),), False, max(starts, 0.0) * 86400,
                        None if ends is None else ends * 86400, None, None, None)
                for seq, (starts, _, cores, ram, ends) in enumerate(wanted)]
    return Workload(Path(trace).name.split(".")[0], inventories, requests)


# --- generated ---------------------------------------------------------------------------------------------------

_SHAPES = ((4, 8, 1), (2, 4, 1), (32, 64, 2), (8, 32, 1), (2, 8, 1), (4, 16, 1), (8, 16, 1), (16, 64, 1), (32, 128, 2))
_WEIGHTS = (18, 17, 15, 9, 9, 8, 6, 4, 3)


def generated(hosts: int, requests: int, seed: int) -> Workload:
    """A cloud and requests of the shape of ``huawei-topology``, drawn from ``seed``."""
    chance = random.Random(seed)
    inventories, racks = {}, {}
    for number in range(hosts):
        name = f"host-{number}"
        cpus = [chance.choice((16, 32, 36, 48, 64)) for _ in (0, 1)]
        inventories[name] = _inventory(name, [f"{name}_numa0", f"{name}_numa1"], [(one, one * 2048) for one in cpus])
        racks[name] = uuid_of("rack", number // 4)
    wanted, seq, groups = [], 0, 0
    while seq < requests:
        policy = chance.choices((None, "affinity", "anti-affinity", "fault-domain"), (60, 10, 12, 18))[0]
        vcpus, ram_gb, nodes = chance.choices(_SHAPES, _WEIGHTS)[0]
        members = 1 if policy is None else chance.randint(2, 6)
        groups += 1
        for member in range(min(members, requests - seq)):
            wanted.append(Request(
                seq, uuid_of(seed, "instance", seq), ((vcpus // nodes, ram_gb * 1024 // nodes),) * nodes, True,
                float(seq), None, policy, uuid_of(seed, "group", groups) if policy else None,
                str(member % 3) if policy == "fault-domain" else None))
            seq += 1
    return Workload("generated", inventories, wanted, racks)


# --- reading files ------------------------------------------------------------------------------------------------

def _rows(path, columns):
    """Yield (row, "file:line") of a CSV file, plain or gzipped, that has at least ``columns``."""
    try:
        opened = gzip.open(path, "rt", newline="") if str(path).endswith(".gz") else open(path, newline="")
        with opened as file:
            reader = csv.DictReader(file)
            if reader.fieldnames is None:
                raise errors.UsageError(f"{path} is empty, wanted the columns {', '.join(columns)}; name another file")
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                raise errors.UsageError(f"{path} has no column {missing[0]!r}, wanted {', '.join(columns)}; "
                                        "name a file of that form")
            for row in reader:
                if None in row.values() or None in row:
                    raise errors.UsageError(f"{path}:{reader.line_num} has not the {len(reader.fieldnames)} fields "
                                            "that its head names; mend that line")
                yield row, f"{path}:{reader.line_num}"
    except UnicodeDecodeError:
        raise errors.UsageError(f"{path} is no text; name a CSV file") from None
    except (OSError, EOFError, csv.Error) as fault:
        raise errors.UsageError(f"{path} cannot be read ({getattr(fault, 'strerror', None) or fault}); "
                                "name a readable CSV file") from None


def _number(row, column, where):
    try:
        value = float(row[column])
    except ValueError:
        value = float("nan")
    if value != value:
        raise errors.UsageError(f"{where}: {column} is {row[column]!r}, wanted a number; mend that line")
    return value


def _whole(row, column, where):
    value = _number(row, column, where)
    if value != int(value if abs(value) < 2**53 else 0.5) or not 0 <= value <= UNLIMITED:
        raise errors.UsageError(f"{where}: {column} is {row[column]!r}, wanted a whole number of 0 or more; "
                                "mend that line")
    return int(value)
