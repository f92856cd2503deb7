"""The reported capacity is what decisions would really place, one after the other, until the first refusal."""

import random

import pytest

from nova_sched.projection.in_flight import InFlight
from nova_sched.replay.state.capacity import by_reason, capacity, stranded
from nova_sched.replay.state.capacity_question import amounts_in, recorded_in, request_for
from nova_sched.replay.state.history import History
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.decide import decide
from nova_sched.selection.policy import Policy
from rpc_api import errors, events
from tests import builders
from tests.builders import claim, decision, group, inventory_of, of, pool, report, request, server_group, tree, uuid_of
from tests.nova_sched.replay.logs import Written

CELLS = tuple(
    events.HostNUMACell(
        node,
        node,
        tuple(range(8 * node, 8 * node + 2)),
        tuple(range(8 * node + 2, 8 * node + 8)),
        tuple((cpu, cpu + 1) for cpu in range(8 * node, 8 * node + 8, 2)),
        8192,
        (events.HostPages(4, 8192 * 256, 0),),
    )
    for node in (0, 1)
)
PINNED = events.NUMARequest((events.NUMACellRequest(0, (), (0, 1), 1024, None, "dedicated", None, 0),), None, (), False)


def world_of(*said):
    written = Written(*said)
    return History({"cell1": written.log}).world_at({"cell1": written.log.bounds().last})


def really_claimed(world, asked, policy):
    """Host -> how many decisions place there until one finds no host."""
    there, chain = world._replace(in_flight=InFlight(world.table)), FilterChain(world.table, policy)
    placed = {}
    for number in range(10_000):
        found = decide(there, chain, asked, uuid_of(f"new-{number}"), policy, seed=number)
        if not found.candidates:
            return placed
        one = found.candidates[0]
        placed[one.host] = placed.get(one.host, 0) + 1
        there.in_flight.add(
            events.ClaimProposed(
                uuid_of(f"claim-{number}"),
                uuid_of(f"new-{number}"),
                uuid_of(f"new-{number}"),
                "req",
                None,
                one.host,
                one.assignment.allocations,
                None,
                False,
                one.guest,
            )
        )
    raise AssertionError("there is no end")


def flat_hosts(rng):
    for number in range(12):
        name = f"h{number}"
        yield report(
            name,
            inventory=tree(
                name,
                inventories=(
                    inventory_of(
                        total=rng.choice((4, 8, 16)), ratio=rng.choice((1.0, 1.5, 4.0)), reserved=rng.randrange(2)
                    ),
                    inventory_of("MEMORY_MB", rng.choice((4096, 10_000, 16_384)), max_unit=rng.choice((1024, 16_384))),
                    inventory_of("DISK_GB", rng.choice((40, 100)), step_size=rng.choice((1, 10))),
                ),
            ),
            disabled=rng.random() < 0.1,
            num_io_ops=rng.randrange(4),
        )
        for taken in range(rng.randrange(3)):
            yield claim(f"vm-{number}-{taken}", name, of(name, 1), of(name, 700, "MEMORY_MB"))


def device_hosts(rng):
    for number in range(4):
        name = f"n{number}"
        yield report(
            name,
            inventory=tree(
                name,
                inventories=(
                    inventory_of(total=4, ratio=2.0),
                    inventory_of("PCPU", 12),
                    inventory_of("MEMORY_MB", 16_384),
                ),
                numa_cells=CELLS,
                pci_pools=(pool(rng.choice((1, 2, 5)), numa_node=0), pool(2, numa_node=1)),
            ),
        )


def nested_hosts(rng):
    for number in range(4):
        name = f"t{number}"
        yield report(
            name,
            inventory=tree(
                name,
                builders.provider(
                    f"{name}_0",
                    inventory_of(total=rng.choice((3, 4)), ratio=2.0),
                    inventory_of("MEMORY_MB", 4096),
                    parent=0,
                ),
                builders.provider(f"{name}_1", inventory_of(total=5), inventory_of("MEMORY_MB", 6000), parent=0),
                inventories=(inventory_of("DISK_GB", 50),),
            ),
        )


GPU = builders.pci(vendor_id="8086", product_id="1520")
CASES = {
    "amounts": (flat_hosts, request_for({"VCPU": 2, "MEMORY_MB": 1000, "DISK_GB": 10}), Policy()),
    "one class": (flat_hosts, request_for({"MEMORY_MB": 512}), Policy()),
    "a class that nobody has": (flat_hosts, request_for({"CUSTOM_X": 1, "VCPU": 1}), Policy()),
    "filters that count": (
        flat_hosts,
        request_for({"MEMORY_MB": 100}),
        Policy(
            enabled_filters=("ComputeFilter", "IoOpsFilter", "NumInstancesFilter"),
            max_io_ops_per_host=5,
            max_instances_per_host=4,
        ),
    ),
    "nova's older filters": (
        flat_hosts,
        request_for({"VCPU": 1, "MEMORY_MB": 600}),
        Policy(enabled_filters=("RamFilter", "CoreFilter", "DiskFilter")),
    ),
    "groups of resources": (
        nested_hosts,
        request(groups=(group(VCPU=1), group("_1", VCPU=2, MEMORY_MB=1000))),
        Policy(),
    ),
    "children": (nested_hosts, request_for({"VCPU": 1, "MEMORY_MB": 700, "DISK_GB": 3}), Policy()),
    "NUMA nodes": (
        device_hosts,
        request(groups=(group(PCPU=2, MEMORY_MB=1024),), numa=PINNED),
        Policy(enabled_filters=("NUMATopologyFilter",)),
    ),
    "PCI devices": (
        device_hosts,
        request(groups=(group(VCPU=1, MEMORY_MB=256),), pci=(GPU,)),
        Policy(enabled_filters=("PciPassthroughFilter",)),
    ),
    "nodes and devices": (
        device_hosts,
        request(groups=(group(PCPU=2, MEMORY_MB=1024),), numa=PINNED, pci=(GPU,)),
        Policy(enabled_filters=("NUMATopologyFilter", "PciPassthroughFilter")),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_as_many_fit_as_are_really_placed(name, seed):
    hosts, asked, policy = CASES[name]
    said = list(hosts(random.Random(seed)))
    answers = capacity(world_of(*said), asked, policy)
    assert {answer.host: answer.fits for answer in answers if answer.fits} == really_claimed(
        world_of(*said), asked, policy
    )
    assert len(answers) == sum(1 for one in said if hasattr(one, "inventory"))
    if name != "a class that nobody has":
        assert any(answer.fits for answer in answers)


def test_a_host_is_left_as_it_was():
    world = world_of(*device_hosts(random.Random(1)))
    asked, policy = CASES["nodes and devices"][1:]
    before = world.table.held.copy(), world.table.free.copy()
    assert capacity(world, asked, policy) == capacity(world, asked, policy)
    assert (
        (world.table.held == before[0]).all() and (world.table.free == before[1]).all() and not world.table.held_guests
    )


def test_what_runs_out_and_what_is_left_there():
    answers = capacity(
        world_of(
            report("a", inventory=tree("a", inventories=(inventory_of(total=10), inventory_of("MEMORY_MB", 4096)))),
            report("b", inventory=tree("b", inventories=(inventory_of(total=2), inventory_of("MEMORY_MB", 9000)))),
            report("c", disabled=True),
        ),
        request_for({"VCPU": 2, "MEMORY_MB": 2048}),
    )
    assert [
        (answer.host, answer.fits, answer.reason, answer.left["VCPU"], answer.left["MEMORY_MB"]) for answer in answers
    ] == [("a", 2, "MEMORY_MB", 6, 0), ("b", 1, "VCPU", 0, 6952), ("c", 0, "disabled", 8, 16384)]
    assert by_reason(answers) == [("MEMORY_MB", 1, 2), ("VCPU", 1, 1), ("disabled", 1, 0)]
    assert stranded(answers, ("VCPU", "MEMORY_MB")) == {"VCPU": 6, "MEMORY_MB": 6952}


@pytest.mark.parametrize("fields", [{}, {"force_hosts": ("a",)}], ids=["no filter looks", "forced"])
def test_nothing_fits_in_a_closed_cell(fields):
    world = world_of(report("a", inventory=tree("a", inventories=(inventory_of(total=4),))))
    asked, policy = request(group(VCPU=1), **fields), Policy(enabled_filters=("AllHostsFilter",))
    assert capacity(world, asked, policy)[0].fits == 4
    world.table.cell_closed["cell1"] = True
    (answer,) = capacity(world, asked, policy)
    assert (answer.fits, answer.filter, answer.reason) == (0, "ClaimRules", "cell unreachable")


def test_a_request_that_takes_nothing_has_no_answer():
    with pytest.raises(errors.UsageError, match="takes no resource"):
        capacity(world_of(report("a")), request(groups=(group(required=()),)))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("4:8192:40", {"VCPU": 4, "MEMORY_MB": 8192, "DISK_GB": 40}),
        ("2:512", {"VCPU": 2, "MEMORY_MB": 512}),
        ("4:8192:0", {"VCPU": 4, "MEMORY_MB": 8192}),
        ("CUSTOM_X=1,VCPU=2", {"CUSTOM_X": 1, "VCPU": 2}),
        ("m1.small", None),
        ("vcpu=2", None),
    ],
)
def test_amounts_are_read(text, wanted):
    assert amounts_in(text) == wanted


@pytest.mark.parametrize("text", ["0:0:0", "VCPU=0", "VCPU=1,VCPU=2"])
def test_amounts_that_make_no_sense(text):
    with pytest.raises(errors.UsageError):
        amounts_in(text)


def test_requests_and_policies_are_found_in_the_logs():
    policy = Policy(max_attempts=7)
    asked = request(
        request_id="req-vm", flavor_name="m1.a", availability_zone="east", server_group=server_group("affinity")
    )
    written = Written(events.PolicyAdopted(policy.digest, policy.to_json()), decision("vm", "a", asked=asked))
    logs, positions = {"cell1": written.log}, {"cell1": 2}
    found = recorded_in(logs, positions, flavor="m1.a")
    assert (
        found.policy == policy.to_json()
        and found.request.availability_zone is None
        and found.request.server_group is None
    )
    like = recorded_in(logs, positions, like="req-vm").request
    assert like == recorded_in(logs, positions, like=uuid_of("vm")).request
    assert like.availability_zone == "east" and like.server_group is None
    assert recorded_in(logs, {"cell1": 1}, flavor="m1.a").request is None
    assert recorded_in(logs, positions, flavor="m1.b").flavors == {"m1.a"}
