"""Our Placement API beside the real Placement: random sequences of writes and reads get equal answers and lead to equal
states (``api_together.py``). More of them: ``python -m tests.against_nova.api_together``."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.against_nova.conftest import peer_python

pytestmark = pytest.mark.nova

ROOT = Path(__file__).resolve().parents[2]
#: What ends a run, its first seed, and the least number of writes: a tenth of what an idle machine does.
RUNS = [
    pytest.param(("--seconds", "12"), 1, 60, id="12 seconds"),
    pytest.param(("--seconds", "180"), 1_000_000, 900, id="3 minutes", marks=pytest.mark.long),
    pytest.param(("--count", "2000", "--http"), 2_000_000, 2000, id="over HTTP", marks=pytest.mark.long),
]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("until, seed, least", RUNS)
def test_answers_and_states_are_those_of_placement(until, seed, least):
    done = subprocess.run(
        [
            *(peer_python("placement, numpy"), "-W", "ignore", "-m", "tests.against_nova.api_together"),
            *("--seed", str(seed), *until),
        ],
        capture_output=True,
        text=True,
        timeout=890,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["writes"] >= least and counts["states"] and counts["reads"], counts
    assert counts["AllocationsPut 204"] and counts["AllocationsPut 409"] and counts["read 200"], counts
