"""Our ledger beside the real Placement: random writes of several clients come to equal outcomes and equal states, and
queries to equal answers (``ledger_together.py``)."""

import pytest

from tests.against_nova.ledger_answers import REFUSALS
from tests.against_nova.random_worlds import counts_of

pytestmark = pytest.mark.nova

#: Seconds of a run, its first seed, and the least number of writes and queries: a tenth of what an idle machine does.
RUNS = [
    pytest.param(15, 1, 300, id="15 seconds"),
    pytest.param(180, 1_000_000, 4_000, id="3 minutes", marks=pytest.mark.long),
]
#: The part of the outcomes that must occur in a long run: some are rare.
SHOWN = 0.9


@pytest.mark.parametrize("seconds, seed, least", RUNS)
def test_outcomes_states_and_answers_are_those_of_placement(seconds, seed, least):
    counts = counts_of("ledger_together", "--seed", str(seed), "--seconds", str(seconds))
    assert counts["writes"] + counts["queries"] >= least, counts
    assert counts["states"] and counts["snapshots"] and counts["defect E"] and counts["defect F"], counts
    outcomes = [f"{kind}: {code.name}" for kind, refusals in REFUSALS.items() for code in refusals]
    outcomes += [f"{kind}: accepted" for kind in REFUSALS]
    missing = [outcome for outcome in outcomes if outcome not in counts]
    assert least < 1000 or len(missing) <= (1 - SHOWN) * len(outcomes), missing


def test_the_named_exceptions_are_there():
    """Placement's status and our outcome of each write. A case that is equal one day is no exception any more."""
    assert counts_of("ledger_together", "--cases") == {
        "E: nothing for a new consumer": [[200, "accepted"], [200, "accepted"], [204, "accepted"], [409, "accepted"]],
        "F: an unknown provider for a new consumer": [
            [400, "UNKNOWN_PROVIDER"],
            [200, "accepted"],
            [200, "accepted"],
            [409, "accepted"],
        ],
        "F: the same in a write of several consumers": [
            [400, "UNKNOWN_PROVIDER"],
            [200, "accepted"],
            [200, "accepted"],
            [409, "accepted"],
        ],
        "G: a capacity below 0": [[200, "accepted"], [400, "set aside"], [204, "set aside"]],
        "a host under another provider": [[200, "accepted"], [200, "accepted"], [200, "IS_HOST"]],
    }
