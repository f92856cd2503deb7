"""Each weigher alone, and all of them together, against nova's own on random hosts, requests,
aggregates and options."""

import random

import pytest

from nova_sched.weighers import BUILT_IN
from tests.against_nova.worlds import compared, random_options, random_world, smallest

pytestmark = pytest.mark.nova

SEED = 31
WORLDS = 200
#: Questions about a world: for each weigher alone, and for all together.
QUESTIONS = 51
HOSTS = 8
REQUESTS = 8
NOVAS = tuple(name for name in BUILT_IN if name != "AffinityRoomWeigher")
ALL = "all"


def questions_of(rng, name):
    """Questions that let one weigher, or all, weigh some of the hosts."""
    used = NOVAS if name == ALL else (name,)
    return [
        {
            "hosts": rng.sample([f"h{number}" for number in range(HOSTS)], rng.choice((1, 2, 4, 7, HOSTS))),
            "request": rng.randrange(REQUESTS),
            "filters": None,
            "weighers": list(used),
            "options": random_options(rng, used, ()),
        }
        for _ in range(QUESTIONS)
    ]


def test_weighers_are_novas(nova_chain):
    rng = random.Random(SEED)
    assert sorted(NOVAS) == nova_chain.ask("names")["answer"]["weighers"]
    kinds = (*NOVAS, ALL)
    cases, apart, missed = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0), 0
    for number in range(WORLDS):
        world = random_world(rng, HOSTS, REQUESTS)
        asked = [(name, question) for name in kinds for question in questions_of(rng, name)]
        found = compared(nova_chain, world, [question for _, question in asked])
        for (name, _), (question, _novas, ours, difference) in zip(asked, found, strict=True):
            assert difference is None, (
                f"seed {SEED}",
                number,
                name,
                difference,
                smallest(nova_chain, world, question, difference),
            )
            cases[name] += 1
            missed += ours is None
            apart[name] += ours is not None and len(set(ours.values())) > 1
    assert min(cases.values()) >= 10_000, cases
    # A weigher that never tells hosts apart shows nothing.
    assert min(apart.values()) > 900 and missed > 100, (apart, missed)
