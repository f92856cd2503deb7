"""Faults of one provider, and ratios that close a class: the whole report is set aside below level 2, one provider is
closed from there on."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_sched.projection import provider_tree, snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.inventory import closed_providers
from rpc_api import events
from rpc_api.packing import pack, unpack
from tests.builders import Cell, claim, consumer, inventory_of, of, provider, report, tree, uuid_of
from tests.nova_sched.projection import unchanged_by

PIN = events.LevelPinned(2)
OPEN = inventory_of("MEMORY_MB", 64)


def child(*inventories, **fields):
    return provider("child", *inventories, parent=0, **fields)


def with_child(faulty):
    """A host with a faulty child, and a root and another child without fault."""
    return report("a", inventory=tree("a", faulty, provider("other", inventory_of("PCPU", 4), parent=0)))


def changed(**parts):
    return child(inventory_of("CUSTOM_X", 8)._replace(**parts), OPEN)


#: A provider with a fault, and the end of the sentence about it.
FAULTS = {
    "a class that is not in capitals": (changed(resource_class="custom_x"), "a resource class that is not of capitals"),
    "a class that is named twice": (
        child(inventory_of("CUSTOM_X"), OPEN, inventory_of("CUSTOM_X", 9)),
        "two inventories of one resource class",
    ),
    "a unit": (changed(min_unit=0), "CUSTOM_X of child has a min_unit or step_size below 1"),
    "a step": (changed(step_size=0), "CUSTOM_X of child has a min_unit or step_size below 1"),
    "a trait": (
        child(inventory_of("CUSTOM_X", 8), OPEN, traits=["HW_GOOD", "HW bad"]),
        "a trait that is not of capitals",
    ),
    "a ratio below 0": (changed(allocation_ratio=-1.0), "-1.0"),
    "a ratio that is too large": (changed(allocation_ratio=1e39), "the allocation_ratio 1e+39, wanted"),
    # Values that the schema does not accept.
    "no number": (
        changed(allocation_ratio=math.nan),
        "CUSTOM_X of child cannot be read, wanted Inventory.allocation_ra",
    ),
    "no end": (changed(allocation_ratio=math.inf), "Inventory.allocation_ratio: a finite number"),
    "no beginning": (changed(allocation_ratio=-math.inf), "Inventory.allocation_ratio: a finite number"),
    "a text as ratio": (changed(allocation_ratio="16"), "Inventory.allocation_ratio: a finite number"),
    "a total below 0": (changed(total=-4), "Inventory.total: an amount of 0 or more, below 2**31"),
    "a total that is too large": (changed(total=2**31), "Inventory.total: an amount of 0 or more, below 2**31"),
    "a total with a point": (changed(total=4.0), "Inventory.total: an amount of 0 or more, below 2**31"),
    "a boolean": (changed(total=True), "Inventory.total: an amount of 0 or more, below 2**31"),
    "no total": (changed(total=None), "Inventory.total: an amount of 0 or more, below 2**31"),
    "reserved below 0": (changed(reserved=-1), "Inventory.reserved: an amount of 0 or more, below 2**31"),
    "a unit below 0": (changed(min_unit=-1), "Inventory.min_unit: an amount of 0 or more, below 2**31"),
    "a greatest unit that is too large": (changed(max_unit=2**31), "Inventory.max_unit: an amount of 0 or more"),
    "a step below 0": (changed(step_size=-1), "Inventory.step_size: an amount of 0 or more, below 2**31"),
    "a class that is a number": (
        changed(resource_class=7),
        "an inventory of child cannot be read, wanted Inventory.res",
    ),
    "an inventory that is a number": (child(7, OPEN), "an inventory of child cannot be read, wanted an array of the 7"),
    "an inventory without a field": (
        child(tuple(OPEN)[:-1], OPEN),
        "MEMORY_MB of child cannot be read, wanted an array",
    ),
    "a trait that is a number": (
        child(inventory_of("CUSTOM_X", 8), OPEN, traits=["HW_GOOD", 7]),
        "provider child cannot be read, wanted Provider.traits: a string",
    ),
}
#: Of a provider: parts without which nothing of the report can be counted.
NEEDED = {
    "a uuid that is none": {"uuid": "child"},
    "a name that is a number": {"name": 7},
    "a parent with a point": {"parent": 0.0},
    "a parent that comes later": {"parent": 2},
    "an aggregate that is none": {"aggregates": ["here"]},
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_on_both_sides_of_a_pin(name):
    faulty, sentence = FAULTS[name]
    good = with_child(child(inventory_of("CUSTOM_X", 8), OPEN))
    use = claim("vm", "a", of("child", 2, "CUSTOM_X"), of("child", 16, "MEMORY_MB"))
    cell = Cell(good, use)
    with unchanged_by(cell):
        assert cell.say(with_child(faulty)) == "invalid"

    cell = Cell(PIN, good, use)
    assert "closed-provider" in cell.say(with_child(faulty))
    detail = next(note.detail for note in cell.noted if note.kind == "closed-provider")
    assert sentence in detail and detail.endswith("; the provider is closed until it is fixed")
    assert closed_providers(cell.projection, cell.projection.hosts["a"]) == [detail.partition("; the")[0]]
    # Nothing is left of any of its classes, what is used stays, and the other providers are open.
    assert cell.say(claim("new", "a", of("child", 1, "MEMORY_MB"))) == "MEMORY_MB"
    assert (cell.used("child", "MEMORY_MB"), cell.free("child", "MEMORY_MB")) == (16, -16)
    assert cell.say(claim("other", "a", of("other", 4, "PCPU"), of("a", 8))) == "accepted"
    # The next report without the fault opens it again.
    cell.say(good)
    assert (cell.used("child", "CUSTOM_X"), cell.free("child", "CUSTOM_X")) == (2, 6)
    assert closed_providers(cell.projection, cell.projection.hosts["a"]) == []


@pytest.mark.parametrize("faulty", [changed(), changed(total=-4), changed(min_unit=0)])
@pytest.mark.parametrize("name", NEEDED)
def test_a_fault_of_the_tree_sets_the_report_aside(name, faulty):
    for cell in (Cell(report("a")), Cell(PIN, report("a"))):
        with unchanged_by(cell):
            assert cell.say(with_child(faulty._replace(**NEEDED[name]))) == "invalid"


@pytest.mark.parametrize(
    "part", ["not msgpack", "a number", "too few fields", "no list of providers", "a short provider"]
)
def test_a_report_that_cannot_be_read(part):
    values = unpack(with_child(changed(total=-4)).inventory)
    providers = (values[8][0], values[8][1][:-1], values[8][2])
    packed = {
        "not msgpack": b"\xc1",
        "a number": pack(7),
        "too few fields": pack(values[:8]),
        "no list of providers": pack((*values[:8], 7, *values[9:])),
        "a short provider": pack((*values[:8], providers, *values[9:])),
    }[part]
    for cell in (Cell(report("a")), Cell(PIN, report("a"))):
        with unchanged_by(cell):
            assert cell.say(report("a")._replace(inventory=packed)) == "invalid"


def test_what_cannot_be_read_stays_so_in_a_changed_tree():
    """Also below level 2: the changed report is set aside where the real one is."""
    for faulty, _ in FAULTS.values():
        said = with_child(faulty)
        again = said._replace(inventory=provider_tree.packed(provider_tree.read(said.inventory)))
        assert Cell(report("a")).say(again) == "invalid"
        cells = [Cell(PIN, report("a"), claim("vm", "a", of("a", 2)), one) for one in (said, again)]
        assert len({str(cell.projection.table.trees) for cell in cells}) == 1
        assert [cell.free("child", "MEMORY_MB") for cell in cells] == [0, 0]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_root_and_a_new_host(name):
    faulty, _ = FAULTS[name]
    root = faulty._replace(uuid=uuid_of("a"), parent=-1)
    cell = Cell(PIN, report("a", inventory=tree("a")._replace(providers=(root, provider("x", OPEN, parent=0)))))
    assert [note.kind for note in cell.noted] == ["pinned", "closed-provider"]
    assert cell.say(claim("vm", "a", of("a", 1, "MEMORY_MB"))) == "MEMORY_MB"
    assert cell.say(claim("vm", "a", of("x", 1, "MEMORY_MB"))) == "accepted"
    assert cell.projection.table.row_has_trait("HW_GOOD", 0) == ("HW_GOOD" in faulty.traits)


#: total, reserved, ratio; the free amount below level 2 (None: set aside), and from there on ("": closed).
CAPACITIES = {
    "all reserved": ((8, 8, 1.0), 0, 0),
    "all reserved, ratio 16": ((8, 8, 16.0), 0, 0),
    "one of one": ((1, 1, 1.0), 0, 0),
    "ratio 0": ((8, 0, 0.0), None, 0),
    "less than one": ((8, 0, 0.05), 0, 0),
    "a little below 0": ((8, 0, -0.05), None, 0),
    "below 0 of nothing": ((8, 8, -1.0), None, 0),
    "below 0 twice": ((8, 12, -1.0), None, 4),
    "ratio below 0": ((8, 0, -1.0), None, ""),
    "more reserved than there is": ((8, 12, 1.0), 0, ""),
    "a ratio of a half": ((9, 0, 0.5), 4, 4),
}


@pytest.mark.parametrize("name", CAPACITIES)
def test_a_capacity_on_both_sides_of_a_pin(name):
    (total, reserved, ratio), before, after = CAPACITIES[name]
    inventory = tree("a", inventories=[inventory_of(total=total, reserved=reserved, ratio=ratio), OPEN])
    was_open = report("a", inventory=tree("a", inventories=[inventory_of(total=64), OPEN]))
    now = report("a", inventory=inventory)

    cell = Cell(was_open)
    assert cell.say(now) == ("invalid" if before is None else "ok")
    assert cell.free("a") == (64 if before is None else before)
    if before is not None:
        # What it was before the pin is judged by the new rules there.
        assert cell.say(PIN) == "pinned" + (", closed-provider" if after == "" else "")
        assert cell.free("a") == (after or 0)

    cell = Cell(PIN, was_open)
    assert cell.say(now) == ("closed-provider" if after == "" else "ok")
    assert cell.free("a") == (after or 0)
    assert cell.say(claim("memory", "a", of("a", 8, "MEMORY_MB"))) == ("MEMORY_MB" if after == "" else "accepted")


def test_what_runs_on_a_closed_class_stays_counted():
    vm = consumer("vm", of("a", 4))
    cell = Cell(PIN, report("a", vm, inventory=tree("a", inventories=[inventory_of(ratio=0.0)])))
    assert (cell.used("a"), cell.free("a")) == (4, -4)
    cell.say(report("a", vm))
    assert (cell.used("a"), cell.free("a")) == (4, 4)


RATIOS = st.sampled_from((0.0, 0.5, 1.0, 2.0, -1.0, 1e39, math.nan, math.inf))
AMOUNTS = st.integers(-1, 9) | st.sampled_from((2**31, 4.0))
INVENTORIES = st.builds(
    inventory_of,
    st.sampled_from(("VCPU", "MEMORY_MB", "vcpu")),
    AMOUNTS,
    st.integers(-1, 9),
    st.integers(-1, 2),
    step_size=st.integers(0, 2),
    ratio=RATIOS,
)
TREES = st.lists(st.lists(INVENTORIES, max_size=3), min_size=1, max_size=3)


def tree_of(own):
    return tree(
        "a", *(provider(f"p{number}", *one, parent=0) for number, one in enumerate(own[1:])), inventories=own[0]
    )


@given(st.lists(TREES, min_size=1, max_size=5), st.integers(0, 6))
@settings(max_examples=100, deadline=None)
def test_any_reports_with_a_pin_between(trees, pinned):
    """The state follows from the last counted report, the entries and the rules (``tests.invariants``), and a snapshot
    taken anywhere goes on to the same state."""
    said = [report("a", consumer("vm", of("a", 3), of("p0", 1, "MEMORY_MB")), inventory=tree_of(own)) for own in trees]
    said.insert(pinned, PIN)
    cell, loaded = Cell(), []
    for data in said:
        before = len(cell.projection.quarantine)
        cell.say(data)
        if cell.projection.level == 2:
            assert len(cell.projection.quarantine) == before
        loaded = [projection for projection in loaded if projection.fold(cell.records[-1:]) is not None]
        loaded.append(snapshot.load(snapshot.dump(cell.projection)))
    assert {state_digest(projection) for projection in loaded} == {state_digest(cell.projection)}
