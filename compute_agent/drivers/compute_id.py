"""The identity of this machine as a compute node, and whether its configuration fits the instances that run on it.

A host keeps the uuid of its resource provider, as Nova's compute nodes do: the instances on it hold allocations of that
provider, and another uuid or name would offer what they use a second time.
"""

import json
import os
import uuid
from pathlib import Path

from nova_sched.projection.devices import guest_of
from rpc_api import errors
from rpc_api.wording import number_of

NAMESPACE = uuid.UUID("8f3c8d1e-52b4-4b7e-9c0a-0d6d8c1f7a51")
FILE_NAME = "compute_id"


def kept_uuid(state_path: Path, host: str, consumers) -> str:
    """The uuid of the provider of ``host``, from the file ``compute_id`` in the directory ``state_path``.

    The file is written if it does not exist, with the uuid that earlier versions made from the name. A machine without
    instances that has another name is a new host. UsageError if the machine runs instances (Consumer records) and has
    another name than before, or if the file cannot be read or written.
    """
    file, made = state_path / FILE_NAME, str(uuid.uuid5(NAMESPACE, host))
    known = _read(file)
    if known is not None:
        kept, name = known
        if name == host:
            return kept
        if consumers:
            raise errors.UsageError(
                f"{file} belongs to the host {name!r}, which runs {_count(consumers)}, and this host is {host!r}; "
                f"set [compute_agent] host = {name}, or delete the instances before the host gets another name"
            )
    elif (used := _providers_of(consumers)) and made not in used:
        raise errors.UsageError(
            f"{file} does not exist, and this machine runs {_count(consumers)} of the provider {min(used)}, which is "
            f"not that of the host {host!r} ({made}); set [compute_agent] host to the name that it had before"
        )
    _write(file, made, host)
    return made


def check_cpus(consumers, shared, dedicated) -> None:
    """Check that the CPUs of all instances (Consumer records) are ``shared`` or ``dedicated``; UsageError names the
    first instance for which that is not so."""
    pinned, used = {}, {"VCPU": {}, "PCPU": {}}
    for consumer in consumers:
        for _, resource_class, amount in consumer.allocations:
            if resource_class in used and amount:
                amounts = used[resource_class]
                amounts[consumer.instance_uuid] = amounts.get(consumer.instance_uuid, 0) + amount
        if consumer.guest is not None:
            for use in guest_of(consumer.guest).numa:
                for cpu in (*(host_cpu for _, host_cpu in use.pins), *use.reserved_cpus):
                    pinned.setdefault(cpu, consumer.instance_uuid)
    lost = sorted(pinned.keys() - dedicated)
    if lost:
        raise errors.UsageError(
            f"instance {pinned[lost[0]]} is pinned to CPU {lost[0]}, which is not in [compute] cpu_dedicated_set "
            f"({_numbers(dedicated)}); add the CPU to it, or delete the instance before the CPU is removed"
        )
    wanted = sum(used["PCPU"].values())
    if wanted > len(dedicated):
        raise errors.UsageError(
            f"{number_of(len(used['PCPU']), 'instance')} such as {min(used['PCPU'])} use {wanted} PCPU, and [compute] "
            f"cpu_dedicated_set has {len(dedicated)} CPUs; add those that it had before, or delete the instances "
            "before the set is changed"
        )
    if used["VCPU"] and not shared:
        raise errors.UsageError(
            f"{number_of(len(used['VCPU']), 'instance')} such as {min(used['VCPU'])} use VCPU, and no CPU is in "
            "[compute] cpu_shared_set; set it as before, or delete the instances before the set is changed"
        )


def _count(consumers) -> str:
    return number_of(len(consumers), "instance")


def _numbers(cpus) -> str:
    return ", ".join(map(str, sorted(cpus))) or "none"


def _providers_of(consumers) -> set:
    return {allocation.provider_uuid for consumer in consumers for allocation in consumer.allocations}


def _read(file):
    """(uuid, host) in the file; None if there is no file."""
    try:
        if not file.exists():
            return None
        known = json.loads(file.read_text())
        kept, host = str(uuid.UUID(known["uuid"])), known["host"]
        if type(host) is not str or not host:
            raise ValueError("host is not a name")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise errors.UsageError(
            f"the file {file} cannot be read ({fault}), wanted the uuid and the host of this compute node; restore it"
        ) from None
    return kept, host


def _write(file, kept, host):
    fresh = file.with_suffix(".new")
    try:
        fresh.write_text(json.dumps({"uuid": kept, "host": host}))
        os.replace(fresh, file)
    except OSError as fault:
        raise errors.UsageError(
            f"the file {file} cannot be written ({fault.strerror}), wanted a directory of [compute_agent] state_path "
            "that the agent may write; fix its rights"
        ) from None
