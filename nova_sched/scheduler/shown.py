"""What a scheduler shows of itself: samples for its metrics, and why it is not ready. Any thread may ask: single
attributes are read, and nothing waits for the thread that owns the engine."""

from collections.abc import Iterator

from nova_sched.process.monitoring.families import Sample, counted, one_or_zero
from nova_sched.process.monitoring.followed import FollowedLog
from nova_sched.projection.reason import template_of
from nova_sched.projection.state import CELL0
from nova_sched.scheduler.readiness import Readiness, readiness
from rpc_api import errors

#: Kind of fault -> its name among the engine's counts.
FAULTS = {"scheduler": "faults", "plugin": "plugin_faults", "claim": "claim_faults", "not_recorded": "unsaid"}
LOST = {"no_outcome": "lost", "log_lost_tail": "claims_lost_by_the_log"}


def followed_by(scheduler) -> Iterator[FollowedLog]:
    """The logs of a Scheduler as they are now."""
    engine = scheduler.engine
    for cell, log in scheduler.logs.items():
        projection, states = engine.world.projections[cell], engine.states
        fault = scheduler.faults.get(cell)
        why_not = fault
        if why_not is None and states.is_behind(cell):
            why_not = states.beginning_is_lost(cell) or f"the log of {cell} is being read"
        yield FollowedLog(
            log,
            projection,
            None if fault is None else str(fault),
            None if why_not is None else str(why_not),
            states.behind_since(cell),
            scheduler.keeping.keeper if cell == CELL0 else None,
        )


def samples_of(scheduler) -> Iterator[Sample]:
    """The samples of a Scheduler beside those of its logs."""
    engine, measures = scheduler.engine, scheduler.engine.measures
    counts = engine.counts
    prefix = "nova_sched_scheduler"
    yield from counted(f"{prefix}_requests_total", measures.requests.items())
    yield Sample(f"{prefix}_request_duration_seconds", measures.duration)
    for step, durations in measures.steps.items():
        yield Sample(f"{prefix}_step_duration_seconds", durations, (step,))
    yield Sample(f"{prefix}_requests_in_flight", len(engine.open_asks()))
    yield Sample(f"{prefix}_decisions_total", counts["decisions"])
    refused: dict[tuple[str, str], int] = {}
    for (name, code), hosts in list(measures.hosts_refused.items()):
        # As in docs/reference/filters.md.
        key = name, _template(code)
        refused[key] = refused.get(key, 0) + hosts
    for key, hosts in refused.items():
        yield Sample(f"{prefix}_hosts_refused_total", hosts, key)
    by_log = [(_template(code), claims) for code, claims in list(measures.claims_refused.items())]
    yield from counted(f"{prefix}_claims_refused_total", by_log)
    yield from counted(f"{prefix}_claims_lost_total", [(how, counts[name]) for how, name in LOST.items()])
    yield Sample(f"{prefix}_answers_not_delivered_total", counts["answers_not_delivered"])
    yield from counted(f"{prefix}_faults_total", [(kind, counts[name]) for kind, name in FAULTS.items()])
    yield Sample(f"{prefix}_policy_info", 1, (engine.policy.digest,))
    for cell in engine.cells:
        yield Sample(f"{prefix}_claims_in_flight", engine.claims.under_way_count(cell), (cell,))
        yield Sample(f"{prefix}_cell_open", one_or_zero(not engine.world.table.cell_closed.get(cell)), (cell,))


def _template(code: str) -> str:
    try:
        return template_of(code)
    except ValueError:
        return code  # the text of a class of the deployment, with a brace in it


def why_not_ready(scheduler) -> list[str]:
    """A sentence for each reason why a Scheduler cannot answer requests now. A cell that is closed is not one, unless
    all are."""
    states = scheduler.engine.states
    try:
        found = readiness(states, scheduler.faults, len(scheduler.engine.cells), scheduler.store is not None)
    except errors.NovaSchedError as fault:
        return [str(fault)]
    closed = scheduler.engine.world.table.cell_closed
    needed = [CELL0] if closed.get(CELL0) else [cell for cell in scheduler.engine.cells if closed.get(cell)]
    if found is Readiness.READY and (CELL0 not in needed and len(needed) < len(scheduler.engine.cells)):
        return []
    return [f"cell {cell} is closed: {_why_closed(scheduler, cell)}" for cell in needed] or [
        f"the logs are not ready: the scheduler {found.value}"
    ]


def _why_closed(scheduler, cell):
    states = scheduler.engine.states
    fault = scheduler.faults.get(cell) or states.beginning_is_lost(cell) or states.why(cell)
    return str(fault) if fault is not None else "its log is being read"
