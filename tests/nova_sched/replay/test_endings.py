"""How a request ended that failed because of the infrastructure: never as "no valid host"."""

import pytest

from nova_sched.replay.decisions import endings, story
from nova_sched.replay.decisions.recorded import find
from nova_sched.replay.statistics.totals import Stats
from rpc_api import events
from rpc_api.errors import NovaSchedError
from tests.builders import EPOCH, claim, consumer_put, decision, of, put, request, uuid_of
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
    steps = story.steps_of(source.logs, uuid_of("vm"))
    claims = [step for step in steps if step.name == "ClaimProposed"]
    fates = {step.data.claim_uuid: story.ClaimFate(step, story.ACCEPTED, None, []) for step in claims}
    return endings.ending(find(source, uuid_of("vm")), steps, fates)


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


# --- hosts of Nova ---------------------------------------------------------------------------------------------------


def tracked(host, *names, gone=()):
    """What the tap says of the instances of a host."""
    came = tuple(events.TrackedInstance(uuid_of(name), {}) for name in names)
    return events.InstancesTracked(host, came, tuple(map(uuid_of, gone)))


def chosen(host, attempt=""):
    """A claim, and the decision for it."""
    proposed = claim("vm", host, attempt=attempt)
    return proposed, decision("vm", host)._replace(claim_uuid=proposed.claim_uuid)


DROPPED = events.AllocationsDropped(uuid_of("vm"), "req-delete", None)
MOVED = put(consumer_put("vm", generation=1), consumer_put("migration", of("h1", 1)))
RUNS = (*chosen("h1"), tracked("h1", "vm"))
MOVES = (*RUNS, MOVED, *chosen("h2", "second"))


@pytest.mark.parametrize(
    "said, code, text",
    [
        (chosen("h1"), "claimed", "claimed on h1, not started yet"),
        (RUNS, "on-host", "on h1, as its nova-compute reports"),
        ((*chosen("h1"), tracked("h1", "other")), "claimed", "claimed on h1, not started yet"),
        # The build failed on h1, and went to the alternate h2.
        ((*RUNS, tracked("h1", gone=["vm"]), tracked("h2", "vm")), "on-host", "on h2, as"),
        # Deleted, shelved, or given up: nova-compute and Placement's API say it in either order.
        ((*RUNS, tracked("h1", gone=["vm"]), DROPPED), "given-back", "was on h1; its"),
        ((*RUNS, DROPPED, tracked("h1", gone=["vm"])), "given-back", "with req-delete"),
        ((*chosen("h1"), DROPPED), "given-back", "its resources were given back with req-delete"),
        # A move: it is still on the old host; then it is on both; then it is gone from the old one.
        (MOVES, "claimed", "claimed on h2, not started yet"),
        ((*MOVES, tracked("h2", "vm")), "on-host", "on h2, as"),
        ((*MOVES, tracked("h2", "vm"), tracked("h1", gone=["vm"])), "on-host", "on h2, as"),
        # A resize on its host, of which nova-compute reports nothing new.
        ((*RUNS, MOVED, *chosen("h1", "second")), "on-host", "on h1, as"),
    ],
)
def test_an_instance_on_a_host_of_nova(said, code, text):
    ending = ending_of(events.LevelPinned(3), *said)
    assert ending.code == code and text in ending.text
