"""A cloud of the real Placement is taken over while clients write, given back, and taken over again
(``migrated_together.py``). More of it: ``python -m tests.against_nova.migrated_together``."""

import pytest

from tests.against_nova.random_worlds import counts_of

pytestmark = pytest.mark.nova

#: What ends a run, the writes to our API and to the real Placement in each step, and the first seed.
RUNS = [
    pytest.param(("--count", "300"), (80, 60), 1, id="300 writes"),
    pytest.param(("--count", "1"), (10000, 500), 1_000_000, id="10000 writes on our side", marks=pytest.mark.long),
    pytest.param(("--seconds", "180"), (60, 60), 2_000_000, id="3 minutes", marks=pytest.mark.long),
]


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("until, writes, seed", RUNS)
def test_nothing_differs_after_each_step(until, writes, seed):
    sizes = ("--writes", str(writes[0]), "--there", str(writes[1]))
    counts = counts_of("migrated_together", "--seed", str(seed), *sizes, *until, timeout=2990)
    worlds = counts["next seed"] - seed
    assert worlds and (counts["import"], counts["export"], counts["states"]) == (5 * worlds, 2 * worlds, 5 * worlds)
    assert counts["here accepted"] and counts["there accepted"] and counts["here refused"], counts
