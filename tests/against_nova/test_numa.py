"""NUMA fitting and the NUMATopologyFilter against nova's own, on random hosts, guests and requests.

Nova answers as it is and without its memory (tests/against_nova/nova_numa.py). Ours is the latter in every case;
where nova as it is says something else, it went by what it remembered of another node, which docs/differences tells of.
"""

import random
from collections import Counter

import pytest

from nova_sched import filters
from nova_sched.filters import HostView
from nova_sched.projection.devices import HostDevices
from nova_sched.request.from_spec import request_from
from nova_sched.selection.limits import numa_limits
from nova_sched.selection.policy import Policy
from tests.against_nova.clouds import fold
from tests.against_nova.conftest import running_peer
from tests.against_nova.numa_cases import (
    capacity_of,
    facts_of,
    fit,
    guest_of,
    random_asked,
    random_cells,
    random_host,
    random_pools,
    random_request,
    random_uses,
    report_of,
    spec_of,
)
from tests.against_nova.shrink import shrink

pytestmark = pytest.mark.nova

SEED = 34
HOSTS, REQUESTS = 1000, 10
CLOUDS, HOSTS_OF_CLOUD, ASKED_OF_CLOUD = 50, 15, 14
FILTER = filters.BUILT_IN["NUMATopologyFilter"]
POLICY = Policy(enabled_filters=(FILTER.name,))


@pytest.fixture(scope="module")
def nova_numa():
    """The real nova, asked for NUMA topologies."""
    yield from running_peer("nova", "nova_numa.py")


# --- fit -----------------------------------------------------------------------------------------------------------


def random_case(rng):
    cells = random_cells(rng)
    return {
        "cells": cells,
        "pools": random_pools(rng, cells),
        "uses": random_uses(rng, cells, rng.randrange(6)),
        "requests": [random_request(rng, cells) for _ in range(REQUESTS)],
    }


def room_of(devices):
    return [[use.shared_cpus, use.memory_mb, sorted(use.pinned), list(use.pages)] for use in devices.cell_uses]


def placement_of(uses):
    return uses and [[use.cell, sorted(map(list, use.pins)), sorted(use.reserved_cpus), use.page_kb] for use in uses]


def unordered(placement):
    """A placement without which CPU of the guest has which of a core: nova takes them as its sets have them."""
    return placement and [[cell, len(pins), page_kb] for cell, pins, _, page_kb in placement]


def differences(case, reply):
    """(what differs from nova by its rules, or None; Counter of how we and nova as it is agree)."""
    assert "error" not in reply, reply
    devices, counts = HostDevices(capacity_of(case["cells"], case["pools"])), Counter()
    devices = devices.with_guests([guest_of(case["uses"])])
    if room_of(devices) != reply["answer"]["room"]:
        return f"room {room_of(devices)}, nova's {reply['answer']['room']}", counts
    for request, (as_it_is, by_rules) in zip(case["requests"], reply["answer"]["answers"], strict=True):
        place = fit(devices, request)
        guest = guest_of(place.uses or ())
        if devices.breach(guest, request["cpu_ratio"], request["ram_ratio"]):
            return f"{place} breaches what the fold checks: {devices.breach(guest, 1.0, 1.0)}", counts
        counts["fits" if place.uses else place.reason] += 1
        if by_rules.get("stage") == "use":
            # A CPU for the emulator whose core another guest has: only where idle threads were promised.
            counts["nova cannot use its own placement"] += 1
            isolated = all(cell["thread_policy"] == "isolate" for cell in request["cells"])
            if not isolated or request["emulator"] != "isolate":
                return f"nova: {by_rules}", counts
            continue
        if "error" in by_rules:
            counts[f"nova falls over: {by_rules['error']}"] += 1
            continue
        said = {"placement": placement_of(place.uses), "room": place.uses and room_of(devices.with_guests([guest]))}
        if said != by_rules:
            return f"{said} ({place.reason}), nova's {by_rules}", counts
        counts[_agreement(said["placement"], as_it_is)] += 1
    return None, counts


def _agreement(ours, as_it_is):
    """How we agree with nova as it is."""
    if "error" in as_it_is:
        return f"as it is: {as_it_is['error']} on {as_it_is['stage']}"
    theirs = as_it_is["placement"]
    if (ours is None) != (theirs is None):
        return f"as it is: {'refused' if theirs is None else 'taken'} against its rules"
    if ours == theirs:
        return "as it is: the same"
    return "as it is: other CPUs" if unordered(ours) == unordered(theirs) else "as it is: other nodes or pages"


def test_fits_are_novas(nova_numa, record_property):
    rng, counts = random.Random(SEED), Counter()
    for _ in range(HOSTS):
        case = random_case(rng)
        fault, found = differences(case, nova_numa.ask("fits", case))
        if fault:
            smallest = shrink(case, lambda one: differences(one, nova_numa.ask("fits", one))[0] is not None)
            fault, _ = differences(smallest, nova_numa.ask("fits", smallest))
            pytest.fail(f"seed {SEED}: {fault}\n{smallest}")
        counts += found
    print(f"seed {SEED}:", dict(counts))
    asked = HOSTS * REQUESTS
    assert asked >= 10_000
    assert 0.2 * asked < counts["fits"] < 0.8 * asked, counts


# --- the filter ----------------------------------------------------------------------------------------------------


def filter_differences(nova_numa, case):
    """(what differs from nova by its rules, or None; Counter of verdicts)."""
    specs, counts = [spec_of(asked) for asked in case["requests"]], Counter()
    reply = nova_numa.ask(
        "passes", [spec.obj_to_primitive() for spec in specs], [facts_of(host) for host in case["hosts"]]
    )
    assert "error" not in reply, reply
    names = [f"h{number}" for number in range(len(case["hosts"]))]
    table = fold("c1", [report_of(name, host) for name, host in zip(names, case["hosts"], strict=True)]).table
    rows = [table.row_of_host[name] for name in names]
    for spec, answers in zip(specs, reply["answer"], strict=True):
        request = request_from(spec, "req-1")
        reasons = dict.fromkeys(rows)
        for refusal in FILTER.refusals(HostView(table, table.roots()), request, POLICY, None):
            reasons.update(dict.fromkeys(table.roots()[refusal.hosts].tolist(), refusal.reason))
        for row, (as_it_is, by_rules, limits) in zip(rows, answers, strict=True):
            passes = reasons[row] is None
            if isinstance(by_rules, str):
                counts[f"nova falls over: {by_rules}"] += 1
                continue
            if passes != by_rules:
                return f"{table.host_names[row]}: {reasons[row]}, nova {by_rules} for {request}", counts
            counts[reasons[row]] += 1
            counts["as it is: " + ("the same" if as_it_is == by_rules else f"{as_it_is}")] += 1
            if passes and said_of(numa_limits(table, row, request, POLICY)) != limits:
                return f"limits {numa_limits(table, row, request, POLICY)}, nova's {limits}", counts
    return None, counts


def said_of(limits):
    return limits and [
        limits.cpu_ratio,
        limits.ram_ratio,
        [sorted(limits.physnets), limits.tunneled] if limits.networks else None,
    ]


def test_verdicts_and_limits_are_novas(nova_numa):
    rng, counts = random.Random(SEED + 1), Counter()
    for _ in range(CLOUDS):
        case = {
            "hosts": [random_host(rng) for _ in range(HOSTS_OF_CLOUD)],
            "requests": [random_asked(rng) for _ in range(ASKED_OF_CLOUD)],
        }
        fault, found = filter_differences(nova_numa, case)
        if fault:
            smallest = shrink(case, lambda one: filter_differences(nova_numa, one)[0] is not None)
            pytest.fail(f"seed {SEED + 1}: {filter_differences(nova_numa, smallest)[0]}\n{smallest}")
        counts += found
    print(f"seed {SEED + 1}:", dict(counts))
    asked = CLOUDS * HOSTS_OF_CLOUD * ASKED_OF_CLOUD
    assert asked >= 10_000
    assert 0.2 * asked < counts[None] < 0.8 * asked, counts
    assert counts["as it is: the same"] > 0.99 * asked, counts


def test_rebuilds_do_not_meet_it(nova_numa):
    assert nova_numa.ask("on_rebuild")["answer"] == FILTER.on_rebuild
