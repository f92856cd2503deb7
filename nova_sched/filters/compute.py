"""ComputeFilter and ComputeStatusFilter: refuse hosts that take no instances now."""

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.explanation import Finding
from nova_sched.projection.ledger import COMPUTE_STATUS_DISABLED
from nova_sched.projection.reason import Reason

CELL_UNREACHABLE = Reason("cell unreachable")
DISABLED = Reason("disabled")
DOWN = Reason("down")


class ComputeFilter(Filter):
    """A host is refused while its service is disabled, forced down or lost, or while its cell is closed.

    How long a host may be silent is ``service_down_time`` of the conductor.
    """

    name = "ComputeFilter"
    reasons = {
        CELL_UNREACHABLE.code: "the log of the host's cell cannot be read or written by the scheduler",
        DISABLED.code: "the compute service of the host is disabled",
        DOWN.code: "the host is lost or forced down",
    }
    follows_use = False

    def refusals(self, hosts, request, policy, scope):
        closed = hosts.table.cell_closed
        if any(closed.values()):
            cells = hosts.table.cells
            yield Refusal(CELL_UNREACHABLE, hosts.by_value("cell", lambda cell: bool(closed.get(cells.values[cell]))))
        yield Refusal(DISABLED, hosts.column("disabled"))
        yield Refusal(DOWN, hosts.column("down"))

    def explain(self, look, reason):
        return _of_service(look, reason)


class ComputeStatusFilter(Filter):
    """Refuse a host whose service is disabled, or whose provider has the trait COMPUTE_STATUS_DISABLED.

    This filter also runs if the request names the host by force; the ComputeFilter does not."""

    name = "ComputeStatusFilter"
    reasons = {DISABLED.code: "the compute service is disabled, or the provider has COMPUTE_STATUS_DISABLED"}
    follows_use = False

    def refusals(self, hosts, request, policy, scope):
        yield Refusal(DISABLED, hosts.column("disabled") | hosts.table.has_trait(COMPUTE_STATUS_DISABLED, hosts.index))

    def explain(self, look, reason):
        return _of_service(look, reason)


def _of_service(look, reason):
    """Disabled, down, or in a cell that could not be read."""
    status, lost = look.facts.status, look.facts.lost
    by_operator = look.facts.disabled_for
    values = {
        "disabled": status.disabled,
        "disabled_reason": status.disabled_reason,
        "disabled_by_operator": by_operator,
        "forced_down": status.forced_down,
        "lost": lost,
        "cell_closed": bool(look.table.cell_closed.get(look.cell)),
    }
    if reason == CELL_UNREACHABLE:
        return Finding(f"the log of {look.cell} could not be read by the scheduler then", values)
    if reason == DISABLED:
        if by_operator is not None:
            text = "disabled by an operator" + (f": {by_operator}" if by_operator else "")
            return Finding(text, values, lambda traces: traces.since(_is_switched_off(look.host), "disabled"))
        if not status.disabled:
            return Finding(
                f"its provider has the trait {COMPUTE_STATUS_DISABLED}", values, lambda traces: traces.reported()
            )
        text = "service disabled" + (f": {status.disabled_reason}" if status.disabled_reason else "")
        return Finding(text, values, lambda traces: traces.since(_is_disabled(look.host), "disabled", b"HostReported"))
    if reason == DOWN:
        return Finding(
            "forced down" if status.forced_down else "unreachable",
            values,
            lambda traces: traces.since(_is_down(look.host), "forced down" if status.forced_down else "lost"),
        )
    return Finding("enabled and up", values)


def _is_disabled(host):
    return lambda event: (
        event.data.status.disabled if event.name == "HostReported" and event.data.host == host else None
    )


def _is_switched_off(host):
    return lambda event: (
        {"HostDisabled": True, "HostEnabled": False}.get(event.name)
        if getattr(event.data, "host", None) == host
        else None
    )


def _is_down(host):
    def holds(event):
        if getattr(event.data, "host", None) != host:
            return None
        return {"HostLost": True, "HostSeen": False}.get(
            event.name, event.data.status.forced_down if event.name == "HostReported" else None
        )

    return holds
