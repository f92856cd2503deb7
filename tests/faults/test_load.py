"""The audit sees what it looks for: in a log and in answers that were made wrong on purpose."""

import itertools
import re
from types import SimpleNamespace

import pytest

from nova_sched.projection.digest import state_digest
from rpc_api import codec
from rpc_api.log import open_log
from tests import builders
from tests.builders import Voice, uuid_of
from tests.faults.load import CELL0, SELECTED, Request, audit, states_of

_numbers = itertools.count()


@pytest.fixture
def site():
    """(a Cloud, a Load) as the audit sees them: two instances were selected and claimed; the last claim expired."""
    number = next(_numbers)
    logs = {name: f"memory://audit{number}-{name}" for name in (CELL0, "cell1")}
    cell = builders.Cell(
        builders.report("h1"),
        builders.claim("a", "h1"),
        builders.claim("b", "h1"),
        builders.claim("c", "h1"),
        builders.expired("c"),
    )
    with open_log(logs[CELL0]), open_log(logs["cell1"]) as log:
        for _, record in cell.records:
            log.append([codec.encode_record(record.epoch, record.events)])
        cloud = SimpleNamespace(
            logs=logs,
            wait_folded=lambda: {("scheduler", "cell1"): (cell.projection.position, state_digest(cell.projection))},
        )
        requests = [
            Request(
                uuid_of(name),
                answered_at - 1,
                answered_at,
                SELECTED,
                "",
                "cell1",
                "h1",
                uuid_of(f"claim of {name}"),
                position,
            )
            for name, answered_at, position in (("a", 1.0, 1), ("b", 6.0, 2))
        ]
        load = SimpleNamespace(started_at=0.0, stopped_at=10.0, faulty=(2.0, 4.0), held_back=0, requests=requests)
        yield cloud, load


def test_what_is_sound(site):
    findings = audit(*site)
    assert findings.wrong() == []
    assert (findings.selected, findings.orphans, findings.errors) == (2, 1, {})
    assert (findings.longest_gap_seconds, findings.recovery_seconds) == (5.0, 2.0)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"position": 3}, "1 lost.* at 3 of cell1, accepted at .2."),
        ({"claim_uuid": uuid_of("nobody's")}, "1 lost.*accepted at no position"),
    ],
)
def test_an_answer_that_the_log_does_not_bear_out_is_a_loss(site, changes, said):
    cloud, load = site
    load.requests[1] = load.requests[1]._replace(**changes)
    (wrong,) = audit(cloud, load).wrong()
    assert re.search(said, wrong)


@pytest.mark.parametrize(
    "host, ended, said",
    [
        ("h1", False, ""),
        ("h2", False, "1 lost.*was reported as built on h2, and started on .'h1'.*"),
        (None, True, ""),
        (None, False, "1 double_bookings.*is started on h2 and runs on h1.*"),
    ],
)
def test_an_instance_that_was_built(site, host, ended, said):
    """One that is answered with a host runs there, and one that ran elsewhere before had ended there."""
    cloud, load = site
    load.requests[:] = [Request(uuid_of("a"), 1.0, 2.0, SELECTED, host=host or "h2")]
    with open_log(cloud.logs["cell1"]) as log:
        for event in [
            builders.started("a", "h1"),
            *([] if host else [*([builders.deleted("a", "h1")] if ended else []), builders.started("a", "h2")]),
        ]:
            log.append([builders.record_of(Voice(f"compute_agent/{event.host}").say(event))])
    assert re.fullmatch(said, "".join(audit(cloud, load).wrong()))


def test_a_process_with_another_state_has_diverged(site):
    cloud, load = site
    cloud.wait_folded = lambda: {("scheduler", "cell1"): (4, "0" * 32)}
    (wrong,) = audit(cloud, load).wrong()
    assert re.search("1 diverged.*scheduler has 0{32} of cell1 at 4, a fresh fold has", wrong)


def test_an_instance_that_is_held_in_two_cells_is_booked_twice(site):
    cloud, load = site
    cloud.logs["cell2"] = cloud.logs["cell1"]
    (wrong,) = audit(cloud, load).wrong()
    assert re.search("2 double_bookings.* is held in 2 cells", wrong)


@pytest.mark.parametrize(
    "cells, report",
    [
        (("cell1",), "cell = cell1\ncounts = \n  x = 1\ndigest = ab\nepoch = e\nposition = 7\n"),
        (
            ("cell0", "cell1"),
            "cell0 = \n  digest = cd\n  position = -1\ncell1 = \n  counts = \n    x = 1\n  digest = ab\n"
            "  last = 9\n  position = 7\nclaims in flight = \n  cell1 = 0\n",
        ),
    ],
)
def test_states_are_read_from_a_report(cells, report):
    assert states_of(report, cells)["cell1"] == (7, "ab")
