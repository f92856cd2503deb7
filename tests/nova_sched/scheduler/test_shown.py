"""Whether a scheduler is ready, and what it shows of its logs. The logs are real; one that is away has no broker."""

import itertools

import pytest

from nova_sched.process.monitoring.followed import Ends
from nova_sched.process.monitoring.followed import samples_of as samples_of_log
from nova_sched.projection.projection import Projection
from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
from nova_sched.scheduler.shown import followed_by, samples_of, why_not_ready
from nova_sched.selection.policy import Policy
from rpc_api.log import open_log
from tests.builders import HandClock, Voice, record_of, report, uuid_of
from tests.placement_api.test_cell_down import nowhere
from tests.servers import wait_until

SECONDS_MAX = 30.0
_NUMBERS = itertools.count()


def started(**logs):
    """A Scheduler over logs: cell -> URL, or None for one in memory."""
    number = next(_NUMBERS)
    urls = {cell: url or f"memory://shown-{number}-{cell}" for cell, url in logs.items()}
    cells = [Cell(cell, uuid_of(cell), url) for cell, url in urls.items() if cell != "cell0"]
    return Scheduler("shown", cell0_of(urls["cell0"]), cells, Policy()).start()


#: Logs (None: in memory, "away": without a broker) -> the beginnings of the reasons.
READY = [
    ({"cell0": None, "cell1": None}, []),
    ({"cell0": None, "cell1": None, "cell2": "away"}, []),
    ({"cell0": None, "cell1": "away"}, ["cell cell1 is closed: "]),
    ({"cell0": "away", "cell1": None}, ["cell cell0 is closed: "]),
    ({"cell0": None, "cell1": "away", "cell2": "away"}, ["cell cell1 is closed: ", "cell cell2 is closed: "]),
]


@pytest.mark.parametrize("logs, reasons", READY, ids=[str(row[0]) for row in READY])
def test_ready(logs, reasons):
    scheduler = started(**{cell: url and nowhere() for cell, url in logs.items()})
    try:
        away = {cell for cell, url in logs.items() if url}
        wait_until(lambda: away <= scheduler.faults.keys(), SECONDS_MAX, "the logs that are away are not missed")
        wait_until(
            lambda: not any(scheduler.engine.states.is_behind(cell) for cell in logs if cell not in away),
            SECONDS_MAX,
            "the other logs are not read",
        )
        found = why_not_ready(scheduler)
        assert len(found) == len(reasons) and all(map(str.startswith, found, reasons)), found
        for log in followed_by(scheduler):
            is_away = log.log.cell in away
            assert (log.why_unreadable is not None, log.why_not_current is not None) == (is_away, is_away)
        open_cells = {
            sample.labels[0]: sample.value
            for sample in samples_of(scheduler)
            if sample.family == "nova_sched_scheduler_cell_open"
        }
        assert open_cells == {cell: float(cell not in away) for cell in logs if cell != "cell0"}
    finally:
        scheduler.stop()


class StuckLog:
    """A log whose end a test sets."""

    cell, fault, appender, is_cut_by_policy = "cell1", None, None, False

    def __init__(self, log):
        self._log = log

    def bounds(self):
        return self._log.bounds()

    class checkpoints:
        newest = None


def test_how_far_a_log_is_behind():
    from nova_sched.process.monitoring.followed import FollowedLog

    log = open_log(f"memory://lag-{next(_NUMBERS)}")
    agent, clock = Voice("compute_agent/a"), HandClock()
    log.append([record_of(agent.say(report("a"))) for _ in range(5)])
    projection, followed = Projection("cell1"), []
    followed.append(FollowedLog(StuckLog(log), projection, None, None, clock.monotonic()))
    ends = Ends(lambda: followed, lambda: None, clock)

    def shown():
        return {sample.family: sample.value for sample in samples_of_log(followed[0], ends, clock)}

    assert "nova_sched_log_lag_records" not in shown(), "it is not known yet"
    ends.ask(followed[0])
    clock.seconds += 7.0
    found = shown()
    assert (found["nova_sched_log_lag_records"], found["nova_sched_log_lag_seconds"]) == (5, 7.0)
    projection.position = 4
    assert shown()["nova_sched_log_lag_records"] == 0
    clock.seconds += 60.0
    assert "nova_sched_log_lag_records" not in shown(), "the answer is too old"
