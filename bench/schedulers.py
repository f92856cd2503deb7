"""Many schedulers on one log: identical requests on an empty cloud of equal hosts, the worst case for who comes first.

Each scheduler is a process that decides requests of its own, ``--window`` of them under way at a time; the log is a
stream of a private RabbitMQ (or what ``--url`` names). Afterwards the log is audited: nothing over-committed, each
request answered by the claim that the log accepted, every scheduler with the same digest.

``python -m bench.schedulers [--schedulers 1,2,4,8] [--chain nova,pack] [--subset 1,8] [--hosts N] [--requests N]``
"""

import argparse
import json
import multiprocessing
import statistics
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass

SECONDS_MAX = 600.0


@dataclass(frozen=True)
class Case:
    """One run (``same_draw``: all requests draw the same host among equals): ``requests`` in all,
    of ``vcpus`` and 4,000 MiB for each, on ``hosts`` that take 65 of those."""

    schedulers: int
    chain: str = "nova"
    subset: int = 1
    hosts: int = 10_000
    requests: int = 4000
    window: int = 32
    vcpus: int = 64
    same_draw: bool = False


def scheduler_process(number, case, urls, pipe):
    """Start a scheduler, decide so many requests when told to,
    and say how it went and what its state is at a position."""
    from rpc_api import concurrency

    concurrency.setup("threading")
    from nova_sched.playground.chains import CHAINS
    from nova_sched.process.tuning import prepare_memory, settle_memory
    from nova_sched.projection.digest import state_digest
    from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
    from nova_sched.selection.policy import Policy

    prepare_memory()
    if case.same_draw:
        from nova_sched.scheduler import engine

        engine.seed_of = lambda request_id, instance_uuid: 0
    policy = Policy(weighers=tuple(CHAINS[case.chain]), host_subset_size=case.subset)
    cell = Cell("cell1", "11111111-aaaa-4aaa-8aaa-000000000001", urls["cell1"])
    scheduler = Scheduler(f"s{number}", cell0_of(urls["cell0"]), [cell], policy, claim_timeout=120.0).start()
    scheduler.wait_ready(SECONDS_MAX)
    settle_memory()
    pipe.send("ready")
    count = pipe.recv()
    pipe.send(_decide(scheduler, number, count, case))
    position = pipe.recv()
    while scheduler.call(lambda engine: engine.world.projections["cell1"].position).result(SECONDS_MAX) < position:
        time.sleep(0.01)
    pipe.send(
        scheduler.call(lambda engine: (state_digest(engine.world.projections["cell1"]), dict(engine.counts))).result(
            SECONDS_MAX
        )
    )
    pipe.recv()
    scheduler.stop()


def _decide(scheduler, number, count, case):
    """Decide ``count`` requests: (answered, refusals, seconds of each)."""
    import threading

    from bench.cloud import uuid_of
    from nova_sched.request.from_spec import request_from
    from rpc_api import errors
    from tests.builders import request_spec

    free, answers, lock = threading.Semaphore(case.window), [], threading.Lock()
    over = threading.Event()

    def on_answer(done, instance, asked_at):
        fault = done.exception()
        with lock:
            answers.append((time.monotonic() - asked_at, instance, None if fault else done.result()[0][0], fault))
            if len(answers) == count:
                over.set()
        free.release()

    for one in range(count):
        instance = uuid_of(f"instance {number} {one}")
        request = request_from(
            request_spec(instance, vcpus=case.vcpus, memory_mb=case.vcpus * 4000), f"req-{number}-{one}"
        )
        free.acquire()
        asked_at = time.monotonic()
        scheduler.select(request, [instance], 0).add_done_callback(
            lambda done, instance=instance, asked_at=asked_at: on_answer(done, instance, asked_at)
        )
    over.wait(SECONDS_MAX)
    placed = [
        (instance, chosen.host, chosen.claim_uuid, chosen.position)
        for _, instance, chosen, fault in answers
        if not fault
    ]
    refused = [fault.summary for _, _, _, fault in answers if isinstance(fault, errors.NoHostFound)]
    faults = [str(fault) for _, _, _, fault in answers if fault and not isinstance(fault, errors.NoHostFound)]
    return placed, refused, faults, [seconds for seconds, *_ in answers]


def append_hosts(url, hosts):
    """Report equal hosts into a new log."""
    from bench.cloud import reported
    from rpc_api.feed.epoch import ensure_open
    from rpc_api.feed.publisher import Appender, Producer
    from rpc_api.log import open_log

    with open_log(url) as log:
        appender = Appender(log, ensure_open(log, "cell1", "compute_agent/bench").epoch)
        ticket = 0
        for number in range(hosts):
            ticket = Producer(appender, f"compute_agent/host-{number}").publish(reported(f"host-{number}"))
        if not appender.wait(ticket, SECONDS_MAX):
            raise SystemExit(f"the hosts could not be appended: {appender.fault}")
        appender.close()


def run(case: Case, urls: dict) -> dict:
    """Run one case on the (new) logs ``cell0`` and ``cell1``; returns its figures and what the audit found."""
    from rpc_api.log import open_log

    append_hosts(urls["cell1"], case.hosts)
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pipes = []
        for number in range(case.schedulers):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=scheduler_process, args=(number, case, urls, theirs), daemon=True)
            process.start()
            stack.callback(process.join, 30)
            stack.callback(ours.close)
            pipes.append(ours)
        for pipe in pipes:
            pipe.recv()
        shares = [case.requests // case.schedulers] * case.schedulers
        started = time.monotonic()
        for pipe, share in zip(pipes, shares, strict=True):
            pipe.send(share)
        said = [pipe.recv() for pipe in pipes]
        seconds = time.monotonic() - started
        with open_log(urls["cell1"], create=False) as log:
            last = log.bounds().last
        for pipe in pipes:
            pipe.send(last)
        states = [pipe.recv() for pipe in pipes]
        for pipe in pipes:
            pipe.send("stop")
    return {
        **figures(case, sum(shares), seconds, said),
        **audited(urls, said, [digest for digest, _ in states]),
        "decisions": sum(counts.get("decisions", 0) for _, counts in states),
    }


def figures(case, requests, seconds, said):
    """What the schedulers say."""
    waits = sorted(second for *_, waits in said for second in waits)
    placed = [one for placed, *_ in said for one in placed]
    refused = [summary for _, refused, *_ in said for summary in refused]
    return {
        "schedulers": case.schedulers,
        "chain": case.chain,
        "same_draw": case.same_draw,
        "subset": case.subset,
        "hosts": case.hosts,
        "requests": requests,
        "placed": len(placed),
        "refused": len(refused),
        "unexplained": sum(not summary for summary in refused),
        "faults": [fault for _, _, faults, _ in said for fault in faults],
        "per_second": round(requests / seconds, 1),
        "median_ms": round(1000 * statistics.median(waits), 2),
        "p99_ms": round(1000 * waits[int(0.99 * (len(waits) - 1))], 2),
        "hosts_used": len({host for _, host, *_ in placed}),
    }


def audited(urls, said, digests):
    """What the log says: conflicts, over-commitments, answers that the log does not bear out, and different states."""
    from nova_sched.projection.digest import state_digest
    from nova_sched.projection.projection import Projection
    from nova_sched.replay.logs.reading import records_of
    from nova_sched.replay.verify.audit import Audit

    audit, projection = Audit(), Projection("cell1")
    audit.read("cell1", urls["cell1"])
    accepted, attempts = {}, Counter()
    for position, record in records_of(urls["cell1"]):
        outcomes, _ = projection.fold([(position, record)])
        for outcome in outcomes:
            attempts[outcome.consumer_uuid] += 1
            if outcome.reason is None:
                accepted.setdefault(outcome.consumer_uuid, []).append((outcome.claim_uuid, position))
    placed = [one for placed, *_ in said for one in placed]
    wrong = [
        instance for instance, _, claim_uuid, position in placed if accepted.get(instance) != [(claim_uuid, position)]
    ]
    return {
        "conflicts": audit.counts["conflicts"],
        "attempts": round(sum(attempts.values()) / max(len(attempts), 1), 3),
        "most_attempts": max(attempts.values(), default=0),
        "over_commitments": len(audit.cells["cell1"].over_commitments),
        "double_bookings": sum(len(claims) > 1 for claims in accepted.values()),
        "answers_not_in_the_log": len(wrong),
        "accepted": len(accepted),
        "states": len({*digests, state_digest(projection)}),
    }


def main(argv=None):
    """Measure each case on logs of its own; prints one JSON line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schedulers", default="1,2,4,8")
    parser.add_argument("--chain", default="nova,pack")
    parser.add_argument("--subset", default="1")
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--vcpus", type=int, default=64, help="64: one instance a host")
    parser.add_argument("--same-draw", action="store_true", help="let all requests draw the same host among equals")
    parser.add_argument("--url", help="rabbit://user:password@host:port/vhost of a broker (default: a private one)")
    arguments = parser.parse_args(argv)
    from bench.call import open_broker

    with ExitStack() as stack:
        _, log_url = open_broker(stack, arguments.url)
        number = 0
        for chain in arguments.chain.split(","):
            for subset in arguments.subset.split(","):
                for schedulers in arguments.schedulers.split(","):
                    number += 1
                    case = Case(
                        int(schedulers),
                        chain,
                        int(subset),
                        arguments.hosts,
                        arguments.requests,
                        arguments.window,
                        arguments.vcpus,
                        arguments.same_draw,
                    )
                    found = run(case, {cell: log_url(f"{cell}-{number}") for cell in ("cell0", "cell1")})
                    print(json.dumps({"benchmark": "schedulers", **found}), flush=True)


if __name__ == "__main__":
    main()
