"""PCI devices against nova's own stats and PciPassthroughFilter, on random pools, requests and assignments.

One difference is ours: an assignment of Placement whose providers serve a request in part only is refused here; nova
takes what there is of it, and the instance gets fewer devices than it asked for.
"""

import itertools
import random
from collections import Counter

import numpy as np
import pytest

from nova_sched import filters
from nova_sched.filters import HostView
from nova_sched.fit.pci import is_assigned, place, serving, supports
from nova_sched.fit.providers import allocate
from nova_sched.projection.devices import Capacity, HostDevices
from nova_sched.request.from_spec import request_from
from nova_sched.selection.policy import Policy
from rpc_api import events, objects
from rpc_api.digest import pool_key
from tests.against_nova.clouds import fold
from tests.against_nova.conftest import running_peer
from tests.against_nova.shrink import shrink
from tests.builders import consumer, flavor_of, group, inventory_of, report, request, request_spec, tree, uuid_of

pytestmark = pytest.mark.nova

SEED = 27
CASES = 12_000
CLOUDS, HOSTS, REQUESTS = 30, 12, 36
CHUNK = 1_000
FILTER = filters.BUILT_IN["PciPassthroughFilter"]

VENDORS, PRODUCTS = ("8086", "10DE", "15b3"), ("1520", "A1b2", "0000")
TAGS = {
    "dev_type": ("type-PCI", "type-PCI", "type-VF", "type-VF", "type-PF", "vdpa"),
    "physical_network": ("net-A", "net-b", None),
    "remote_managed": ("true", "false", "True", "no", "1"),
    "live_migratable": ("true", "false", "True"),
    "parent_ifname": ("eth0", "eth1"),
    "managed": ("true", "false"),
    "trusted": ("true", "false"),
    "resource_class": ("X",),
    "traits": ("T",),
}
POLICIES = (None, None, "legacy", "required", "preferred", "socket")
IDS = tuple(uuid_of(f"request {number}") for number in range(3))


@pytest.fixture(scope="module")
def nova_pci():
    """Nova's PCI classes."""
    yield from running_peer("nova", "nova_pci.py")


# --- cases -----------------------------------------------------------------------------------------------------------


def random_pools(rng, uuids):
    """Pools that differ in more than their count; each provider has one, seldom two."""
    pools, keys = [], set()
    for _ in range(rng.choice((0, 1, 2, 3, 4, 4, 6))):
        tags = {"dev_type": rng.choice(TAGS["dev_type"])}
        tags |= {name: rng.choice(TAGS[name]) for name in TAGS if rng.random() < 0.25}
        if uuids and rng.random() < 0.8:
            tags["rp_uuid"] = rng.choice(uuids)
            if rng.random() < 0.97:
                uuids = [uuid for uuid in uuids if uuid != tags["rp_uuid"]]
        count = rng.randrange(1, 9)
        pool = {
            "vendor_id": rng.choice(VENDORS),
            "product_id": rng.choice(PRODUCTS),
            "numa_node": rng.choice((None, 0, 1, 2)),
            "tags": tags,
            "count": count,
            "used": rng.choice((0, 0, 0, rng.randrange(count + 1))),
        }
        if pool_key(pool_of(pool)) not in keys:
            keys.add(pool_key(pool_of(pool)))
            pools.append(pool)
    return pools


def random_spec(rng, pools):
    """Some properties of a pool, or of none; in other letters now and then."""
    known = {
        "vendor_id": rng.choice(VENDORS),
        "product_id": rng.choice(PRODUCTS),
        "dev_type": rng.choice(TAGS["dev_type"]),
    }
    if pools and rng.random() < 0.95:
        pool = rng.choice(pools)
        known = {"vendor_id": pool["vendor_id"], "product_id": pool["product_id"], **pool["tags"]}
    spec = {name: value for name, value in known.items() if name != "rp_uuid" and rng.random() < 0.45}
    if rng.random() < 0.05:
        name = rng.choice([*TAGS, "numa_node", "rp_uuid"])
        spec[name] = rng.choice((None, *TAGS.get(name, ("0", "1"))))
    if rng.random() < 0.2:
        spec = {
            name: value.swapcase() if value and name not in ("dev_type", "live_migratable") else value
            for name, value in spec.items()
        }
    return spec


def random_request(rng, pools, number):
    return {
        "count": rng.choice((0, 1, 1, 1, 1, 1, 2, 2, 3, 5)),
        "policy": rng.choice(POLICIES),
        "id": IDS[number],
        "spec": [random_spec(rng, pools) for _ in range(rng.choice((1, 1, 1, 2)))],
        "alias": rng.choice((None, "nic", "nic")),
    }


def random_case(rng):
    uuids = rng.choice(([], ["p0", "p1", "p2"]))
    pools = random_pools(rng, uuids)
    requests = [random_request(rng, pools, number) for number in range(rng.choice((1, 1, 1, 2, 3)))]
    mappings = None
    if uuids and rng.random() < 0.7:
        mappings = {"": ["root"]}
        # Mostly providers that could serve it: those of the pools.
        uuids = [pool["tags"]["rp_uuid"] for pool in pools if "rp_uuid" in pool["tags"]] * 2 + ["p0"]
        for one in requests:
            usual = rng.random() < 0.9
            mappings |= {
                f"{one['id']}-{number}": [rng.choice(uuids if usual else ["p0", "p9"])]
                for number in range(one["count"] if usual else rng.randrange(4))
            }
    elif rng.random() < 0.1:
        mappings = {}
        requests[0]["spec"][0]["rp_uuids"] = rng.choice(("p0", "p0,p0", "p0,p1", "p9", ""))
    return {
        "pools": pools,
        "sockets": rng.choice(([0, 0, 1], [0, 1, 2], [0, None, 1], [None, None, None])),
        "cells": rng.choice((None, None, None, [0], [1], [2], [0, 1], [1, 2])),
        "requests": requests,
        "mappings": mappings,
    }


# --- our side --------------------------------------------------------------------------------------------------------


def pool_of(facts):
    return events.PCIPool(facts["vendor_id"], facts["product_id"], facts["numa_node"], facts["tags"], facts["count"])


def devices_of(case):
    cells = tuple(
        events.HostNUMACell(number, socket, (), (), (), 0, ()) for number, socket in enumerate(case.get("sockets", ()))
    )
    return HostDevices(
        Capacity(cells, tuple(map(pool_of, case["pools"]))), pool_uses=tuple(one["used"] for one in case["pools"])
    )


def requests_of(case):
    return tuple(
        events.PCIRequest(one["count"], tuple(one["spec"]), one["alias"], one["id"], None, one["policy"])
        for one in case["requests"]
    )


def left_of(devices):
    """What is free, as nova says it: pools with devices, in no order."""
    left = []
    for number, pool in enumerate(devices.pools):
        if devices.free_in_pool(number) > 0:
            left.append(
                {
                    "vendor_id": pool.vendor_id,
                    "product_id": pool.product_id,
                    "numa_node": pool.numa_node,
                    **pool.tags,
                    "count": devices.free_in_pool(number),
                }
            )
    return comparable(left)


def comparable(pools):
    return sorted(sorted((name, str(value)) for name, value in pool.items()) for pool in pools)


def difference(case, answer):
    """What is not as nova has it, None where all is; ``answer`` is the peer's."""
    devices, requests = devices_of(case), requests_of(case)
    uses = place(devices, requests, case["cells"], case["mappings"])
    if answer is None or answer[1] < answer[2]:
        return None if uses is None else f"placed {uses}, nova {answer}"
    if uses is None:
        return f"refused, nova left {answer[0]}"
    guest = events.Guest((), uses, {})
    breach = devices.breach(guest, 1.0, 1.0)
    left = left_of(devices.with_guests([guest]))
    return breach or (None if left == comparable(answer[0]) else f"left {left}, nova {answer[0]}")


# --- the stats -------------------------------------------------------------------------------------------------------


def asked(peer, name, cases):
    for start in range(0, len(cases), CHUNK):
        chunk = cases[start : start + CHUNK]
        reply = peer.ask(name, chunk)
        assert "error" not in reply, reply
        yield from zip(chunk, reply["answer"], strict=True)


def smallest(peer, name, case, differs):
    def still(smaller):
        reply = peer.ask(name, [smaller])
        return "error" not in reply and differs(smaller, reply["answer"][0])

    return shrink(case, still)


def test_devices_are_taken_as_nova_takes_them(nova_pci):
    rng = random.Random(SEED)
    cases = [random_case(rng) for _ in range(CASES)]
    seen = Counter()
    for case, answer in asked(nova_pci, "placed", cases):
        fault = difference(case, answer)
        if fault is not None:
            case = smallest(nova_pci, "placed", case, difference)
            pytest.fail(f"seed {SEED}: {case}: {difference(case, nova_pci.ask('placed', [case])['answer'][0])}")
        verdict = "refused" if answer is None else "in part" if answer[1] < answer[2] else "taken"
        seen[verdict] += 1
        seen[verdict, "assigned" if case["mappings"] else "free", "near" if case["cells"] else "anywhere"] += 1
        if case["cells"] and len(case["requests"]) == 1:
            seen[verdict, case["requests"][0]["policy"]] += 1
    print(f"seed {SEED}:", seen)
    assert seen["taken"] > CASES // 4 and seen["refused"] > CASES // 4 and 0 < seen["in part"] < CASES // 20, seen
    assert all(
        seen[verdict, how, where] > 100
        for verdict in ("taken", "refused")
        for how in ("assigned", "free")
        for where in ("near", "anywhere")
    ), seen
    assert all(seen[verdict, policy] > 50 for verdict in ("taken", "refused") for policy in POLICIES), seen


# --- the filter ------------------------------------------------------------------------------------------------------


def provider(uuid, parent, total):
    return events.Provider(uuid, uuid, parent, (inventory_of("CUSTOM_NIC", total),) if total else (), (), ())


def random_cloud(rng):
    """A table of hosts with providers of NICs, and the facts of each host: its pools,
    and what is left of its providers."""
    said, hosts = [], []
    for number in range(HOSTS):
        name = f"h{number}"
        uuids = [uuid_of(f"{name}/{place}") for place in range(rng.choice((0, 2, 3)))]
        pools = random_pools(rng, uuids)
        totals, used = {}, {}
        for uuid in uuids:
            mine = [pool for pool in pools if pool["tags"].get("rp_uuid") == uuid]
            totals[uuid] = mine[0]["count"] if mine else 1
            # What Placement and the host say of a NIC need not agree.
            used[uuid] = mine[0]["used"] if mine and rng.random() < 0.8 else rng.randrange(totals[uuid] + 1)
        allocations = tuple(events.Allocation(uuid, "CUSTOM_NIC", amount) for uuid, amount in used.items() if amount)
        consumers = [consumer(f"{name} runs", *allocations)] if allocations else []
        providers = [provider(uuid_of(name), -1, 0), *(provider(uuid, 0, total) for uuid, total in totals.items())]
        said.append(
            (f"compute_agent/{name}", report(name, *consumers, inventory=tree(name, providers=tuple(providers))))
        )
        hosts.append({"name": name, "pools": pools, "free": {uuid: totals[uuid] - used[uuid] for uuid in uuids}})
    table = fold("c1", said).table
    for host in hosts:
        table.row_devices[table.row_of_host[host["name"]]] = devices_of(host) if host["pools"] else None
    return table, hosts


def random_ask(rng, hosts):
    pools = rng.choice(hosts)["pools"]
    requests = [random_request(rng, pools, number) for number in range(rng.choice((0, 1, 1, 1, 2, 2)))]
    if rng.random() < 0.5:
        return {"requests": requests, "assigned": False}
    for one in requests:
        one["count"] = rng.choice((1, 1, 2, 3) if len(requests) == 1 else (1, 1, 2))
        one["spec"] = one["spec"][:1]
        if rng.random() < 0.5:
            one["spec"] = [{}]
    return {"requests": requests, "assigned": True}


def candidates_of(ask, host):
    """What Placement would offer of a host: for each group of an alias a provider with room."""
    if not ask["assigned"]:
        return [{"": ["root"]}]
    free, found = host["free"], []
    aliases = [one for one in ask["requests"] if one["alias"]]
    for chosen in itertools.product(
        *(itertools.combinations_with_replacement(free, alias["count"]) for alias in aliases)
    ):
        taken = Counter(itertools.chain(*chosen))
        if all(free[uuid] >= amount for uuid, amount in taken.items()):
            found.append(
                {"": ["root"]}
                | {
                    f"{one['id']}-{number}": [uuid]
                    for one, uuids in zip(aliases, chosen, strict=True)
                    for number, uuid in enumerate(uuids)
                }
            )
    return found


def scheduling_request(ask):
    groups = tuple(
        group(f"{device['id']}-{number}", CUSTOM_NIC=1)
        for device in ask["requests"]
        if device["alias"] and ask["assigned"]
        for number in range(device["count"])
    )
    return request(groups=groups, group_policy="none", pci=requests_of(ask))


def passed(table, request):
    """Host -> whether the filter lets it through and, where Placement assigns devices,
    whether an assignment will do."""
    hosts = HostView(table, table.roots())
    refused = np.zeros(len(hosts), bool)
    for refusal in FILTER.refusals(hosts, request, Policy(), None):
        refused |= refusal.hosts
    verdicts = {}
    for row, one in zip(hosts.rows.tolist(), refused.tolist(), strict=True):
        devices = table.devices(row)
        verdicts[table.host_names[row]] = not one and (
            not request.groups
            or allocate(
                table,
                row,
                request,
                lambda made: supports(devices, request.pci, None, made.mappings),
                serving(devices, request.pci),
            )
            is not None
        )
    return verdicts


def test_hosts_pass_the_filter_as_in_nova(nova_pci):
    rng = random.Random(SEED + 1)
    cases, ours = [], []
    for _ in range(CLOUDS):
        table, hosts = random_cloud(rng)
        for ask in (random_ask(rng, hosts) for _ in range(REQUESTS)):
            verdicts = passed(table, scheduling_request(ask))
            for host in hosts:
                candidates = candidates_of(ask, host)
                # A host without a candidate does not come to nova's filters.
                if candidates:
                    cases.append({**ask, "pools": host["pools"], "candidates": candidates, "free": host["free"]})
                    ours.append(verdicts[host["name"]])
    assert len(cases) > 10_000, len(cases)
    seen = Counter()
    for (case, (passes, whole)), verdict in zip(asked(nova_pci, "filtered", cases), ours, strict=True):
        # Nova lets a host through for no request at all before it looks at candidates.
        wanted = whole or not case["requests"]
        assert verdict == wanted, f"seed {SEED + 1}: nova {passes}, in full {whole}: {case}"
        seen[verdict, case["assigned"], min(len(case["candidates"]), 2)] += 1
        seen["in part"] += passes and not wanted
    print(f"seed {SEED + 1}:", seen)
    assert all(
        seen[verdict, *kind] > 300 for verdict in (True, False) for kind in ((False, 1), (True, 1), (True, 2))
    ), seen
    assert 0 < seen["in part"] < len(cases) // 20, seen


# --- physical functions and their virtual functions ------------------------------------------------------------------

CARDS = 3_000


def random_cards(rng):
    """Cards of a host, the devices of them that are in use, and those of these that are free again."""
    cards, used = [], []
    for number in range(rng.choice((1, 1, 2, 3))):
        address = f"0000:8{number}:00.0"
        cards.append((address, rng.choice(("type-VF", "type-VF", "vdpa")), rng.randrange(5)))
        parts = [f"{address[:-1]}{part}" for part in range(1, cards[-1][2] + 1)]
        used += rng.choice(([], [], [address], rng.sample(parts, rng.randrange(len(parts) + 1))))
    return {"cards": cards, "used": used, "freed": rng.sample(used, rng.randrange(len(used) + 1))}


def random_card_request(rng, cards, number):
    spec = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        wanted = {"vendor_id": "8086"}
        if rng.random() < 0.8:
            wanted["dev_type"] = rng.choice(("type-PF", "type-VF", "vdpa"))
        if rng.random() < 0.4:
            wanted["address"] = rng.choice(cards)[0]
        spec.append(wanted)
    return {
        "count": rng.choice((1, 1, 1, 2, 3)),
        "policy": "legacy",
        "id": IDS[number],
        "spec": spec,
        "alias": rng.choice((None, "nic")),
    }


def card_pool(facts):
    fields = ("vendor_id", "product_id", "numa_node", "count")
    tags = {name: value for name, value in facts.items() if name not in fields}
    return events.PCIPool(facts["vendor_id"], facts["product_id"], facts["numa_node"], tags, facts["count"])


def card_uses(pools, cards, used):
    """How many devices of each pool are in use."""
    kinds = {address: kind for address, kind, _ in cards}
    taken = Counter()
    for address in used:
        card = address[:-1] + "0"
        taken[card, "type-PF" if address == card else kinds[card]] += 1
    return tuple(taken[pool.tags["address"], pool.tags["dev_type"]] for pool in pools)


def test_a_card_is_given_away_as_nova_consumes_it(nova_pci):
    """A physical function excludes its virtual functions and the reverse: in use, within one instance, in a claim."""
    rng = random.Random(SEED + 3)
    cases = []
    for _ in range(CARDS):
        case = random_cards(rng)
        count = rng.choice((1, 1, 2, 2, 3))
        cases.append({**case, "requests": [random_card_request(rng, case["cards"], number) for number in range(count)]})
    seen = Counter()
    for case, (every, used, freed, taken, left) in asked(nova_pci, "carded", cases):
        capacity = Capacity((), tuple(map(card_pool, every)), card_is_one_device=True)
        before = HostDevices(capacity, pool_uses=card_uses(capacity.pools, case["cards"], case["used"]))
        assert left_of(before) == comparable(used), case
        rest = [address for address in case["used"] if address not in case["freed"]]
        now = HostDevices(capacity, pool_uses=card_uses(capacity.pools, case["cards"], rest))
        assert left_of(now) == comparable(freed), case
        uses = place(now, requests_of(case))
        wanted = sum(one["count"] for one in case["requests"])
        if case["freed"]:
            # Nova appends a pool again that was used up, so that requests take from other pools than ours.
            seen["freed"] += 1
        elif taken == "broken":
            seen["broken"] += 1
        elif taken is None or taken < wanted:
            assert uses is None, (case, uses, taken)
            seen["refused" if taken is None else "in part"] += 1
            apart = HostDevices(Capacity((), capacity.pools), pool_uses=now.pool_uses)
            seen["refused for the card"] += place(apart, requests_of(case)) is not None
        else:
            assert uses is not None, (case, taken)
            guest = events.Guest((), uses, {})
            assert now.breach(guest, 1.0, 1.0) is None
            assert left_of(now.with_guests([guest])) == comparable(left), case
            seen["taken"] += 1
    print(f"seed {SEED + 3}:", seen)
    assert min(seen["taken"], seen["refused"], seen["refused for the card"]) > CARDS // 20, seen


# --- what nova-api makes of aliases -----------------------------------------------------------------------------------


def random_request_spec(rng):
    requests = [
        objects.InstancePCIRequest(
            count=rng.randrange(1, 4),
            alias_name=rng.choice((None, "nic", "gpu")),
            request_id=IDS[number],
            numa_policy="legacy",
            requester_id=None,
            is_new=False,
            spec=[
                dict(
                    (
                        ("vendor_id", rng.choice(VENDORS)),
                        ("product_id", rng.choice(PRODUCTS)),
                        *rng.sample(
                            (
                                ("resource_class", "my-nic"),
                                ("traits", "custom_a,hw_b,HW_CPU_X86_AVX"),
                                ("dev_type", "type-VF"),
                            ),
                            rng.randrange(4),
                        ),
                    )
                )
            ],
        )
        for number in range(rng.randrange(1, 4))
    ]
    return request_spec(
        uuid_of("new"),
        flavor=flavor_of(1, 1, 1, rng.choice(({}, {"group_policy": "isolate"})), name="m1"),
        image=objects.ImageMeta(properties=objects.ImageMetaProps()),
        scheduler_hints={},
        requested_resources=[],
        pci_requests=objects.InstancePCIRequests(instance_uuid=uuid_of("new"), requests=requests),
    )


def test_groups_of_aliases_are_novas(nova_pci):
    """nova-api and the conductor add them; the scheduler takes them over."""
    rng = random.Random(SEED + 2)
    specs = [random_request_spec(rng) for _ in range(200)]
    reply = nova_pci.ask("grouped", [spec.obj_to_primitive() for spec in specs])
    assert "error" not in reply, reply
    aliases = 0
    for sent, groups, policy in reply["answer"]:
        request = request_from(objects.RequestSpec.obj_from_primitive(sent), "req-1")
        assert {
            group.suffix: [dict(group.resources), list(group.required_traits)] for group in request.groups
        } == groups
        assert request.group_policy == (policy or "")
        suffixes = [group.suffix for group in request.groups]
        for one in request.pci:
            assert is_assigned(one, suffixes) == (one.alias_name is not None)
        aliases += len(groups) - 1
    assert aliases > 200
