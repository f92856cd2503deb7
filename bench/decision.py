"""How long one decision takes: filters, weighers, the chosen host, two alternates, and the claim put in flight.

Examples:
  python bench/decision.py
  python bench/decision.py --hosts 10000 --numa 2 --requests 2000
  python bench/decision.py --group 100000 --policy anti-affinity --requests 100
"""

import argparse
import json
import random
import statistics
import time
import uuid

from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.projection import Projection
from nova_sched.projection.world import World
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.decide import decide
from nova_sched.selection.draw import seed_of
from nova_sched.selection.needed_members import with_needed_members
from nova_sched.selection.policy import Policy
from rpc_api import codec, digest, events
from rpc_api.packing import pack

SIZES_VCPUS = (32, 64, 128)
FLAVORS_VCPUS = (2, 4, 8)
RAM_MB_A_VCPU = 2048
ALTERNATES = 2
WARM_UP = 50
GROUP = "00000000-0000-4000-8000-000000000001"


def uuid_of(name):
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def inventory(resource_class, total):
    return events.Inventory(resource_class, total, 0, 1, total, 1, 1.0)


def report(name, vcpus, numa):
    """The HostReported of a host whose VCPUs and memory are its own, or those of its NUMA cells."""

    def amounts(share):
        return inventory("VCPU", vcpus // share), inventory("MEMORY_MB", vcpus * RAM_MB_A_VCPU // share)

    root = events.Provider(
        uuid_of(name),
        name,
        -1,
        (inventory("DISK_GB", 2000), *(() if numa else amounts(1))),
        ("COMPUTE_NODE", "HW_CPU_X86_AVX"),
        (),
    )
    cells = [
        events.Provider(uuid_of(f"{name}/{cell}"), f"{name}/{cell}", 0, amounts(numa), ("HW_NUMA_ROOT",), ())
        for cell in range(numa)
    ]
    tree = events.HostInventory(
        name, None, None, "QEMU", 8002000, "{}", (("x86_64", "kvm", "hvm"),), {}, (root, *cells)
    )
    return events.HostReported(
        name,
        name,
        pack(tree),
        events.HostStatus(False, None, False, 0, 0, {}),
        pack(events.HostConsumers(())),
        digest.consumers_digest(()),
    )


def world_of(hosts, numa, rng):
    projection = Projection("cell1")
    made = [
        codec.make_event(report(f"h{number}", rng.choice(SIZES_VCPUS), numa), f"compute_agent/h{number}", 1, 1, 5)
        for number in range(hosts)
    ]
    records = codec.encode_records("epoch", codec.encode_events(made))
    projection.fold([(position, codec.decode_record(record)) for position, record in enumerate(records)])
    return World(projection.table, {"cell1": projection}, InFlight(projection.table))


def fill(world, members, hosts, policy):
    """Members of a group on all hosts in turn, each claimed under the uuid of the group."""
    rule = "spread" if policy == "anti-affinity" else "member"
    made = []
    for number, name in enumerate(members):
        host = f"h{number % hosts}"
        of_group = events.GroupRule(GROUP, rule, host, name, 2**31 - 1 if rule == "spread" else 0)
        data = events.ClaimProposed(name, name, name, "req", "project", host, (), of_group, False)
        made.append(codec.make_event(data, "scheduler/before", 1, number + 1, 5))
    records = codec.encode_records("epoch", codec.encode_events(made))
    projection = world.projections["cell1"]
    first = projection.position + 1
    projection.fold([(first + number, codec.decode_record(record)) for number, record in enumerate(records)])


def group_of(members, hosts, policy):
    """The ServerGroupRequest of the next member, as a conductor sends it: with strings of its own."""
    named = tuple(member.encode().decode() for member in members)
    there = tuple(f"h{number}" for number in range(min(hosts, len(members))))
    return events.ServerGroupRequest(GROUP, policy, max(2, 2 * len(members) // hosts), "host", None, named, there)


def request_for(number, vcpus, numa):
    amounts = (("DISK_GB", 20), ("MEMORY_MB", vcpus * RAM_MB_A_VCPU), ("VCPU", vcpus))
    groups = (("", amounts, ("COMPUTE_NODE",)),)
    if numa:
        groups = (("", amounts[:1], ("COMPUTE_NODE",)), ("_NUMA0", amounts[1:], ("HW_NUMA_ROOT",)))
    return events.SchedulingRequest(
        f"req-{number}",
        "project",
        "m1",
        {},
        {},
        tuple(
            events.ResourceGroup(
                suffix, tuple(events.ResourceAmount(*resource) for resource in resources), traits, (), (), (), (), None
            )
            for suffix, resources, traits in groups
        ),
        "",
        (),
        (),
        (),
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


def decide_once(world, chain, policy, request, instance_uuid):
    """One decision and its claim in flight; returns the seconds that it took."""
    started = time.perf_counter()
    request = with_needed_members(request, world, policy, instance_uuid)
    decision = decide(
        world, chain, request, instance_uuid, policy, seed_of(request.request_id, instance_uuid), 0, ALTERNATES
    )
    chosen = decision.candidates[0]
    world.in_flight.add(
        events.ClaimProposed(
            instance_uuid,
            instance_uuid,
            instance_uuid,
            request.request_id,
            request.project_id,
            chosen.host,
            chosen.assignment.allocations,
            chosen.rule,
            False,
        )
    )
    took = time.perf_counter() - started
    return took, len(pack(request))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--numa", type=int, default=0, help="NUMA cells of each host, as providers of their own")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--group", type=int, default=0, metavar="N", help="each request is for a group of N members")
    parser.add_argument(
        "--policy", default="anti-affinity", choices=("anti-affinity", "soft-affinity", "soft-anti-affinity")
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    rng = random.Random(options.seed)
    world, policy, took_ms, evidence = world_of(options.hosts, options.numa, rng), Policy(), [], 0
    chain = FilterChain(world.table, policy)
    members = [uuid_of(f"member {number}") for number in range(options.group)]
    fill(world, members, options.hosts, options.policy)
    for number in range(WARM_UP + options.requests):
        request = request_for(number, rng.choice(FLAVORS_VCPUS), options.numa)
        if options.group:
            members.append(uuid_of(f"instance {number}"))
            request = request._replace(server_group=group_of(members, options.hosts, options.policy))
        took, evidence = decide_once(world, chain, policy, request, uuid_of(f"instance {number}"))
        took_ms.append(took * 1e3)
    took_ms = sorted(took_ms[WARM_UP:])
    median_ms, p95_ms = statistics.median(took_ms), took_ms[int(len(took_ms) * 0.95)]
    print(
        f"{options.hosts} hosts, {options.numa} NUMA cells each, {options.requests} decisions"
        + (f" for a group ({options.policy}) of {options.group}" if options.group else "")
        + f": median {median_ms:.3f} ms, p95 {p95_ms:.3f} ms; the request in the evidence: {evidence} bytes"
    )
    print(
        json.dumps(
            {
                "bench": "decision",
                "hosts": options.hosts,
                "numa": options.numa,
                "requests": options.requests,
                "group": options.group,
                "policy": options.policy,
                "seed": options.seed,
                "median_ms": round(median_ms, 4),
                "p95_ms": round(p95_ms, 4),
                "request_bytes": evidence,
            }
        )
    )


if __name__ == "__main__":
    main()
