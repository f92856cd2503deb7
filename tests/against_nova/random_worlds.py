"""What the random comparisons with the real Placement share. Each is a module that the peer's own Python runs: it makes
worlds from a seed on, compares the answers, and prints its counts."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(world, seed, compared, count=None, seconds=None):
    """Worlds from a seed on, until ``count`` of what is compared was compared, or for some seconds.

    ``world(seed, counts)`` makes one and counts; ``compared`` names what it counts. Returns the counts, with the seed
    at which the next run would start.
    """
    counts, began = Counter(), time.monotonic()
    while (count is None or sum(counts[name] for name in compared) < count) and (
        seconds is None or time.monotonic() - began < seconds
    ):
        world(seed, counts)
        seed += 1
        print(f"next seed {seed}: {', '.join(f'{counts[name]} {name}' for name in compared)}", file=sys.stderr)
    counts["next seed"], counts["seconds"] = seed, round(time.monotonic() - began)
    return counts


def counts_of(module, *arguments, timeout=290):
    """What a run of a module, in the peer's own Python, prints last; it must not find a difference."""
    from tests.against_nova.conftest import peer_python  # The peer's own Python has no pytest.

    done = subprocess.run(
        [peer_python("placement, numpy"), "-W", "ignore", "-m", f"tests.against_nova.{module}", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return json.loads(done.stdout.splitlines()[-1])
