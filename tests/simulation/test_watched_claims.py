"""Logs at level 2 under faults: conductors crash and are cut off again and again, and every claim ends in time."""

import pytest

from conductor.watch import Watch
from nova_sched.playground.simulation.cloud import run
from nova_sched.playground.simulation.script import Faults, Stimulus, write

#: Seconds in which the logs are pinned, before anything else happens.
PINNING = 6.0


def pinned(seed, steps):
    """The outcome of a run in which the logs are pinned at first."""
    pins = [Stimulus(at, "pin", seed) for at in (4.0, 5.0)]
    after = [each._replace(at=each.at + PINNING) for each in write(seed, steps, Faults())]
    return run(seed, 0, Faults(), [*pins, *after])


@pytest.mark.parametrize("seed", range(12))
def test_every_claim_ends(seed):
    outcome = pinned(seed, 120)
    assert outcome.fault is None
    assert outcome.counts["claims accepted"]


def test_a_conductor_that_does_not_watch_is_caught(monkeypatch):
    monkeypatch.setattr(Watch, "due", lambda *arguments, **more: [])
    assert any("outlives its end" in (pinned(seed, 120).fault or "") for seed in range(12))


def test_time_that_is_not_in_snapshots_is_caught(monkeypatch):
    from nova_sched.projection import snapshot

    load = snapshot.load

    def forgetful(packed, table=None):
        projection = load(packed, table)
        projection.watched_ms = 0
        return projection

    monkeypatch.setattr(snapshot, "load", forgetful)
    assert any("another state" in (pinned(seed, 120).fault or "") for seed in range(12))
