"""A cell whose broker, with its log and its message queue, is killed: the other cell does not notice."""

import itertools
import re
import time

import pytest

from tests.conftest import running
from tests.faults.load import CELL0, HANG_SECONDS, SELECTED, Cloud, Load, audit
from tests.servers import RabbitServer, wait_until

pytestmark = [pytest.mark.rabbit, pytest.mark.long, pytest.mark.timeout(600)]

CELLS = HEALTHY, DOWN = "cell1", "cell2"
SCHEDULERS = ("scheduler-1", "scheduler-2")
CELL_DOWN_AFTER = 3


@pytest.fixture
def brokers():
    """One of the API level, and one of each cell."""

    def nodes():
        yield from running(RabbitServer)

    opened = {name: nodes() for name in (CELL0, *CELLS)}
    try:
        yield {name: next(one) for name, one in opened.items()}
    finally:
        for one in opened.values():
            one.close()


def of_cell(report: str, cell: str) -> dict[str, str]:
    """What a scheduler's report says of the log of a cell."""
    said = re.search(rf"^{cell} = *\n((?:  .*\n?)*)", report, re.MULTILINE).group(1)
    return dict(re.findall(r"^ +([\w ]+) = (.*)$", said, re.MULTILINE))


def rates(requests, moments):
    """Answers a second between each two moments."""
    answered = [request.answered_at for request in requests]
    return [sum(first <= at < last for at in answered) / (last - first) for first, last in itertools.pairwise(moments)]


@pytest.mark.parametrize("builds", [False, True], ids=["selections", "builds"])
def test_the_broker_of_a_cell_is_killed(tmp_path, brokers, builds):
    with (
        Cloud(
            tmp_path,
            brokers[CELL0].url(),
            lambda name: brokers[name].url(name),
            cells=CELLS,
            vcpus=1024,
            api_conductors=int(builds),
            cell_transport_urls={name: brokers[name].url() for name in CELLS},
            scheduler={"cell_down_after": CELL_DOWN_AFTER},
            conductor={"claim_ttl": 1200},
            DEFAULT={"rpc_response_timeout": 10},
        ) as cloud,
        Load(cloud, in_flight_max=400, builds=builds) as load,
    ):
        load.wait_selected(600)
        with load.fault():
            killed = time.monotonic()
            brokers[DOWN].kill()
            for name in SCHEDULERS:
                cloud.running[name].wait_for(f"cell {DOWN} is closed")
            closed = time.monotonic()
            load.wait_selected(600)
            reports = {name: cloud.running[name].guru_report() for name in SCHEDULERS}
            for report in reports.values():
                assert re.search(rf"^closed cells = {DOWN}$", report, re.MULTILINE)
            known = {name: int(of_cell(report, DOWN)["consumers"]) for name, report in reports.items()}
            restarting = time.monotonic()
            brokers[DOWN].start()
            restarted = time.monotonic()
            for name in SCHEDULERS:
                cloud.running[name].wait_for(f"cell {DOWN} is open again")
            opened = time.monotonic()
            used = wait_until(
                lambda: next(
                    (
                        request.answered_at
                        for request in list(load.requests)
                        if request.outcome == SELECTED and cell_of(request) == DOWN and request.asked_at > opened
                    ),
                    None,
                ),
                HANG_SECONDS,
                f"nothing goes to {DOWN} again",
            )
        load.wait_selected(600)
        load.stop()
        findings = audit(cloud, load)
        print(findings.row(f"the broker of one of two cells (log and queue) is killed{', builds' if builds else ''}"))
        selected = [request for request in load.requests if request.outcome == SELECTED]
        moments = (load.started_at, killed, closed, restarting, opened, load.stopped_at)
        for cell in CELLS:
            there = [one for one in selected if cell_of(one) == cell]
            shown = ", ".join(f"{rate:.1f}" for rate in rates(there, moments))
            print(f"{cell}: {shown} answers/s before, until closed, while it was down, while it came back, after")
        print(
            f"closed {closed - killed:.1f} s after the kill (cell_down_after {CELL_DOWN_AFTER} s), open again "
            f"{opened - restarted:.1f} s after the broker was back, used {used - restarted:.1f} s after that; "
            f"last known instances: {known}"
        )
        assert findings.wrong() == []
        assert all(known.values()), "its instances stay listed as last known"
        late = [one for one in selected if cell_of(one) == DOWN and closed + 1 < one.asked_at < restarting]
        assert not late, f"{len(late)} requests were answered with {DOWN} while it was down"
        assert not [
            request
            for request in load.requests
            if request.outcome != SELECTED and closed + 1 < request.asked_at < restarting
        ]


def cell_of(request) -> str:
    """The cell of a selected host, by its name."""
    return re.search(r"cell\d", request.host).group()
