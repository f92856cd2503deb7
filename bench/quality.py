"""How many requests of the Huawei traces are built, by chain of weighers, against naive policies on the same filters.

Decisions one after the other, no services, no failures. ``python -m bench.quality [--data DIR] [--traces c1,c2]``
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from bench.cloud import EPOCH, UP
from nova_sched.playground.chains import CHAINS
from nova_sched.playground.specs import request_id_of, spec_of
from nova_sched.playground.workload import huawei
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.projection import Projection
from nova_sched.projection.world import World
from nova_sched.request.from_spec import request_from
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.claim_rules import ClaimRules
from nova_sched.selection.decide import Candidate, candidate_of, decide
from nova_sched.selection.draw import draw, seed_of
from nova_sched.selection.policy import Policy
from nova_sched.selection.scope import Scope
from rpc_api import codec, events, levels
from rpc_api.packing import pack

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "huawei-topology"


def world_of(workload):
    """The world of one cell with the hosts and racks of a workload."""
    projection = Projection("cell1")
    said = [
        codec.make_event(
            events.HostReported(name, "agents", levels.pack_oldest(inventory), UP, pack(events.HostConsumers(())), 0),
            f"compute_agent/{name}",
            1,
            1,
            1,
        )
        for name, inventory in workload.inventories.items()
    ]
    racks = {}
    for host, rack in workload.racks.items():
        racks.setdefault(rack, []).append(host)
    said += [
        codec.make_event(
            events.AggregateUpdated(rack, rack, tuple(hosts), {"domain": "rack"}), "operator/bench", 1, number, 1
        )
        for number, (rack, hosts) in enumerate(sorted(racks.items()), 1)
    ]
    projection.fold(
        [
            (position, codec.decode_record(payload))
            for position, payload in enumerate(codec.encode_records(EPOCH, codec.encode_events(said)))
        ]
    )
    return World(projection.table, {"cell1": projection}, InFlight(projection.table))


def by_chain(world, chain, request, instance_uuid, policy):
    """Our decision."""
    decision = decide(world, chain, request, instance_uuid, policy, seed_of(request.request_id, instance_uuid))
    return decision.candidates[0] if decision.candidates else None


def naive(order):
    """A policy that takes the first host that fits, in the order that ``order(table, rows, seed)`` puts them in."""

    def choose(world, chain, request, instance_uuid, policy):
        scope = Scope(world.table, list(world.projections.values()), world.in_flight, request, instance_uuid)
        rows = chain.run(request, scope).rows
        if not len(rows):
            return None
        rules = ClaimRules(world, scope)
        for row in order(world.table, rows, seed_of(request.request_id, instance_uuid)):
            candidate = candidate_of(rules, int(row), policy)
            if isinstance(candidate, Candidate):
                return candidate
        return None

    return choose


def _left(table, rows):
    index = table.classes.get("VCPU")
    return table.tree_base[index, rows] - table.tree_taken[index, rows]


NAIVE = {
    "first-fit": naive(lambda table, rows, seed: rows),
    "best-fit": naive(lambda table, rows, seed: rows[np.argsort(_left(table, rows), kind="stable")]),
    "spread": naive(lambda table, rows, seed: rows[np.argsort(-_left(table, rows), kind="stable")]),
    "random": naive(lambda table, rows, seed: np.roll(rows, draw(seed, 0, len(rows)))),
}


def play(workload, choose, policy):
    """(built, hosts used, stranded VCPU share, seconds) of one run."""
    world, used, built, started = world_of(workload), set(), 0, time.perf_counter()
    chain = FilterChain(world.table, policy)
    for wanted in workload.requests:
        request = request_from(spec_of(wanted), request_id_of(wanted))
        candidate = choose(world, chain, request, wanted.instance_uuid, policy)
        if candidate is None:
            continue
        built += 1
        used.add(candidate.host)
        uuid = wanted.instance_uuid
        world.in_flight.add(
            events.ClaimProposed(
                uuid,
                uuid,
                uuid,
                request.request_id,
                None,
                candidate.host,
                candidate.assignment.allocations,
                candidate.rule,
                False,
            )
        )
    return built, len(used), stranded_share(world.table, workload), time.perf_counter() - started


def stranded_share(table, workload):
    """Share of all VCPUs that are free on providers which cannot take the smallest share that anybody asked for."""
    shares = [share for request in workload.requests for share in request.shares]
    rows = slice(0, table.count)
    cpu, ram = table.classes.get("VCPU"), table.classes.get("MEMORY_MB")
    free = np.maximum(table.free[cpu, rows], 0)
    lost = (free < min(share[0] for share in shares)) | (table.free[ram, rows] < min(share[1] for share in shares))
    return float(free[lost].sum() / table.capacity[cpu, rows].sum())


def main(argv=None):
    """Print a table and a JSON line for each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="the folder huawei-topology")
    parser.add_argument("--traces", default="c1,c2,c3,c4")
    arguments = parser.parse_args(argv)
    if not arguments.data.is_dir():
        print(f"skipped: there is no folder {arguments.data}; name it with --data")
        return
    print(f"{'trace':<6} {'policy':<10} {'built':>6} {'hosts':>6} {'stranded':>9} {'seconds':>8}")
    for trace in arguments.traces.split(","):
        workload = huawei(
            str(arguments.data / "servers.csv"),
            str(arguments.data / "racks.csv"),
            str(arguments.data / f"requests_{trace}.csv"),
            0,
        )
        runs = [(name, choose, Policy()) for name, choose in NAIVE.items()]
        runs += [(name, by_chain, Policy(weighers=chain)) for name, chain in CHAINS.items()]
        for name, choose, policy in runs:
            built, hosts, stranded, seconds = play(workload, choose, policy)
            print(f"{trace:<6} {name:<10} {built:>6} {hosts:>6} {stranded:>9.2%} {seconds:>8.1f}", flush=True)
            print(
                json.dumps(
                    {
                        "benchmark": "quality",
                        "trace": trace,
                        "policy": name,
                        "built": built,
                        "hosts": hosts,
                        "stranded_vcpu": round(stranded, 4),
                    }
                )
            )


if __name__ == "__main__":
    main()
