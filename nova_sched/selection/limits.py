"""The limits under which a guest was placed, for the compute host, which checks again."""

from typing import NamedTuple

from nova_sched.projection.table import HostTable
from nova_sched.selection.chain import filters_for
from nova_sched.selection.policy import Policy
from rpc_api.events import SchedulingRequest


class NUMALimits(NamedTuple):
    """Ratios of unpinned CPUs and of memory, and the networks to which the guest must be near; ``networks`` is false if
    the request named none."""

    cpu_ratio: float
    ram_ratio: float
    networks: bool
    physnets: tuple[str, ...]
    tunneled: bool


def numa_limits(table: HostTable, row: int, request: SchedulingRequest, policy: Policy) -> NUMALimits | None:
    """The NUMALimits of a request on the host of a root row; None if the NUMATopologyFilter did not run on it, or
    had nothing to check."""
    if not request.numa or not any(used.name == "NUMATopologyFilter" for used in filters_for(policy, request)):
        return None
    devices, asked = table.row_devices[row], request.numa
    if devices is None or not devices.cells:
        return None
    return NUMALimits(
        table.ratio_of(row, "VCPU"), table.ratio_of(row, "MEMORY_MB"), asked.networks, asked.physnets, asked.tunneled
    )
