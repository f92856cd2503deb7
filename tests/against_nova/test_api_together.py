"""Our Placement API beside the real Placement: random sequences of writes and reads get equal answers and lead to equal
states (``api_together.py``). More of them: ``python -m tests.against_nova.api_together``."""

import pytest

from tests.against_nova.random_worlds import counts_of

pytestmark = pytest.mark.nova

#: What ends a run, its first seed, and the least number of writes: a tenth of what an idle machine does.
RUNS = [
    pytest.param(("--seconds", "12"), 1, 60, id="12 seconds"),
    pytest.param(("--seconds", "180"), 1_000_000, 900, id="3 minutes", marks=pytest.mark.long),
    pytest.param(("--count", "2000", "--http"), 2_000_000, 2000, id="over HTTP", marks=pytest.mark.long),
]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("until, seed, least", RUNS)
def test_answers_and_states_are_those_of_placement(until, seed, least):
    counts = counts_of("api_together", "--seed", str(seed), *until, timeout=890)
    assert counts["writes"] >= least and counts["states"] and counts["reads"], counts
    assert counts["AllocationsPut 204"] and counts["AllocationsPut 409"] and counts["read 200"], counts
