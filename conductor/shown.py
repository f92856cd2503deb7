"""What conductors show of themselves: the facts of a report, samples for their metrics, and why they are not ready. Any
thread may ask, and only a report waits for the lock."""

from collections.abc import Iterator

from conductor.tap.decode import UNREAD_CODES
from conductor.tap.tap import Tap
from nova_sched.process.log_state import READ
from nova_sched.process.monitoring.families import Sample, counted, one_or_zero
from nova_sched.process.monitoring.followed import FollowedLog
from nova_sched.process.report import log_facts, projection_facts
from rpc_api.bus.copy_reader import READING, STANDBY


def facts_of_cell(conductor) -> dict:
    """The facts of a CellConductor for the report of its process."""
    with conductor.lock:
        facts = {
            "builds in flight": len(conductor.engine.building),
            **projection_facts(conductor.projection),
            **conductor.tap.facts(),
        }
    return {
        "name": conductor.name,
        "cell": conductor.cell,
        "fault": str(conductor.fault or conductor.log.fault or "none"),
        **facts,
        **log_facts(conductor.log, facts["position"]),
    }


def samples_of_api(conductor) -> Iterator[Sample]:
    """The samples of an ApiConductor."""
    yield Sample("nova_sched_conductor_requests_in_flight", conductor.in_flight)
    for peer, since in conductor.silent.items():
        yield Sample("nova_sched_conductor_peer_answers", one_or_zero(since is None), (peer,))


def samples_of_cell(conductor) -> Iterator[Sample]:
    """The samples of a CellConductor beside those of its log."""
    yield Sample("nova_sched_conductor_builds_in_flight", len(conductor.engine.building), (conductor.cell,))
    if isinstance(conductor.tap, Tap):
        yield from samples_of_tap(conductor.cell, conductor.tap)


def samples_of_tap(cell: str, tap) -> Iterator[Sample]:
    """The samples of the Tap of a cell."""
    prefix = "nova_sched_tap"
    yield Sample(f"{prefix}_reading", one_or_zero(tap.state == READING), (cell,))
    yield Sample(f"{prefix}_standby", one_or_zero(tap.state == STANDBY), (cell,))
    yield from counted(f"{prefix}_messages_total", [("used", tap.used), ("ignored", tap.ignored)], cell)
    yield from counted(f"{prefix}_messages_unread_total", [(code, tap.unread[code]) for code in UNREAD_CODES], cell)
    yield Sample(f"{prefix}_losses_total", tap.drops, (cell,))
    yield Sample(f"{prefix}_unsure_hosts", len(tap.model.unsure), (cell,))


def followed_by(conductor) -> FollowedLog:
    """The log of a CellConductor as it is now."""
    state, engine = conductor.engine.log_state, conductor.engine
    why_down = state.why if state.is_down(READ) else None
    why_not = why_down
    if why_not is None and state.is_behind:
        why_not = str(engine.beginning_is_lost or f"the log of {conductor.cell} is being read")
    return FollowedLog(
        conductor.log, engine.projection, why_down, why_not, conductor.backlog.since, conductor.keeping.keeper
    )


def why_cell_not_ready(conductor) -> list[str]:
    """A sentence for each reason why a CellConductor cannot build and watch now."""
    return [why for why in (followed_by(conductor).why_not_current, conductor.log.fault) if why is not None]
