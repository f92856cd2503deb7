"""Whole chains, from all hosts to a ranking, against nova's own on random clouds, requests and sets of options."""

import random

import pytest

from nova_sched import filters
from nova_sched.weighers import BUILT_IN
from tests.against_nova.worlds import compared, random_options, random_world, smallest

pytestmark = pytest.mark.nova

SEED = 32
WORLDS = 225
QUESTIONS = 46
HOSTS = 8
REQUESTS = 23
WEIGHERS = tuple(name for name in BUILT_IN if name != "AffinityRoomWeigher")


def random_question(rng, known):
    """A question with some filters and weighers enabled, in some order."""
    used = rng.sample(WEIGHERS, rng.choice((1, 3, len(WEIGHERS), len(WEIGHERS))))
    enabled = rng.sample(known, rng.choice((0, 2, len(known), len(known))))
    # Ours run these in any case: see docs/differences.
    enabled += [name for name in filters.OF_GROUPS if name not in enabled]
    return {
        "hosts": [f"h{number}" for number in range(HOSTS)],
        "request": rng.randrange(REQUESTS),
        "filters": enabled,
        "weighers": used,
        "options": random_options(rng, used, enabled),
    }


def test_chains_are_novas(nova_chain):
    rng = random.Random(SEED)
    known = sorted(set(nova_chain.ask("names")["answer"]["filters"]) & set(filters.BUILT_IN))
    cases, fallen, passed, moved, missed = 0, {}, {}, 0, 0
    for number in range(WORLDS):
        world = random_world(rng, HOSTS, REQUESTS, whole=True)
        questions = [random_question(rng, known) for _ in range(QUESTIONS)]
        for question, novas, ours, difference in compared(nova_chain, world, questions):
            assert difference is None, (
                f"seed {SEED}",
                number,
                difference,
                smallest(nova_chain, world, question, difference),
            )
            if novas and isinstance(novas[0], str):
                fallen[novas[0]] = fallen.get(novas[0], 0) + 1
                missed += ours is None
            else:
                cases += 1
                passed[len(novas)] = passed.get(len(novas), 0) + 1
                moved += len({score for _, score in novas}) > 1
    assert cases >= 10_000 and set(fallen) <= {"ComputeHostMetricNotFound"}, (cases, fallen)
    assert all(passed.get(count, 0) > 100 for count in range(HOSTS + 1)) and moved > 2_000, (passed, moved)
