"""Refuse hosts that take no instances now."""

from nova_sched.filters.base import Filter, Refusal

CELL_UNREACHABLE = "cell unreachable"


class ComputeFilter(Filter):
    """A host is refused while its service is disabled, forced down or not heard of, or while its cell is closed.

    How long a host may be silent is ``service_down_time`` of the conductor.
    """

    name = "ComputeFilter"
    reasons = (CELL_UNREACHABLE, "disabled", "down")
    follows_use = False

    def refusals(self, hosts, request, policy, scope):
        closed = hosts.table.cell_closed
        if any(closed.values()):
            cells = hosts.table.cells
            yield Refusal(CELL_UNREACHABLE, hosts.by_value("cell", lambda cell: bool(closed.get(cells.values[cell]))))
        yield Refusal("disabled", hosts.column("disabled"))
        yield Refusal("down", hosts.column("down"))


class ComputeStatusFilter(Filter):
    """A host is refused while its service is disabled, or its provider has the trait COMPUTE_STATUS_DISABLED: also
    where the request names it by force, which passes over the ComputeFilter."""

    name = "ComputeStatusFilter"
    reasons = ("disabled",)
    follows_use = False

    def refusals(self, hosts, request, policy, scope):
        yield Refusal(
            "disabled", hosts.column("disabled") | hosts.table.has_trait("COMPUTE_STATUS_DISABLED", hosts.index)
        )
