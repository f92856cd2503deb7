"""why-not on logs made by hand: each cause with the values compared and the event that made it so."""

import pytest

from nova_sched.scheduler.engine import CELL0
from nova_sched.selection.policy import Policy
from rpc_api import events
from tests.builders import consumer, group, inventory_of, of, pci, pool, provider, report, server_group, tree, uuid_of
from tests.engines import TinyCloud
from tests.nova_sched.replay.tiny import Logs, deciding

FILTERS = Policy().enabled_filters


def reported(cloud, host, *consumers, cell="cell1", **facts):
    cloud.append(cell, f"compute_agent/{host}", report(host, *consumers, **facts))


def traits(*names):
    return tree("a", root="a")._replace(providers=(tree("a").providers[0]._replace(traits=names),))


def group_of(amount=2, **fields):
    """The unsuffixed group of a request; ``fields`` are its other fields."""
    return (group(VCPU=amount)._replace(**fields),)


# --- each case: what the log says, and what is asked; then the filter, the reason, words of the text and of the cause


def taken(cloud, engine):
    reported(cloud, "a", consumer("old", of("a", 3)))
    cloud.settle()
    cloud.ask(engine, "first", vcpus=3)
    cloud.settle()
    return {"vcpus": 4}


def never_enough(cloud, engine):
    reported(cloud, "a")
    return {"vcpus": 9}


def unit_too_large(cloud, engine):
    reported(cloud, "a", inventory=tree("a", inventories=(inventory_of(total=16, max_unit=4),)))
    return {"vcpus": 6}


def disabled(cloud, engine):
    for is_disabled in (True, False, True, True):
        reported(cloud, "a", disabled=is_disabled)
    return {}


def lost(cloud, engine):
    reported(cloud, "a")
    cloud.append("cell1", "conductor/c", events.HostLost("a", "silent"))
    return {}


def trait_missing(cloud, engine):
    reported(cloud, "a", inventory=traits("CUSTOM_OTHER"))
    return {"groups": group_of(required_traits=("CUSTOM_SSD",))}


def trait_forbidden(cloud, engine):
    reported(cloud, "a", inventory=traits("CUSTOM_SSD"))
    return {"root_forbidden": ("CUSTOM_SSD",)}


def not_in_aggregate(cloud, engine):
    reported(cloud, "a")
    cloud.append(CELL0, "operator/o", events.AggregateUpdated(uuid_of("fast"), "fast", (), {}))
    return {"groups": group_of(member_of=((uuid_of("fast"),),))}


def other_zone(cloud, engine):
    reported(cloud, "a")
    cloud.append(
        CELL0, "operator/o", events.AggregateUpdated(uuid_of("west"), "west", ("a",), {"availability_zone": "west"})
    )
    return {"availability_zone": "east"}


def ignored(cloud, engine):
    reported(cloud, "a")
    return {"ignore_hosts": ("a",)}


def other_cell(cloud, engine):
    reported(cloud, "a")
    return {"target_cell": "cell9"}


def others_project(cloud, engine):
    reported(cloud, "a")
    cloud.append(
        CELL0, "operator/o", events.AggregateUpdated(uuid_of("mine"), "mine", ("a",), {"filter_tenant_id": "they"})
    )
    return {}


def too_many(cloud, engine):
    reported(cloud, "a", consumer("old", of("a", 1)), consumer("older", of("a", 1)))
    return {}


def member_here(cloud, engine):
    reported(cloud, "a")
    cloud.settle()
    cloud.ask(engine, "first", group=server_group("anti-affinity"))
    cloud.settle()
    return {"group": server_group("anti-affinity")}


def members_elsewhere(cloud, engine):
    reported(cloud, "b")
    cloud.settle()
    cloud.ask(engine, "first", group=server_group("affinity"))
    cloud.settle()
    reported(cloud, "a")
    return {"group": server_group("affinity")}


def no_domain(cloud, engine):
    reported(cloud, "a")
    return {"group": server_group("fault-domain")._replace(scope="rack")}


def no_device(cloud, engine):
    reported(cloud, "a", inventory=tree("a", pci_pools=(pool(1),)))
    return {"pci": (pci(2, request_id=None, vendor_id="8086"),)}


def no_numa(cloud, engine):
    reported(cloud, "a")
    return {"numa": events.NUMARequest((events.NUMACellRequest(0, (0,), (), 1, None, None, None, 0),), None, (), False)}


def nodes(cloud, *sizes, used=()):
    """Host a: a child provider of (VCPU, MEMORY_MB) for each size."""
    children = [
        provider(f"a_{number}", inventory_of(total=vcpus), inventory_of("MEMORY_MB", memory_mb), parent=0)
        for number, (vcpus, memory_mb) in enumerate(sizes)
    ]
    reported(cloud, "a", *used, inventory=tree("a", *children, inventories=()))


def numbered(*suffixes):
    return tuple(group(suffix, MEMORY_MB=1024, VCPU=4) for suffix in suffixes)


def no_provider_has_both(cloud, engine):
    nodes(cloud, (8, 512), (2, 4096))
    return {"groups": numbered("_A")}


def one_of_two_nodes_is_taken(cloud, engine):
    nodes(cloud, (8, 4096), (8, 4096), used=[consumer("old", of("a_1", 6))])
    return {"groups": numbered("_A", "_B"), "group_policy": "isolate"}


def closed(cloud, engine):
    reported(cloud, "a")
    cloud.settle()
    engine.world.table.cell_closed["cell1"] = True
    engine.world.table.topology_version += 1
    engine.states.down_for = lambda seconds: ["cell1"]
    return {}


CASES = {
    taken: (
        "ResourceFilter",
        "VCPU",
        "VCPU: 2 free, 4 asked (8 total x 1, 6 used)",
        f"last taken by instance {uuid_of('first')}",
    ),
    never_enough: ("ResourceFilter", "VCPU", "8 free, 9 asked", "the host reported that it has no more"),
    unit_too_large: ("ResourceFilter", "VCPU", "16 free, 6 asked", "reported so"),
    disabled: ("ComputeStatusFilter", "disabled", "service disabled: maintenance", "disabled"),
    lost: ("ComputeFilter", "down", "unreachable", "lost"),
    trait_missing: ("ResourceFilter", "trait CUSTOM_SSD", "none of its providers has CUSTOM_SSD", "reported so"),
    trait_forbidden: ("ResourceFilter", "forbidden trait CUSTOM_SSD", "it has CUSTOM_SSD", "reported so"),
    not_in_aggregate: ("ResourceFilter", "traits or aggregates", uuid_of("fast"), "aggregate fast"),
    other_zone: (
        "AvailabilityZoneFilter",
        "availability zone",
        "the host is in west, east asked",
        "aggregate west became so",
    ),
    ignored: ("DestinationFilter", "ignored", "the request leaves it out", None),
    other_cell: ("CellFilter", "other cell", "in cell1, the request stays in cell9", None),
    others_project: (
        "AggregateMultiTenancyIsolation",
        "aggregate of other projects",
        "'filter_tenant_id': 'they'",
        "aggregate mine",
    ),
    too_many: ("NumInstancesFilter", "too many instances", "2 instances, limit 2", "came last"),
    member_here: (
        "ServerGroupAntiAffinityFilter",
        "anti-affinity",
        "1 of the group here, limit 1",
        f"member {uuid_of('first')} came to a",
    ),
    members_elsewhere: (
        "ServerGroupAffinityFilter",
        "affinity",
        "the group is on b",
        f"member {uuid_of('first')} came to b",
    ),
    no_domain: ("ServerGroupFaultDomainFilter", "no rack", "the host is in no rack", None),
    no_device: ("PciPassthroughFilter", "PCI nic", "1 of 1 8086:1520 free; asked 2 nic", "reported so"),
    no_numa: ("NUMATopologyFilter", "no NUMA topology", "the host reports no NUMA nodes", "reported so"),
    no_provider_has_both: (
        "ResourceFilter",
        "MEMORY_MB+VCPU on one provider",
        "1024 MEMORY_MB + 4 VCPU asked on one provider, free: a_0 512 MEMORY_MB 8 VCPU; a_1 4096 MEMORY_MB 2 VCPU",
        "the host reported that it has no more",
    ),
    one_of_two_nodes_is_taken: (
        "ResourceFilter",
        "MEMORY_MB+VCPU on 2 providers",
        "asked on each of 2 providers, free: a_0 4096 MEMORY_MB 8 VCPU; a_1 4096 MEMORY_MB 2 VCPU",
        f"last taken by instance {uuid_of('old')}",
    ),
    closed: ("ComputeFilter", "cell unreachable", "the log of cell1 could not be read", None),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_each_cause(case, capsys):
    policy = Policy(
        enabled_filters=(
            *FILTERS,
            "AggregateMultiTenancyIsolation",
            "NumInstancesFilter",
            "PciPassthroughFilter",
            "NUMATopologyFilter",
        ),
        max_instances_per_host=2 if case is too_many else 50,
    )
    cloud = TinyCloud(policy=policy)
    engine = deciding(cloud)
    asked = case(cloud, engine)
    cloud.settle()
    cloud.ask(engine, "vm", **asked)
    cloud.settle()
    name, reason, text, cause = CASES[case]
    with Logs(cloud) as logs:
        code, said = logs.json(capsys, "why-not", uuid_of("vm"), "a")
        verdict = next(one for one in said["verdicts"] if one["verdict"] == "refuse")
        assert (code, said["refused"], verdict["filter"], verdict["reason"]) == (1, True, name, reason)
        assert text in verdict["text"]
        if cause is None:
            assert verdict["cause"] is None
        else:
            assert cause in verdict["cause"]["what"] and verdict["cause"]["producer"]
        assert logs.run("why-not", uuid_of("vm"), "a") == 1
        shown = capsys.readouterr().out
        assert shown.startswith(f"a: refused for {reason} ({name})") and text in shown
        assert logs.run("explain", uuid_of("vm")) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(("0/", "chosen b: 1/2 hosts")) and f"refused for {reason} ({name})" in shown


def test_the_event_is_the_one_with_which_it_began(capsys):
    """Disabled, enabled, disabled and disabled again: it is so since the third report."""
    cloud = TinyCloud()
    engine = deciding(cloud)
    cloud.ask(engine, "vm", **disabled(cloud, engine))
    cloud.settle()
    cloud.ask(engine, "vm", vcpus=1)
    with Logs(cloud) as logs:
        _, said = logs.json(capsys, "why-not", uuid_of("vm"), "a")
    assert (
        said["verdicts"][3]["cause"]["position"] == 2 and said["verdicts"][3]["cause"]["producer"] == "compute_agent/a"
    )


@pytest.fixture
def placed():
    """Two hosts, of which one was chosen."""
    cloud = TinyCloud()
    cloud.host("a", vcpus=8)
    cloud.host("b", vcpus=4)
    engine = deciding(cloud)
    cloud.ask(engine, "vm", alternates=1)
    cloud.settle()
    return cloud


def test_a_host_that_passed_is_ranked_beside_the_chosen_one(placed, capsys):
    with Logs(placed) as logs:
        code, said = logs.json(capsys, "why-not", uuid_of("vm"), "b")
        standing = said["standing"]
        assert (code, standing["rank"], standing["of"], standing["chosen"]) == (0, 2, 2, "a")
        assert standing["score"] < standing["chosen_score"]
        assert ["CPUWeigher"] == [name for name, raw, _ in standing["scores"] if raw == 4.0]
        assert logs.run("why-not", uuid_of("vm"), "b") == 0
        shown = capsys.readouterr().out
        assert (
            shown.startswith("b: it passed, and was alternate 1")
            and "rank     2 of 2" in shown
            and "a (chosen)" in shown
        )
        assert logs.run("why-not", uuid_of("vm"), "a") == 0
        assert capsys.readouterr().out.startswith("a: it was chosen")


def test_filters_that_were_passed_over_are_not_run(capsys):
    cloud = TinyCloud()
    cloud.host("a")
    engine = deciding(cloud)
    cloud.ask(engine, "vm", force_hosts=("a",))
    with Logs(cloud) as logs:
        _, said = logs.json(capsys, "why-not", uuid_of("vm"), "a")
    verdicts = {one["filter"]: one["verdict"] for one in said["verdicts"]}
    assert verdicts["ComputeFilter"] == "not run" and verdicts["DestinationFilter"] == "pass"
    assert verdicts["CellFilter"] == "not applicable"


@pytest.mark.parametrize(
    "words, code, told",
    [
        ((uuid_of("vm"), "aa"), 1, "the scheduler knew no host 'aa'"),
        ((uuid_of("vm"), "a", "--attempt", "7"), 2, "there is no attempt 7, wanted one of 1"),
        ((uuid_of("vm"), "a", "--instance", "nothing"), 2, "--instance nothing matches none of"),
        (("short", "a"), 2, "8 or more characters"),
        (("req-nothing", "a"), 1, "no decision for req-nothing"),
    ],
)
def test_what_cannot_be_asked(placed, words, code, told, capsys):
    with Logs(placed) as logs:
        assert logs.run("why-not", *words) == code
    assert told in capsys.readouterr().err


def test_a_request_of_several_instances_needs_one(capsys):
    cloud = TinyCloud()
    cloud.host("a", vcpus=8)
    cloud.ask(deciding(cloud), "vm-1", "vm-2")
    cloud.settle()
    with Logs(cloud) as logs:
        assert logs.run("why-not", "req-vm-1", "a") == 2
        assert "name one with --instance" in capsys.readouterr().err
        assert logs.run("why-not", "req-vm-1", "a", "--instance", uuid_of("vm-2")) == 0
        assert logs.run("show", "req-vm-1") == 0
        shown = capsys.readouterr().out
        assert "2 instances" in shown and uuid_of("vm-1") in shown and uuid_of("vm-2") in shown


@pytest.mark.parametrize("command", [("show",), ("explain",), ("why-not", "a")])
def test_attempts_are_named_by_the_number_that_is_shown(placed, command, capsys):
    name, *more = command
    with Logs(placed) as logs:
        assert logs.run(name, uuid_of("vm"), *more, "--attempt", "1") < 2
        assert capsys.readouterr().out
        for wrong, fault in (
            ("0", "--attempt is 0, wanted 1 or more"),
            ("2", "there is no attempt 2, wanted one of 1"),
        ):
            assert logs.run(name, uuid_of("vm"), *more, "--attempt", wrong) == 2
            said = capsys.readouterr()
            assert said.out == "" and fault in said.err
