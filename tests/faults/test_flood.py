"""One agent that reports flat out into the log of a cell: the other cell does not notice, and the producer is named."""

import multiprocessing
import time

import pytest

from bench.flood import flooding_process
from tests.conftest import running
from tests.faults.load import HANG_SECONDS, SELECTED, Cloud, Load
from tests.servers import RabbitServer, wait_until

pytestmark = [pytest.mark.rabbit, pytest.mark.long, pytest.mark.timeout(900)]

CELLS = HEALTHY, FLOODED = "cell1", "cell2"
SERVICES = ("scheduler-1", f"conductor-1.{FLOODED}")
SECONDS = 10.0
#: Reports in a second, each with another inventory than the one before: more than a service folds.
RATE = 25_000.0
#: Growth of a service's memory while it is flooded.
MEMORY_MB = 64


@pytest.fixture
def rabbit():
    yield from running(RabbitServer)


def memory_mb(process) -> float:
    """Resident memory of a service."""
    with open(f"/proc/{process.process.pid}/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def test_an_agent_reports_flat_out(tmp_path, rabbit):
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    flood = spawn.Process(target=flooding_process, args=(rabbit.url(FLOODED), RATE, theirs), daemon=True)
    with (
        Cloud(tmp_path, rabbit.url(), rabbit.url, cells=CELLS, schedulers=1, vcpus=1024, hosts=5) as cloud,
        Load(cloud, rate=20.0) as load,
    ):
        flood.start()
        theirs.close()  # so that a flood that dies ends the test
        assert ours.recv() == "ready"
        load.wait_selected(200)
        before = {name: memory_mb(cloud.running[name]) for name in SERVICES}
        began, most = time.monotonic(), dict(before)
        ours.send("begin")
        for name in SERVICES:
            cloud.running[name].wait_for(r"grows faster than it is folded: compute_agent/flat-out \(account nova\)")
        named = time.monotonic()

        def has_lasted():
            most.update({name: max(most[name], memory_mb(cloud.running[name])) for name in SERVICES})
            return time.monotonic() >= began + SECONDS

        wait_until(has_lasted, 2 * SECONDS, "the flood has not lasted long enough")
        ours.send("end")
        reports, seconds = ours.recv()
        ended = time.monotonic()
        cloud.running["scheduler-1"].wait_for(f"cell {FLOODED} is open again")
        opened = time.monotonic()
        wait_until(
            lambda: [one for one in list(load.requests) if one.asked_at > opened and one.cell == FLOODED],
            HANG_SECONDS,
            f"nothing goes to {FLOODED} again",
        )
        load.stop()
        states = cloud.wait_folded()
        lost = [line for line in cloud.said(r" lost: ") if "flat-out" not in line]
    rates = [
        sum(first <= one.answered_at < last for one in load.requests) / (last - first)
        for first, last in ((load.started_at, began), (began, ended))
    ]
    print(
        f"{reports / seconds:,.0f} reports/s for {seconds:.0f} s: {rates[0]:.1f} answers/s before, "
        f"{rates[1]:.1f} during; "
        f"named after {named - began:.1f} s, open again {opened - ended:.1f} s after the end; "
        f"memory in MB before {before}, at most {most}"
    )
    assert {request.outcome for request in load.requests} == {SELECTED}
    assert not [one for one in load.requests if named + 1 < one.asked_at < ended and one.cell == FLOODED]
    assert all(most[name] - before[name] <= MEMORY_MB for name in SERVICES), (before, most)
    assert not lost, "the beats of the other hosts were handled in time"
    assert len({state for (_, cell), state in states.items() if cell == FLOODED}) == 1
