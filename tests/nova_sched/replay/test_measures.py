"""How well a cloud is filled, at a moment and at the end: both say the same of what is stranded."""

import pytest

from nova_sched.replay.what_if.measures import Use, stranded_in, use_of
from tests.asked import Asked
from tests.builders import claim, inventory_of, of, report, tree


def cloud():
    """a has 1 VCPU and 1000 MB left, b 4 and 0, c (which runs nothing) 8 and 2000."""
    return Asked(
        *(
            report(name, inventory=tree(name, inventories=(inventory_of("VCPU", 8), inventory_of("MEMORY_MB", 2000))))
            for name in "abc"
        ),
        claim("vm-1", "a", of("a", 7), of("a", 1000, "MEMORY_MB")),
        claim("vm-2", "b", of("b", 4), of("b", 2000, "MEMORY_MB")),
    )


@pytest.mark.parametrize(
    "least, stranded",
    [
        ({"VCPU": 1, "MEMORY_MB": 500}, 4),
        ({"VCPU": 2, "MEMORY_MB": 500}, 5),
        ({"VCPU": 2}, 1),
        ({"VCPU": 9}, 13),
        ({"MEMORY_MB": 500}, 0),
        ({}, 0),
        ({"VCPU": 1, "DISK_GB": 1}, 0),
    ],
)
def test_what_is_in_use(least, stranded):
    table = cloud().table
    assert use_of(table, least) == Use(11, 2, stranded)
    assert stranded_in(table, least).get("VCPU", {"amount": 0})["amount"] == stranded


def test_nothing_is_in_use_where_there_is_nothing():
    assert use_of(Asked().table, {"VCPU": 1}) == Use(0, 0, 0)
