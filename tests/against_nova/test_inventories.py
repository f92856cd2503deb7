"""Which inventories are accepted, and their capacity, against Placement's own schema and check, on random ones."""

import random
from collections import Counter

import pytest

from nova_sched.projection.inventory import provider_fault
from nova_sched.projection.rules import rules_of
from rpc_api import events
from tests.builders import Cell, provider, report, tree

pytestmark = pytest.mark.nova

SEED = 16
CASES = 1_000
RATIOS = (0.0, 0.05, 0.5, 1.0, 1.5, 16.0, -0.01, -1.0, -16.0, 3.4e38, 3.5e38, 1e300)


def random_record(rng):
    total = rng.choice((1, 2, 8, 64, 2**31 - 1))
    return {
        "total": total,
        "reserved": rng.choice((0, 0, 1, total // 2, total, min(total + 1, 2**31 - 1), 2**31 - 1)),
        "min_unit": rng.choice((0, 1, 1, 1, 1, 2, 4)),
        "max_unit": rng.choice((1, total, 2**31 - 1)),
        "step_size": rng.choice((0, 1, 1, 1, 1, 3)),
        "allocation_ratio": rng.choice((*RATIOS, rng.uniform(-2, 16))),
    }


def test_inventories_are_accepted_as_placement_accepts_them(placement):
    rng = random.Random(SEED)
    records = [random_record(rng) for _ in range(CASES)]
    reply = placement.ask("capacities", records)
    assert "error" not in reply, reply
    seen = Counter()
    for record, wanted in zip(records, reply["answer"], strict=True):
        inventory = events.Inventory("VCPU", **record)
        fault = provider_fault(provider("a", inventory), rules_of(2))
        assert (fault is None) == (wanted is not None), (record, wanted, fault)
        cell = Cell(events.LevelPinned(2), report("a", inventory=tree("a", inventories=[inventory])))
        # Beyond 2**53 the column keeps no more.
        assert cell.free("a") == min(wanted or 0, 2**53), record
        seen["refused" if wanted is None else "closed" if wanted == 0 else "open"] += 1
    assert min(seen.values()) > CASES // 10 and len(seen) == 3, seen
