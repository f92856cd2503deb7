"""How a request ended that failed because of the infrastructure: never as "no valid host"."""

import pytest

from nova_sched.replay.decisions import story
from nova_sched.replay.decisions.recorded import find
from nova_sched.replay.statistics.totals import Stats
from rpc_api import events
from rpc_api.errors import NovaSchedError
from tests.builders import EPOCH, decision, request, uuid_of
from tests.nova_sched.replay.logs import Written, records_of

REFUSED = events.RequestRefused("req-vm", (uuid_of("vm"),), "claims of req-vm in cell1 were not read back within 30 s")


class Source:
    def __init__(self, *logs):
        self.logs = {f"cell{number}": one.log for number, one in enumerate(logs)}


def no_host(*cells, refusals=(), target=None):
    """A DecisionMade that found no host; ``cells`` are (name, position, closed)."""
    positions = tuple(
        events.CellPosition(name, EPOCH, position, 0, 0, closed)
        for name, position, closed in (("cell0", 1, False), *cells)
    )
    asked = request(request_id="req-vm", target_cell=target)
    return decision("vm", cells=positions, refusals=refusals, asked=asked)


def ending_of(*said):
    source = Source(Written(*said, cell="cell0"))
    return story.ending(find(source, uuid_of("vm")), story.steps_of(source.logs, uuid_of("vm")), {})


FULL, DOWN = ("RamFilter", "MEMORY_MB", 4), ("ComputeFilter", "cell unreachable", 4)
UP, CLOSED, NEVER_READ = ("cell1", 5, False), ("cell2", 5, True), ("cell2", -1, True)


@pytest.mark.parametrize(
    "cells, refusals, target, code",
    [
        ((UP,), (FULL,), None, "no-valid-host"),
        ((UP, CLOSED), (FULL, DOWN), None, "cells-unreachable"),
        ((UP, CLOSED), (FULL,), None, "no-valid-host"),
        ((UP, CLOSED), (FULL,), "cell2", "cells-unreachable"),
        ((UP, CLOSED), (FULL,), "cell1", "no-valid-host"),
        ((UP, NEVER_READ), (FULL,), None, "cells-unreachable"),
        ((CLOSED,), (FULL,), None, "cells-unreachable"),
    ],
)
def test_a_decision_that_could_not_look_at_a_cell(cells, refusals, target, code):
    made = no_host(*cells, refusals=refusals, target=target)
    ending = ending_of(made)
    assert ending.code == code and ("cell2 could not be reached" in ending.text) == (code == "cells-unreachable")
    stats = Stats()
    for position, record in records_of(Written(made, cell="cell0").log):
        stats.note("cell0", position, b"", record, ())
    assert (stats.all.refused, stats.unreachable) == (1, code == "cells-unreachable")


def test_a_request_that_failed_after_its_decision():
    for made in (decision("vm", "h1"), decision("vm")):
        assert ending_of(made, REFUSED) == ("refused", REFUSED.reason)


def test_a_refusal_of_an_earlier_request_says_nothing_of_a_later_one():
    assert ending_of(REFUSED, decision("vm")).code == "no-valid-host"
    other = REFUSED._replace(request_id="req-other")
    assert ending_of(decision("vm"), other).code == "no-valid-host"


@pytest.mark.parametrize("key", [uuid_of("vm"), uuid_of("vm")[:8]])
def test_a_request_of_which_no_decision_was_made_is_told_of_with_its_reason(key):
    with pytest.raises(NovaSchedError, match=r"no decision was made .*: it was refused \(cell0 1\): claims of req-vm"):
        find(Source(Written(REFUSED, cell="cell0")), key)


def test_a_record_with_evidence_that_cannot_be_read_is_no_valid_host():
    assert ending_of(decision("vm")._replace(evidence=b"\x00")) == ("no-valid-host", "no valid host")
