"""Which hosts can take a request, and how, against the real Placement on random provider trees."""

import random

import pytest

from nova_sched.fit.providers import allocate
from nova_sched.projection.in_flight import InFlight
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.policy import Policy
from nova_sched.selection.scope import Scope
from rpc_api import events
from tests.against_nova.clouds import fold
from tests.builders import consumer, inventory_of, report, tree, uuid_of

pytestmark = pytest.mark.nova

#: Clouds of a run, and the least that they show: hosts that fit, that do not, and that fit in several ways.
RUNS = [
    pytest.param(24, 10, (150, 300, 40), id="10 clouds"),
    pytest.param(25, 60, (900, 1800, 240), id="60 clouds", marks=pytest.mark.long),
]
REQUESTS = 60
CLASSES = ("VCPU", "MEMORY_MB", "SRIOV_NET_VF", "CUSTOM_GPU")
TRAITS = ("CUSTOM_T0", "CUSTOM_T1", "CUSTOM_T2", "HW_CPU_X86_AVX", "CUSTOM_T4")
AGGREGATES = tuple(uuid_of(f"aggregate{number}") for number in range(3))


def random_inventory(rng, resource_class):
    total = rng.randrange(1, 9)
    max_unit = rng.choice((total, total, rng.randrange(1, total + 1)))
    return inventory_of(
        resource_class,
        total,
        rng.choice((0, 0, rng.randrange(total))),
        rng.choice((1, 1, 1, 2)),
        max_unit,
        rng.choice((1, 1, 1, 2)),
        rng.choice((1.0, 1.0, 1.5, 0.7)),
    )


def random_tree(rng, name, flat):
    """Providers of one host, the root first, and what is used of each."""
    providers, used = [], {}
    for number in range(1 if flat else rng.randrange(1, 6)):
        uuid = uuid_of(f"{name}/{number}")
        inventories = tuple(
            random_inventory(rng, one) for one in CLASSES if rng.random() < (0.7 if number == 0 else 0.5)
        )
        providers.append(
            events.Provider(
                uuid,
                f"{name}/{number}",
                rng.randrange(number) if number else -1,
                inventories,
                tuple(trait for trait in TRAITS if rng.random() < 0.4),
                tuple(aggregate for aggregate in AGGREGATES if rng.random() < 0.3),
            )
        )
        for inventory in inventories:
            room = (
                min(int((inventory.total - inventory.reserved) * inventory.allocation_ratio), inventory.max_unit)
                // inventory.step_size
                * inventory.step_size
            )
            if room >= inventory.min_unit and rng.random() < 0.3:
                used.setdefault(uuid, {})[inventory.resource_class] = (
                    room
                    if rng.random() < 0.2
                    else max(inventory.step_size, -(-inventory.min_unit // inventory.step_size) * inventory.step_size)
                )
    return providers, {uuid: dict(of.items()) for uuid, of in used.items()}


def random_cloud(rng):
    """The projection, and the providers as Placement takes them."""
    said, facts = [], []
    flat = rng.random() < 0.2
    for number in range(4):
        name = f"h{number}"
        providers, used = random_tree(rng, name, flat)
        allocations = tuple(
            events.Allocation(uuid, key, amount) for uuid, of in used.items() for key, amount in of.items()
        )
        consumers = [consumer(f"{name}/instance", *allocations)] if allocations else []
        said.append(
            (f"compute_agent/{name}", report(name, *consumers, inventory=tree(name, providers=tuple(providers))))
        )
        for provider in providers:
            facts.append(
                {
                    "uuid": provider.uuid,
                    "parent": providers[provider.parent].uuid if provider.parent >= 0 else None,
                    "aggregates": provider.aggregates,
                    "traits": provider.traits,
                    "used": used.get(provider.uuid, {}),
                    "inventories": [inventory._asdict() for inventory in provider.inventories],
                    "consumer": uuid_of(f"consumer {provider.uuid}"),
                }
            )
    return fold("c1", said), facts


def random_group(rng, suffix, resourceless, uuids):
    resources = (
        ()
        if resourceless
        else tuple(
            events.ResourceAmount(one, rng.choice((1, 1, 2, 3)))
            for one in rng.sample(CLASSES, rng.choice((1, 1, 2, 3) if suffix == "" else (1, 1, 2)))
        )
    )
    # A group that asks for nothing at all cannot be said in Placement's query.
    required = tuple(trait for trait in TRAITS if rng.random() < 0.1) or ((rng.choice(TRAITS),) if resourceless else ())
    any_traits = (tuple(rng.sample(TRAITS, 2)),) if rng.random() < 0.15 else ()
    forbidden = tuple(trait for trait in TRAITS if rng.random() < 0.06 and trait not in required)
    member_of = tuple(tuple(rng.sample(AGGREGATES, rng.choice((1, 2)))) for _ in range(rng.choice((0, 0, 0, 0, 1, 2))))
    return events.ResourceGroup(
        suffix,
        resources,
        required,
        forbidden,
        any_traits,
        member_of,
        (rng.choice(AGGREGATES),) if rng.random() < 0.08 else (),
        # Placement ignores the tree of a group without resources; we do not.
        rng.choice(uuids) if rng.random() < 0.1 and not resourceless else None,
    )


def random_request(rng, uuids):
    suffixes = [f"_{number}" for number in range(rng.choice((0, 0, 1, 2, 2, 3, 4)))]
    same_subtree = ()
    if suffixes and rng.random() < 0.4:
        same_subtree = tuple(
            tuple(rng.sample(suffixes, rng.randrange(1, len(suffixes) + 1))) for _ in range(rng.choice((1, 1, 2)))
        )
    bound = {suffix for one in same_subtree for suffix in one}
    groups = [random_group(rng, suffix, suffix in bound and rng.random() < 0.3, uuids) for suffix in suffixes]
    if not any(group.resources for group in groups) or rng.random() < 0.6:
        groups.insert(0, random_group(rng, "", False, uuids))
    root_required = tuple(trait for trait in TRAITS if rng.random() < 0.05)
    return events.SchedulingRequest(
        "req-1",
        "p",
        "m1",
        {},
        {},
        tuple(groups),
        rng.choice(("none", "isolate")),
        same_subtree,
        root_required,
        tuple(trait for trait in TRAITS if rng.random() < 0.04 and trait not in root_required),
        None,
        (),
        (),
        (),
        None,
        None,
        None,
        None,
        False,
    )


def as_placement(request):
    groups = {
        group.suffix: {
            "resources": dict(group.resources),
            "required": [[trait] for trait in group.required_traits] + list(group.any_traits),
            "forbidden": group.forbidden_traits,
            "member_of": group.member_of,
            "in_tree": group.in_tree,
            "forbidden_aggregates": group.forbidden_aggregates,
        }
        for group in request.groups
    }
    return (
        "candidates",
        groups,
        request.group_policy,
        request.root_required,
        request.root_forbidden,
        request.same_subtree,
    )


def assignments(projection, request):
    """Root uuid -> our assignment, of the hosts that we find fit."""
    table = projection.table
    scope = Scope(table, [projection], InFlight(table), request, uuid_of("new"))
    filtered = FilterChain(table, Policy()).run(request, scope)
    assert len(filtered.rows) + sum(count for _, _, count in filtered.refusals) == filtered.total
    found = ((table.uuids[row], allocate(table, int(row), request)) for row in filtered.rows)
    return {uuid: assignment for uuid, assignment in found if assignment is not None}


@pytest.mark.parametrize("seed, clouds, shown", RUNS)
def test_hosts_and_assignments_are_placements(placement, seed, clouds, shown):
    rng = random.Random(seed)
    fit = refused = chosen = 0
    for _ in range(clouds):
        projection, facts = random_cloud(rng)
        loaded = placement.ask("load", facts, TRAITS, CLASSES)
        assert "error" not in loaded, loaded
        requests = [random_request(rng, [fact["uuid"] for fact in facts]) for _ in range(REQUESTS)]
        for request, reply in zip(requests, placement.ask_all(map(as_placement, requests)), strict=True):
            assert "error" not in reply, (request, reply)
            by_root = {}
            for root, allocations, mappings in reply["answer"]:
                by_root.setdefault(root, []).append((allocations, mappings))
            ours = assignments(projection, request)
            assert set(ours) == set(by_root), (request, facts, ours, by_root)
            for root, assignment in ours.items():
                mine = (
                    sorted(
                        [allocation.provider_uuid, allocation.resource_class, allocation.amount]
                        for allocation in assignment.allocations
                    ),
                    assignment.mappings,
                )
                assert mine in by_root[root], (request, facts, mine, by_root[root])
                chosen += len(by_root[root]) > 1
            fit += len(ours)
            refused += 4 - len(ours)
    counts = (fit, refused, chosen)
    assert all(found > least for found, least in zip(counts, shown, strict=True)), counts
