"""Pools: providers that serve the hosts of their aggregates, in filters, fit, claims, weighers and kept results."""

import random

import numpy as np
import pytest

from nova_sched.filters import HostView
from nova_sched.filters.resources import ResourceFilter, refusal_of_host
from nova_sched.fit.providers import allocate
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.projection import Projection
from nova_sched.projection.topology import SHARES, pools_of
from nova_sched.projection.world import World
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.decide import claim_of, decide
from nova_sched.selection.policy import Policy
from nova_sched.weighers.resources import DiskWeigher
from rpc_api import events
from rpc_api.levels import LEVEL
from tests.builders import (
    Cell,
    claim,
    consumer_put,
    created,
    group,
    inventory_of,
    of,
    provider,
    put,
    put_aggregates,
    put_inventories,
    put_traits,
    released,
    report,
    request,
    tree,
    uuid_of,
)

AGG = uuid_of("agg")


def host(name, *children, aggregates=(AGG,), disk=None):
    inventories = [inventory_of("VCPU", 8), inventory_of("MEMORY_MB", 8192)]
    if disk is not None:
        inventories.append(inventory_of("DISK_GB", disk))
    base = tree(name, *children, inventories=inventories)
    root, *rest = base.providers
    return report(name, inventory=base._replace(providers=(root._replace(aggregates=aggregates), *rest)))


def pool(name="pool", total=100, traits=(SHARES,), aggregates=("agg",)):
    return [
        created(name),
        put_inventories(name, inventory_of("DISK_GB", total)),
        put_traits(name, *traits),
        put_aggregates(name, *aggregates),
    ]


def cell_of(*said):
    return Cell(events.LevelPinned(LEVEL), *said)


def passing(cell, asked):
    """Names of the hosts that the filter lets pass; both of its forms must agree."""
    table = cell.projection.table
    roots = table.roots()
    refused = np.zeros(len(roots), bool)
    for refusal in ResourceFilter().refusals(HostView(table, roots), asked, Policy(), None):
        refused |= refusal.hosts
    one_by_one = [refusal_of_host(table, row, asked) is not None for row in roots.tolist()]
    assert one_by_one == refused.tolist()
    return {table.host_names[row] for row in roots[~refused].tolist()}


VM = (group(VCPU=2, DISK_GB=20),)
SSD = pool(traits=(SHARES, "STORAGE_DISK_SSD"))
FAST = (group(member_of=[["fast"]], VCPU=2, DISK_GB=20),)
NOT_SLOW = (group(not_member_of=["slow"], VCPU=2, DISK_GB=20),)
SERVED = [
    # (what is there, groups that are asked for, hosts that pass)
    ("a pool for one of two", [host("a"), host("b", aggregates=()), *pool()], VM, {"a"}),
    ("its own disk is enough", [host("a", disk=50), host("b", aggregates=()), *pool()], VM, {"a"}),
    ("a pool that is too small", [host("a"), *pool(total=10)], VM, set()),
    ("no pool without the trait", [host("a"), *pool(traits=())], VM, set()),
    ("no pool of another aggregate", [host("a"), *pool(aggregates=("other",))], VM, set()),
    (
        "a child is in the aggregate",
        [host("a", provider("numa", parent=0, aggregates=("agg",)), aggregates=()), *pool()],
        VM,
        {"a"},
    ),
    ("a pool that is a child", [host("a"), created("rack"), created("shelf", "rack"), *pool("shelf")[1:]], VM, {"a"}),
    ("a group of its own", [host("a"), *pool()], (group(VCPU=2), group("1", DISK_GB=20)), {"a"}),
    ("all of one provider", [host("a"), *pool()], (group("1", VCPU=2, DISK_GB=20),), set()),
    ("a trait of the pool", [host("a"), *SSD], (group("1", required=["STORAGE_DISK_SSD"], DISK_GB=20),), {"a"}),
    (
        "a trait that the pool may not have",
        [host("a"), *SSD],
        (group(forbidden=["STORAGE_DISK_SSD"], VCPU=2, DISK_GB=20),),
        set(),
    ),
    ("the tree is named", [host("a"), *pool()], (group(in_tree="a", VCPU=2, DISK_GB=20),), set()),
    (
        "the tree of the pool is named, for a group of its own",
        [host("a", disk=50), host("b", aggregates=(), disk=50), *pool()],
        (group(VCPU=2), group("1", in_tree="pool", DISK_GB=20)),
        {"a"},
    ),
    ("the tree is named for a group of its own", [host("a"), *pool()], (group("1", in_tree="a", DISK_GB=20),), set()),
    (
        "the host must be a member",
        [host("a", aggregates=(AGG, uuid_of("fast"))), *pool()],
        (group(member_of=[["fast"]], VCPU=2, DISK_GB=20),),
        set(),
    ),
    (
        "the pool is one",
        [host("a", aggregates=(AGG, uuid_of("fast"))), *pool(aggregates=("agg", "fast"))],
        (group(member_of=[["fast"]], VCPU=2, DISK_GB=20),),
        {"a"},
    ),
    (
        "a forbidden aggregate of the host",
        [host("a", aggregates=(AGG, uuid_of("slow"))), *pool()],
        (group(not_member_of=["slow"], VCPU=2, DISK_GB=20),),
        set(),
    ),
    ("the host itself for what takes nothing", [host("a"), *SSD], (group(required=["STORAGE_DISK_SSD"]),), set()),
]


@pytest.mark.parametrize("said, groups, wanted", [row[1:] for row in SERVED], ids=[row[0] for row in SERVED])
def test_a_pool_serves_hosts(said, groups, wanted):
    cell = cell_of(*said)
    asked = request(*groups)
    assert passing(cell, asked) == wanted
    table = cell.projection.table
    fit = {table.host_names[row] for row in table.roots().tolist() if allocate(table, row, asked) is not None}
    assert fit == wanted


def test_what_is_claimed_of_a_pool_is_used_there():
    cell = cell_of(host("a"), host("b"), *pool(total=30))
    asked = request(*VM)
    (row, _) = cell.projection.table.roots().tolist()
    found = allocate(cell.projection.table, row, asked)
    assert {one[1] for one in found.allocations} == {"VCPU", "DISK_GB"}
    held = claim("vm", "a", *found.allocations)
    assert cell.say(held) == "accepted"
    assert cell.used("pool", "DISK_GB") == 20
    assert passing(cell, asked) == set()
    assert cell.say(claim("vm-2", "b", of("b", 2), of("pool", 20, "DISK_GB"))) == "DISK_GB"
    assert cell.say(released("vm")) == "ok"
    assert cell.used("pool", "DISK_GB") == 0 and passing(cell, asked) == {"a", "b"}


def test_the_disk_of_a_pool_is_weighed():
    cell = cell_of(host("a"), host("b", aggregates=(), disk=30), *pool(total=100))
    table = cell.projection.table
    rows = table.roots()
    names = [table.host_names[row] for row in rows.tolist()]
    free = dict(zip(names, DiskWeigher().raw(table, rows, None, None, None).tolist(), strict=True))
    assert free == {"a": 100.0, "b": 30.0}
    cell.say(put(consumer_put("volume", of("pool", 80, "DISK_GB"))))
    many = np.repeat(rows, 20)
    assert DiskWeigher().raw(table, many, None, None, None).tolist() == np.repeat([20.0, 30.0], 20).tolist()


def world_of(table, projection):
    return World(table, {projection.cell: projection}, InFlight(table))


@pytest.mark.parametrize("seed", range(6))
def test_kept_results_are_exact_while_pools_fill(seed):
    """A chain that keeps its results decides as a new one, after each claim, write and release."""
    draw = random.Random(seed)
    aggregates = [("agg", "agg-2"), ("agg",), ("agg-2",)]
    said = []
    for number in range(8):
        names = draw.choice(aggregates)
        said.append(host(f"h{number}", aggregates=tuple(map(uuid_of, names)), disk=draw.choice((None, 25))))
    said += [*pool("p1", 60, aggregates=("agg",)), *pool("p2", 45, aggregates=("agg-2",))]
    cell = cell_of(*said)
    projection, policy = cell.projection, Policy()
    world = world_of(projection.table, projection)
    kept = FilterChain(projection.table, policy)
    shapes = [request(group(VCPU=1, DISK_GB=amount)) for amount in (5, 20, 30)]
    for step in range(40):
        asked = draw.choice(shapes)
        new = decide(world, FilterChain(projection.table, policy), asked, uuid_of(f"vm{step}"), policy, step)
        assert decide(world, kept, asked, uuid_of(f"vm{step}"), policy, step) == new
        what = draw.random()
        if new.candidates and what < 0.7:
            proposed = claim_of(uuid_of(f"claim{step}"), uuid_of(f"vm{step}"), asked, new.candidates[0])
            assert cell.say(proposed, by="scheduler/one") == "accepted"
        elif what < 0.85:
            cell.say(put(consumer_put("volume", of(draw.choice(("p1", "p2")), draw.choice((1, 10, 20)), "DISK_GB"))))
        elif projection.consumers:
            consumer = draw.choice(sorted(projection.consumers))
            for entry in projection.consumers[consumer]:
                if entry.claim_uuid:
                    cell.say(events.ClaimReleased(consumer, entry.claim_uuid, ""), by="scheduler/one")


def test_pools_are_those_of_the_cell():
    cell = cell_of(host("a"), *pool())
    other = Projection("cell2", cell.projection.table)
    assert other.table is cell.projection.table
    assert list(pools_of(cell.projection.table).of_host.values()) == [(cell.projection.trees[uuid_of("pool")].root,)]
