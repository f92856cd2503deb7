"""What hosts say of themselves: inventories, trees of providers, status; who may say it; what is refused."""

import pytest

from nova_sched.projection import inventory, topology
from rpc_api import events
from rpc_api.packing import pack
from tests.builders import (
    EPOCH,
    Cell,
    claim,
    consumer,
    inventory_of,
    of,
    provider,
    released,
    report,
    rule,
    started,
    tree,
    uuid_of,
)
from tests.nova_sched.projection import unchanged_by

OPENED = events.LogOpened("cell1", EPOCH)


def column(cell, name, host="host"):
    table = cell.projection.table
    return getattr(table, name)[table.row_of_host[host]].item()


def class_column(cell, name, resource_class, provider_name="host"):
    table = cell.projection.table
    return getattr(table, name)[table.classes.get(resource_class), table.row_of_uuid[uuid_of(provider_name)]].item()


# --- columns -----------------------------------------------------------------------------------------------------


def test_an_inventory_is_written():
    cell = Cell(
        report(
            "host",
            inventory=tree(
                "host",
                inventories=[inventory_of("VCPU", 16, reserved=2, min_unit=2, max_unit=12, step_size=2, ratio=4.0)],
            ),
        )
    )
    assert {
        name: class_column(cell, name, "VCPU")
        for name in (
            "total",
            "reserved",
            "min_unit",
            "max_unit",
            "step_size",
            "ratio",
            "capacity",
            "used",
            "held",
            "free",
        )
    } == {
        "total": 16,
        "reserved": 2,
        "min_unit": 2,
        "max_unit": 12,
        "step_size": 2,
        "ratio": 4.0,
        "capacity": 56,
        "used": 0,
        "held": 0,
        "free": 56,
    }
    assert {name: class_column(cell, name, "VCPU") for name in ("tree_base", "tree_scaled", "tree_taken")} == {
        "tree_base": 14,
        "tree_scaled": 62.0,
        "tree_taken": 0,
    }


def test_a_new_inventory_keeps_what_is_held():
    cell = Cell(report("host"), claim("vm", "host", of("host", 2)))
    cell.say(report("host", inventory=tree("host", inventories=[inventory_of("VCPU", 4)])))
    assert (cell.used("host"), cell.free("host")) == (2, 2)
    cell.say(report("host", inventory=tree("host", inventories=[inventory_of("VCPU", 1)])))
    assert (cell.used("host"), cell.free("host")) == (2, -1)
    cell.say(released("vm"))
    assert (cell.used("host"), cell.free("host")) == (0, 1)


def test_a_class_that_is_reported_again_is_counted_again():
    without = tree("host", inventories=[inventory_of("MEMORY_MB", 100)])
    cell = Cell(report("host"), claim("vm", "host", of("host", 2)), report("host", inventory=without))
    assert (cell.used("host"), cell.free("host")) == (0, 0)
    cell.say(report("host"))
    assert (cell.used("host"), cell.free("host")) == (2, 6)
    assert cell.say(claim("vm-2", "host", of("host", 7))) == "VCPU"


STATUS = [
    # of the report, columns of the root row
    (dict(), dict(disabled=False, down=False, num_io_ops=0, failed_builds=0)),
    (dict(disabled=True), dict(disabled=True, down=False)),
    (dict(forced_down=True), dict(disabled=False, down=True)),
    (dict(num_io_ops=3, failed_builds=4), dict(num_io_ops=3, failed_builds=4)),
    (dict(num_io_ops=2**53, failed_builds=2**53), dict(num_io_ops=2**31 - 1, failed_builds=2**31 - 1)),
]


@pytest.mark.parametrize("said, columns", STATUS)
def test_a_status_is_written(said, columns):
    cell = Cell(report("host", disabled=True, num_io_ops=9, failed_builds=9), report("host", **said))
    assert {name: column(cell, name) for name in columns} == columns


@pytest.mark.parametrize("number", [0, 1, 63, 64, 65, 130, 300])
def test_traits_are_written(number):
    """As bits, 64 to a word; that each provider has just its own is checked at each event."""
    traits = [f"CUSTOM_{one}" for one in range(number)]
    cell = Cell(
        report("other", inventory=tree("other", provider("x", parent=0, traits=["HW_X"]))),
        report("host", inventory=tree("host", provider("y", parent=0, traits=traits))),
    )
    table = cell.projection.table
    assert [table.has_trait(trait, [3]).item() for trait in traits] == [True] * number
    cell.say(report("host", inventory=tree("host", provider("y", parent=0, traits=traits[::2]))))
    assert [table.has_trait(trait, [3]).item() for trait in traits] == [one % 2 == 0 for one in range(number)]
    assert table.has_trait("HW_X").tolist() == [False, True, False, False]
    assert not table.has_trait("CUSTOM_OF_NOBODY").any()


def test_zone_and_profile_are_written_and_shared():
    cell = Cell(
        report("a", inventory=tree("a", availability_zone="az1")),
        report("b", inventory=tree("b")),
        report("c", inventory=tree("c", availability_zone="az1", hypervisor_version=9)),
    )
    table = cell.projection.table
    assert topology.zone_names(table, "nova") == {0: "az1", 1: "nova", 2: "az1"}
    assert column(cell, "profile", "a") == column(cell, "profile", "b") != column(cell, "profile", "c")
    cell.say(report("a", inventory=tree("a", availability_zone="az2")))
    assert topology.zone_names(table, "nova") == {0: "az2", 1: "nova", 2: "az1"}


# --- trees -------------------------------------------------------------------------------------------------------

NUMA = [
    provider("numa0", inventory_of("VCPU", 4), parent=0, traits=["HW_NUMA_ROOT"]),
    provider("numa1", inventory_of("VCPU", 4), parent=0, aggregates=["agg"]),
]
GPU = provider("gpu", inventory_of("VGPU", 1), parent=2)


def nested(*children, **facts):
    return report("host", inventory=tree("host", *children, **facts))


def test_a_tree_is_written():
    cell = Cell(nested(*NUMA, GPU))
    table = cell.projection.table
    assert [table.provider_names[row] for row in table.trees[0]] == ["host", "numa0", "numa1", "gpu"]
    assert [table.parent[row] for row in table.trees[0]] == [-1, 0, 0, 2]
    assert class_column(cell, "tree_base", "VCPU") == 16
    assert (table.nested_rows, column(cell, "children"), table.count) == (3, 3, 4)
    assert table.has_trait("HW_NUMA_ROOT").tolist() == [False, True, False, False]
    assert topology.aggregate_rows(table, uuid_of("agg")).tolist() == [False, False, True, False]


def test_a_provider_gets_another_parent():
    cell = Cell(nested(*NUMA, GPU), nested(*NUMA, GPU._replace(parent=1)))
    table = cell.projection.table
    assert [table.parent[row] for row in table.trees[0]] == [-1, 0, 0, 1]
    cell.say(nested(GPU._replace(parent=0), NUMA[1]._replace(parent=1), NUMA[0]._replace(parent=2)))
    assert [table.provider_names[row] for row in table.trees[0]] == ["host", "gpu", "numa1", "numa0"]
    assert [table.provider_names[table.parent[row]] for row in table.trees[0][1:]] == ["host", "gpu", "numa1"]


def test_a_provider_vanishes_and_comes_back_with_what_is_held_of_it():
    cell = Cell(nested(*NUMA), claim("vm", "host", of("numa1", 3), of("host", 1)))
    assert cell.say(nested(NUMA[0])) == "stray-use"
    assert uuid_of("numa1") not in cell.projection.table.row_of_uuid
    assert cell.say(claim("vm-2", "host", of("numa1", 1))) == f"unknown provider {uuid_of('numa1')}"
    assert cell.say(nested(*NUMA)) == "ok"
    assert (cell.used("numa1"), cell.free("numa1"), cell.used("host")) == (3, 1, 1)
    assert cell.say(claim("vm-2", "host", of("numa1", 2))) == "VCPU"
    cell.say(nested(NUMA[0]))
    cell.say(released("vm"))
    cell.say(nested(*NUMA))
    assert cell.used("numa1") == 0


def test_a_child_moves_to_another_host_once_its_first_one_lets_it_go():
    cell = Cell(nested(*NUMA), report("other"), claim("vm", "host", of("numa1", 1)))
    taken = report("other", inventory=tree("other", NUMA[1]))
    with unchanged_by(cell):
        assert cell.say(taken) == "invalid"
    assert cell.projection.quarantine[-1].reason.endswith(
        f"provider {uuid_of('numa1')} belongs to host host; fix its agent"
    )
    cell.say(nested(NUMA[0]))
    assert cell.say(taken) == "sequence-gap"
    # What is held of it on its first host is not counted on the other, and has no effect there.
    assert cell.used("numa1") == 0
    cell.say(released("vm"))
    assert cell.used("numa1") == 0


def test_a_provider_changes_hosts_in_one_batch():
    cell = Cell(nested(*NUMA), report("other"))
    voices = cell.voice("compute_agent/host"), cell.voice("compute_agent/other")
    outcome = cell.append(
        [voices[0].say(nested(NUMA[0])), voices[1].say(report("other", inventory=tree("other", NUMA[1])))]
    )
    assert outcome == "ok"
    assert cell.projection.trees[uuid_of("numa1")].name == "other"


ANOTHER_ROOT = tree("host", root="new root")


def test_another_root_keeps_what_the_host_says_and_holds():
    cell = Cell(
        report("host", disabled=True, num_io_ops=7),
        claim("vm", "host", of("host", 2), forced=True),
        started("vm-2", "host", of("new root", 1)),
    )
    cell.say(report("host", consumer("vm-2", of("new root", 1)), disabled=True, num_io_ops=7, inventory=ANOTHER_ROOT))
    assert (column(cell, "disabled"), column(cell, "num_io_ops"), column(cell, "num_instances")) == (True, 7, 2)
    assert cell.used("new root") == 1
    cell.say(report("host", consumer("vm-2", of("new root", 1))))
    assert (cell.used("host"), column(cell, "disabled")) == (2, False)


def test_a_lost_host_is_lost_with_another_root_too():
    cell = Cell(
        report("host"), events.HostLost("host", "silent"), report("host", inventory=ANOTHER_ROOT, forced_down=True)
    )
    assert (column(cell, "down"), cell.projection.hosts["host"].lost) == (True, False)


def test_a_child_becomes_the_root():
    cell = Cell(nested(*NUMA))
    cell.say(report("host", inventory=tree("host", provider("host", parent=0), root="numa0")))
    assert [cell.projection.table.uuids[row] for row in cell.projection.table.trees[column(cell, "root")]] == [
        uuid_of("numa0"),
        uuid_of("host"),
    ]


def test_rows_are_used_again():
    cell = Cell(nested(*NUMA), report("other"), events.HostRemoved("host", "gone"), report("third"))
    table = cell.projection.table
    assert (table.count, table.row_of_host) == (4, {"other": 3, "third": 0})
    assert set(table.trees) == {0, 3}


def test_rows_and_classes_grow():
    cell = Cell()
    names = [f"host-{number}" for number in range(70)]
    for number, name in enumerate(names):
        cell.say(
            report(
                name,
                inventory=tree(name, inventories=[inventory_of("VCPU", 8), inventory_of(f"CUSTOM_{number}", number)]),
            )
        )
    assert cell.projection.table.count == 70
    assert class_column(cell, "total", "CUSTOM_69", "host-69") == 69
    assert class_column(cell, "total", "CUSTOM_69", "host-68") == 0


def test_a_removed_host_is_forgotten():
    cell = Cell(report("other"))
    with unchanged_by(cell):
        said = [
            cell.say(data)
            for data in (
                nested(*NUMA),
                claim("vm", "host", rule=rule()),
                started("vm-2", "host"),
                events.HostLost("host", ""),
                events.HostRemoved("host", "gone"),
                events.HostRemoved("host", "gone"),
                released("vm"),
            )
        ]
    assert said == ["ok", "accepted", "unclaimed-start", *["ok"] * 4] and "host" not in cell.projection.hosts


# --- refused ------------------------------------------------------------------------------------------------------


def changed_inventory(**parts):
    return tree("host", inventories=[inventory_of()._replace(**parts)])


MANY_TRAITS = [f"CUSTOM_{number}" for number in range(inventory.MAX_TRAITS + 1)]
MANY_CLASSES = [inventory_of(f"CUSTOM_{number}") for number in range(inventory.MAX_CLASSES + 1)]

REFUSED = [
    # inventory, the note about it
    (b"", "cannot be read as msgpack"),
    (b"\xc1", "cannot be read as msgpack"),
    (pack(("host",)), "HostInventory cannot be read"),
    (tree("host")._replace(providers=()), "0 providers, wanted 1 to 4096"),
    (tree("host", provider("x", parent=-1)), "provider x has parent -1"),
    (tree("host", provider("x", parent=1)), "provider x has parent 1"),
    (tree("host", provider("x", parent=2**53)), "provider x has parent"),
    (tree("host")._replace(providers=(provider("host", parent=0),)), "of which the first is the root"),
    (tree("host", provider("host", parent=0)), "two providers have the same uuid"),
    (tree("host", inventories=[inventory_of(), inventory_of()]), "two inventories of one resource class"),
    (changed_inventory(resource_class="vcpu"), "a resource class that is not of capitals"),
    (changed_inventory(resource_class=""), "a resource class that is not of capitals"),
    (changed_inventory(resource_class="VCPU\n"), "a resource class that is not of capitals"),
    (changed_inventory(resource_class="X" * 256), "a resource class that is not of capitals"),
    (changed_inventory(step_size=0), "a min_unit or step_size below 1"),
    (changed_inventory(min_unit=0), "a min_unit or step_size below 1"),
    (changed_inventory(allocation_ratio=0.0), "the allocation_ratio 0.0, wanted above 0"),
    (changed_inventory(allocation_ratio=-1.0), "the allocation_ratio -1.0, wanted above 0"),
    (changed_inventory(allocation_ratio=1e39), "the allocation_ratio 1e+39, wanted above 0"),
    (changed_inventory(allocation_ratio=float("inf")), "a finite number"),
    (changed_inventory(total=2**31), "an amount of 0 or more"),
    (tree("host", provider("x", parent=0, traits=["HW CPU"])), "provider x has a trait that is not of capitals"),
    (tree("host", provider("x", parent=0, traits=[""])), "provider x has a trait that is not of capitals"),
    (tree("host", provider("x", parent=0, traits=MANY_TRAITS)), "2 resource classes and 2049 traits, wanted at most"),
    (tree("host", inventories=MANY_CLASSES), "129 resource classes and 0 traits, wanted at most"),
    (tree("host", root="other"), "belongs to host other"),
    (tree("host", provider("other", parent=0)), "belongs to host other"),
]


@pytest.mark.parametrize("broken, said", REFUSED)
@pytest.mark.parametrize("known", [False, True], ids=["a new host", "a known host"])
def test_an_inventory_that_cannot_be_changes_nothing(broken, said, known):
    cell = Cell(report("other"))
    if known:
        cell.say(report("host", consumer("vm-0", of("host", 1))))
        cell.say(claim("vm", "host"))
    with unchanged_by(cell):
        assert cell.say(report("host", consumer("vm-9"), inventory=broken, disabled=True)) == "invalid"
    assert said in cell.projection.quarantine[-1].reason


BROKEN_REPORTS = [
    # change of a report, the note about it
    (dict(consumers=b"\xc1", consumers_digest=5), "cannot be read as msgpack"),
    (dict(consumers=pack([[["x"]]]), consumers_digest=5), "HostConsumers cannot be read"),
    (
        dict(consumers=pack([[consumer("vm-1"), consumer("vm-1", of("host", 1))]]), consumers_digest=5),
        "names an instance twice",
    ),
]


@pytest.mark.parametrize("parts, said", BROKEN_REPORTS)
@pytest.mark.parametrize("known", [False, True], ids=["a new host", "a known host"])
def test_consumers_that_cannot_be_change_nothing(parts, said, known):
    cell = Cell(OPENED, *[report("host", consumer("vm-0", of("host", 1)))] * known)
    with unchanged_by(cell):
        assert cell.say(report("host", inventory=tree("host", *NUMA), disabled=True)._replace(**parts)) == "invalid"
    assert said in cell.projection.quarantine[-1].reason


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_a_name_that_cannot_be_changes_nothing(name):
    cell = Cell(OPENED)
    with unchanged_by(cell):
        assert cell.say(report(name), by=f"compute_agent/{name}") == "invalid"


# --- who may report for a host -------------------------------------------------------------------------------------

OTHERS = [
    report("host", consumer("vm-9"), inventory=ANOTHER_ROOT),
    events.HostConfirmed("host", 0),
    events.HostRemoved("host", "mine now"),
    started("vm-9", "host"),
    events.InstanceDeleted("host", uuid_of("vm-0")),
]


@pytest.mark.parametrize("data", OTHERS, ids=lambda data: type(data).__name__)
def test_another_agent_may_not_speak_for_a_host(data):
    cell = Cell(report("host", consumer("vm-0")))
    with unchanged_by(cell):
        assert cell.say(data, by="compute_agent/other") == "not-its-host"
    assert "compute_agent/other" not in cell.projection.producers
    assert cell.projection.quarantine[-1].reason == f"a {type(data).__name__} for host by compute_agent/other"


@pytest.mark.parametrize("data", OTHERS, ids=lambda data: type(data).__name__)
def test_not_even_for_a_lost_one(data):
    cell = Cell(report("host", consumer("vm-0")), events.HostLost("host", "silent"))
    with unchanged_by(cell):
        assert cell.say(data, by="compute_agent/other") == "not-its-host"


@pytest.mark.parametrize("data", OTHERS, ids=lambda data: type(data).__name__)
def test_nor_for_one_that_is_not_known_yet(data):
    cell = Cell(OPENED)
    with unchanged_by(cell):
        assert cell.say(data, by="compute_agent/other") == "not-its-host"


def test_a_conductor_removes_any_host():
    cell = Cell(report("host"))
    assert cell.say(events.HostRemoved("host", "gone"), by="conductor/one") == "ok"
    assert cell.projection.hosts == {}


def test_lost_and_seen_of_an_unknown_host_are_no_matter():
    cell = Cell(OPENED)
    with unchanged_by(cell):
        said = [cell.say(events.HostLost("host", "silent")), cell.say(events.HostSeen("host"))]
    assert said == ["ok", "ok"] and cell.projection.hosts == {}
