"""Our allocation candidates and lists of providers beside those of the real Placement.

Random queries to random trees get equal answers (``candidates_together.py``). More of them:
``python -m tests.against_nova.candidates_together``.
"""

import pytest

from tests.against_nova.random_worlds import counts_of

pytestmark = pytest.mark.nova

#: Seconds of a run, its first seed, and the least number of queries: a tenth of what an idle machine does.
RUNS = [
    pytest.param(12, 1, 120, id="12 seconds"),
    pytest.param(180, 1_000_000, 1_500, id="3 minutes", marks=pytest.mark.long),
]


@pytest.mark.parametrize("seconds, seed, least", RUNS)
def test_answers_are_those_of_placement(seconds, seed, least):
    counts = counts_of("candidates_together", "--seed", str(seed), "--seconds", str(seconds))
    assert counts["queries"] >= least, counts
    shares = {"found": 10, "several": 20, "candidates": 4, "providers": 4}
    assert all(counts[name] > least // part for name, part in shares.items()), counts
    assert counts["/allocation_candidates 400"] and counts["limited"], counts


def test_the_named_exceptions_are_there():
    """The amounts of each candidate on both sides. A case that is equal one day is no exception any more."""
    assert counts_of("candidates_together", "--cases") == {
        "A: an unsuffixed group on a sharing provider beside a granular group": {
            "Placement": [[1, 1]],
            "we": [[1, 1], [1, 1]],
        },
        "B: amounts with group_policy=isolate": {
            "Placement": [[1, 2], [1, 2], [2], [2]],
            "we": [[1, 1], [1, 1], [2], [2]],
        },
        "C: a sharing provider with a parent": {"Placement": "KeyError", "we": [[1, 1]]},
        "D: use with optimize_for_wide_provider_trees": {"Placement": [[4]], "we": []},
    }
