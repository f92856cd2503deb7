"""Which providers take which group, one row a case: the allocations in short form, or None where they do not fit."""

import itertools

import pytest

from nova_sched.fit import providers as fit
from nova_sched.fit.options import TreeOptions
from nova_sched.fit.providers import allocate, assignments
from nova_sched.fit.search import Search
from nova_sched.fit.serving import HOSTS
from rpc_api import events
from tests.builders import Cell, claim, group, inventory_of, of, provider, report, request, tree, uuid_of

AGGREGATES = [
    events.AggregateUpdated(uuid_of(name), name, hosts, {}) for name, hosts in (("left", ()), ("of-host", ("h",)))
]


def host(*children, inventories=(), traits=()):
    """A host ``h`` with children (name, parent's place in the list, inventories, traits, aggregates)."""
    said = tree(
        "h",
        *(
            provider(name, *has, parent=parent, traits=marks, aggregates=aggregates)
            for name, parent, has, marks, aggregates in children
        ),
        inventories=inventories,
    )
    root = said.providers[0]._replace(traits=tuple(traits))
    return report("h", inventory=said._replace(providers=(root, *said.providers[1:])))


def vcpu(total, **facts):
    return inventory_of("VCPU", total, **facts)


def gpu(total, **facts):
    return inventory_of("CUSTOM_GPU", total, **facts)


FLAT = host(inventories=(vcpu(8), inventory_of("MEMORY_MB", 1024)), traits=["CUSTOM_A"])
NUMA = host(
    ("n0", 0, (vcpu(4),), ("CUSTOM_ZERO", "CUSTOM_SSD"), ("left",)),
    ("n1", 0, (vcpu(6),), ("CUSTOM_ONE",), ()),
    inventories=(inventory_of("MEMORY_MB", 1024),),
    traits=["CUSTOM_A"],
)
DEVICES = host(
    ("n0", 0, (vcpu(4),), ("CUSTOM_NODE", "CUSTOM_ZERO"), ()),
    ("n1", 0, (vcpu(4),), ("CUSTOM_NODE",), ()),
    ("g0", 1, (gpu(1),), (), ()),
    ("g1", 2, (gpu(2),), (), ()),
    inventories=(inventory_of("MEMORY_MB", 1024),),
)
UNITS = host(
    inventories=(vcpu(16, min_unit=2, max_unit=6, step_size=2), inventory_of("MEMORY_MB", 100, reserved=10, ratio=1.5))
)
NOTHING = host(inventories=(vcpu(0), inventory_of("MEMORY_MB", 4, reserved=4)))

ROWS = [
    # host, groups, other facts of the request, what each provider gives (class initial and amount) or None
    ("none", FLAT, [], {}, {}),
    ("flat", FLAT, [group(VCPU=8, MEMORY_MB=1024)], {}, {"h": "M1024 V8"}),
    ("flat, too much", FLAT, [group(VCPU=9)], {}, None),
    ("flat, unknown class", FLAT, [group(CUSTOM_X=1)], {}, None),
    ("flat, two groups", FLAT, [group("1", VCPU=4), group("2", VCPU=4)], {"group_policy": "none"}, {"h": "V8"}),
    ("flat, two groups, sum", FLAT, [group("1", VCPU=4), group(VCPU=5)], {"group_policy": "none"}, None),
    ("flat, isolated", FLAT, [group("1", VCPU=1), group("2", VCPU=1)], {"group_policy": "isolate"}, None),
    ("flat, one isolated", FLAT, [group("1", VCPU=1), group(VCPU=1)], {"group_policy": "isolate"}, {"h": "V2"}),
    ("flat, trait", FLAT, [group(VCPU=1, required=["CUSTOM_A"])], {}, {"h": "V1"}),
    ("flat, no trait", FLAT, [group(VCPU=1, required=["CUSTOM_B"])], {}, None),
    ("flat, any", FLAT, [group(VCPU=1, any_traits=[["CUSTOM_B", "CUSTOM_A"]])], {}, {"h": "V1"}),
    ("flat, none of any", FLAT, [group(VCPU=1, any_traits=[["CUSTOM_B", "CUSTOM_C"]])], {}, None),
    ("flat, forbidden", FLAT, [group(VCPU=1, forbidden=["CUSTOM_A"])], {}, None),
    ("flat, aggregate by name", FLAT, [group("1", VCPU=1, member_of=[["of-host", "left"]])], {}, {"h": "V1"}),
    ("flat, not in aggregate", FLAT, [group("1", VCPU=1, not_member_of=["of-host"])], {}, None),
    ("flat, its tree", FLAT, [group(VCPU=1, in_tree="h")], {}, {"h": "V1"}),
    ("flat, another tree", FLAT, [group(VCPU=1, in_tree="n0")], {}, None),
    ("spread", NUMA, [group(VCPU=6, MEMORY_MB=5)], {}, {"h": "M5", "n1": "V6"}),
    ("spread, a class is not split", NUMA, [group(VCPU=7)], {}, None),
    ("the least that will do", NUMA, [group(VCPU=3)], {}, {"n0": "V3"}),
    ("one provider for all of a group", NUMA, [group("1", VCPU=1, MEMORY_MB=1)], {}, None),
    ("isolated", NUMA, [group("1", VCPU=1), group("2", VCPU=1)], {"group_policy": "isolate"}, {"n0": "V1", "n1": "V1"}),
    ("not isolated", NUMA, [group("1", VCPU=1), group("2", VCPU=1)], {"group_policy": "none"}, {"n0": "V2"}),
    (
        "backtracking",
        NUMA,
        [group("1", VCPU=2), group("2", VCPU=4), group("3", VCPU=4)],
        {"group_policy": "none"},
        {"n0": "V4", "n1": "V6"},
    ),
    ("too many", NUMA, [group(name, VCPU=1) for name in "123"], {"group_policy": "isolate"}, None),
    (
        "traits of the spread group together",
        NUMA,
        [group(VCPU=1, MEMORY_MB=1, required=["CUSTOM_A", "CUSTOM_ONE"])],
        {},
        {"h": "M1", "n1": "V1"},
    ),
    ("traits of a provider that gives nothing", NUMA, [group(VCPU=1, required=["CUSTOM_A"])], {}, None),
    ("traits of one provider", NUMA, [group("1", VCPU=1, required=["CUSTOM_ZERO", "CUSTOM_ONE"])], {}, None),
    ("any on one provider", NUMA, [group("1", VCPU=1, any_traits=[["CUSTOM_ONE", "CUSTOM_X"]])], {}, {"n1": "V1"}),
    ("forbidden sends elsewhere", NUMA, [group(VCPU=1, forbidden=["CUSTOM_SSD"])], {}, {"n1": "V1"}),
    ("the root's aggregate serves the spread group", NUMA, [group(VCPU=6, member_of=[["of-host"]])], {}, {"n1": "V6"}),
    ("but not a suffixed one", NUMA, [group("1", VCPU=1, member_of=[["of-host"]])], {}, None),
    ("one provider in both aggregates", NUMA, [group(VCPU=1, member_of=[["of-host"], ["left"]])], {}, None),
    ("an aggregate of its own", NUMA, [group("1", VCPU=1, member_of=[["left"]])], {}, {"n0": "V1"}),
    ("out of an aggregate", NUMA, [group("1", VCPU=1, not_member_of=["left"])], {}, {"n1": "V1"}),
    (
        "the root's aggregate is not that of a suffixed group",
        NUMA,
        [group("1", VCPU=1, not_member_of=["of-host"])],
        {},
        {"n0": "V1"},
    ),
    ("the root out of an aggregate", NUMA, [group(VCPU=1, not_member_of=["of-host"])], {}, None),
    ("a tree by its child", NUMA, [group("1", VCPU=5, in_tree="n0")], {}, {"n1": "V5"}),
    ("no resources, on the host", NUMA, [group(required=["CUSTOM_A"]), group("1", VCPU=1)], {}, {"n0": "V1"}),
    ("no resources, not on the host", NUMA, [group(required=["CUSTOM_ONE"]), group("1", VCPU=1)], {}, None),
    ("no resources, aggregate of the host", NUMA, [group(member_of=[["left"]]), group("1", VCPU=1)], {}, None),
    (
        "no subtree",
        DEVICES,
        [group("1", VCPU=4), group("2", CUSTOM_GPU=2)],
        {"group_policy": "none"},
        {"n0": "V4", "g1": "C2"},
    ),
    (
        "same subtree",
        DEVICES,
        [group("1", VCPU=4), group("2", CUSTOM_GPU=2)],
        {"group_policy": "none", "same_subtree": (("1", "2"),)},
        {"n1": "V4", "g1": "C2"},
    ),
    (
        "siblings are no subtree",
        DEVICES,
        [group("1", CUSTOM_GPU=1), group("2", CUSTOM_GPU=2)],
        {"group_policy": "isolate", "same_subtree": (("1", "2"),)},
        None,
    ),
    (
        "equal groups of which one is bound to a subtree",
        DEVICES,
        [group("1", CUSTOM_GPU=1), group("2", CUSTOM_GPU=1), group("3", VCPU=1, required=["CUSTOM_ZERO"])],
        {"group_policy": "isolate", "same_subtree": (("2", "3"),)},
        {"n0": "V1", "g0": "C1", "g1": "C1"},
    ),
    (
        "a group without resources holds it together",
        DEVICES,
        [group("1", CUSTOM_GPU=2), group("2", VCPU=1), group("3", required=["CUSTOM_NODE"])],
        {"group_policy": "none", "same_subtree": (("1", "3"), ("2", "3"))},
        {"n1": "V1", "g1": "C2"},
    ),
    (
        "isolation counts it, too",
        DEVICES,
        [group("1", VCPU=4), group("2", VCPU=4), group("3", required=["CUSTOM_NODE"])],
        {"group_policy": "isolate"},
        None,
    ),
    ("units", UNITS, [group(VCPU=4)], {}, {"h": "V4"}),
    ("below min_unit", UNITS, [group(VCPU=1)], {}, None),
    ("above max_unit", UNITS, [group(VCPU=8)], {}, None),
    ("off step_size", UNITS, [group(VCPU=3)], {}, None),
    ("the sum above max_unit", UNITS, [group("1", VCPU=4), group("2", VCPU=4)], {"group_policy": "none"}, None),
    ("each in units", UNITS, [group("1", VCPU=1), group("2", VCPU=3)], {"group_policy": "none"}, None),
    ("max_unit is the total, whatever the ratio", UNITS, [group(MEMORY_MB=101)], {}, None),
    ("ratio", UNITS, [group("1", MEMORY_MB=50), group("2", MEMORY_MB=50)], {"group_policy": "none"}, {"h": "M100"}),
    ("nothing to fall back on is needed", NUMA, [group(VCPU=3)], {"fallback_groups": (group(VCPU=1),)}, {"n0": "V3"}),
    ("fallen back on, nested", NUMA, [group(PCPU=1)], {"fallback_groups": (group(VCPU=1),)}, {"n0": "V1"}),
    ("fallen back on, flat", FLAT, [group(PCPU=1)], {"fallback_groups": (group(VCPU=1),)}, {"h": "V1"}),
    ("nothing to fall back on", FLAT, [group(PCPU=1)], {"fallback_groups": (group(PCPU=2),)}, None),
    ("nothing there", NOTHING, [group(VCPU=1)], {}, None),
    ("all reserved", NOTHING, [group(MEMORY_MB=1)], {}, None),
]


def short(assignment):
    by_name = {uuid_of(name): name for name in ("h", "n0", "n1", "g0", "g1")}
    given = {}
    for allocation in assignment.allocations:
        given.setdefault(by_name[allocation.provider_uuid], []).append(
            f"{allocation.resource_class.removeprefix('CUSTOM_')[0]}{allocation.amount}"
            if allocation.resource_class != "CUSTOM_GPU"
            else f"C{allocation.amount}"
        )
    return {name: " ".join(sorted(amounts)) for name, amounts in given.items()}


@pytest.mark.parametrize("said, groups, facts, given", [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_allocate(said, groups, facts, given):
    cell = Cell(said, *AGGREGATES)
    table = cell.projection.table
    assignment = allocate(table, table.row_of_host["h"], request(**({"groups": tuple(groups)} | facts)))
    assert (assignment and short(assignment)) == given
    if assignment:
        amounts = [allocation.amount for allocation in assignment.allocations]
        assert cell.say(claim("vm", "h", *assignment.allocations)) == "accepted" if amounts else True
        assert set(assignment.mappings) == {one.suffix for one in groups if one.suffix or one.resources}


def test_mappings_name_the_providers_of_each_group():
    table = Cell(DEVICES).projection.table
    asked = request(
        group(MEMORY_MB=1), group("_gpu", CUSTOM_GPU=2), group("_cpu", VCPU=1), same_subtree=(("_gpu", "_cpu"),)
    )
    assert allocate(table, table.row_of_host["h"], asked).mappings == {
        "": [uuid_of("h")],
        "_gpu": [uuid_of("g1")],
        "_cpu": [uuid_of("n1")],
    }


def test_what_is_in_use_is_taken():
    cell = Cell(NUMA, claim("vm", "h", of("n1", 5)))
    table = cell.projection.table
    assert short(allocate(table, 0, request(group(VCPU=1)))) == {"n1": "V1"}, "the fuller one first"
    assert short(allocate(table, 0, request(group(VCPU=2)))) == {"n0": "V2"}
    assert allocate(table, 0, request(group(VCPU=5))) is None


def test_many_equal_groups_take_few_steps():
    """8 devices for 9 equal groups do not fit; that is found without trying each order of them."""
    for policy, total, most in (("none", 1, 0), ("isolate", 2, 3000)):
        said = host(*((f"n{number}", 0, (gpu(total),), (), ()) for number in range(8)), inventories=(vcpu(8),))
        table = Cell(said).projection.table
        groups = [group(str(number), CUSTOM_GPU=1) for number in range(9)]
        assert sum(one.amount for one in allocate(table, 0, request(*groups[:8], group_policy=policy)).allocations) == 8
        options = TreeOptions(table, 0, request(*groups, group_policy=policy), HOSTS)
        search = Search(options, lambda one: "", most_steps=fit.MAX_STEPS)
        assert next(search.assignments(), None) is None
        assert fit.MAX_STEPS - search.steps_left <= most


def every(said, *groups, **facts):
    """All assignments on a host, in short form."""
    table = Cell(said).projection.table
    names = dict(zip(table.uuids, table.provider_names, strict=True))
    return sorted(
        " ".join(
            f"{suffix}:{'+'.join(sorted(names[uuid] for uuid in of))}" for suffix, of in sorted(one.mappings.items())
        )
        for one in assignments(table, 0, request(*groups, **facts), HOSTS)
    )


def test_all_assignments_of_a_tree():
    assert every(FLAT, group(VCPU=1)) == [":h"]
    assert every(FLAT, group(VCPU=9)) == []
    assert every(NUMA, group(VCPU=1, MEMORY_MB=1)) == [":h+n0", ":h+n1"]
    assert every(NUMA, group(VCPU=5)) == [":n1"]
    two = [group("1", VCPU=1), group("2", VCPU=1)]
    assert every(NUMA, *two, group_policy="none") == ["1:n0 2:n0", "1:n0 2:n1", "1:n1 2:n0", "1:n1 2:n1"]
    assert every(NUMA, *two, group_policy="isolate") == ["1:n0 2:n1", "1:n1 2:n0"]
    near = [group("_g", CUSTOM_GPU=1), group("_n", required=["CUSTOM_NODE"])]
    assert every(DEVICES, *near, group_policy="none", same_subtree=[["_g", "_n"]]) == ["_g:g0 _n:n0", "_g:g1 _n:n1"]


def test_the_first_of_all_assignments_is_the_one_that_is_allocated():
    for _, said, groups, facts, _ in ROWS:
        if "fallback_groups" in facts:
            continue
        table = Cell(*AGGREGATES, said).projection.table
        row, asked = table.row_of_host["h"], request(*groups, **facts)
        assert next(assignments(table, row, asked, HOSTS), None) == allocate(table, row, asked)


def test_equal_groups_that_do_not_fit_have_no_assignment():
    """Without a look at all orders of 12 groups on 11 devices, which would take for ever."""
    said = host(*((f"n{number}", 0, (gpu(2),), (), ()) for number in range(11)), inventories=(vcpu(8),))
    assert every(said, *(group(str(number), CUSTOM_GPU=1) for number in range(12)), group_policy="isolate") == []


def test_a_search_that_finds_nothing_for_too_long_says_so(monkeypatch):
    monkeypatch.setattr(fit, "MAX_STEPS", 100)
    monkeypatch.setattr(fit, "MAX_FRUITLESS_STEPS", 2000)
    said = host(*((f"n{number}", 0, (gpu(20),), (), ()) for number in range(6)), inventories=(vcpu(8),))
    asked = [group(str(number), CUSTOM_GPU=11 - number % 2) for number in range(11)]
    with pytest.raises(fit.TooManySteps, match="wanted a request with fewer groups"):
        every(said, *asked, group_policy="none")


def test_assignments_are_found_one_by_one():
    said = host(*((f"n{number}", 0, (gpu(16),), (), ()) for number in range(16)), inventories=(vcpu(8),))
    table = Cell(said).projection.table
    asked = request(*(group(str(number), CUSTOM_GPU=1) for number in range(16)), group_policy="none")
    assert len(list(itertools.islice(assignments(table, 0, asked, HOSTS), 1000))) == 1000


def taken_of(cell, groups, **judges):
    found = allocate(cell.projection.table, 0, request(*groups, group_policy="none"), **judges)
    return found and short(found)


def test_the_search_goes_on_until_an_assignment_is_accepted():
    cell, seen, wanted = Cell(DEVICES), [], 2

    def accept(assignment):
        seen.append(assignment.mappings)
        return len(seen) == wanted

    groups = [group("a-0", CUSTOM_GPU=1), group("b-0", CUSTOM_GPU=1)]
    assert taken_of(cell, groups, accept=accept) == {"g0": "C1", "g1": "C1"}
    assert seen == [{"a-0": [uuid_of(a)], "b-0": [uuid_of(b)]} for a, b in (("g0", "g1"), ("g1", "g0"))]
    assert taken_of(cell, groups, accept=lambda one: False) is None
    # For ``accept``, groups of one request are interchangeable.
    seen, wanted = [], 3
    assert taken_of(cell, [group("a-0", CUSTOM_GPU=1), group("a-1", CUSTOM_GPU=1)], accept=accept) is None
    assert len(seen) == 2


def test_one_provider_leaves_one_assignment_to_accept():
    cell = Cell(FLAT)
    assert taken_of(cell, [group(VCPU=1)], accept=lambda one: one.mappings == {"": [uuid_of("h")]}) == {"h": "V1"}
    assert taken_of(cell, [group(VCPU=1)], accept=lambda one: False) is None
    assert taken_of(cell, [group(VCPU=9)], accept=lambda one: 1 / 0) is None


def test_providers_that_cannot_serve_a_group_are_not_tried():
    cell = Cell(DEVICES)
    groups = [group(VCPU=1), group("a-0", CUSTOM_GPU=1)]
    seen = []
    assert (
        taken_of(
            cell,
            groups,
            accept=lambda one: seen.append(one),
            serves=lambda suffix, uuid: (suffix, uuid) == ("a-0", uuid_of("g1")),
        )
        is None
    )
    assert {one.mappings["a-0"][0] for one in seen} == {uuid_of("g1")} and len(seen) == 2


def test_what_nobody_accepts_ends():
    said = host(*((f"n{number}", 0, (gpu(4),), (), ()) for number in range(16)), inventories=(vcpu(8),))
    table = Cell(said).projection.table
    seen = []
    asked = request(*(group(f"a-{number}", CUSTOM_GPU=1) for number in range(8)), group_policy="none")
    assert allocate(table, 0, asked, accept=seen.append) is None
    assert 1000 < len(seen) <= fit.MAX_STEPS
