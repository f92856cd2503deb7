"""One agent that reports flat out into the log of a cell: how the other cells and the memory of a scheduler fare.

Two cells with logs in streams of a private RabbitMQ (or what ``--url`` names); only the hosts of cell1 have room. A
scheduler in its own process answers requests, ``--window`` of them at a time, before the flood of cell2, during it, and
after it. Figures: the rates and the 95th percentiles of the answers, their ratios, the growth of the scheduler's
memory, and after how many seconds cell2 was closed and named, and open again.

``python -m bench.flood [--hosts N] [--seconds S] [--window N] [--url URL]``
"""

import argparse
import json
import logging
import multiprocessing
import statistics
import threading
import time
from contextlib import ExitStack
from itertools import cycle

import msgpack

SECONDS_MAX = 600.0
AGENT = "flat-out"
#: Reports that are appended together.
REPORTS = 2000


def flooding_process(url, rate, pipe):
    """Append reports of one host, whose inventory changes each time, as fast as possible or ``rate`` in a second; sends
    how many in how many seconds."""
    from bench.cloud import reported
    from rpc_api import codec
    from rpc_api.feed.epoch import ensure_open
    from rpc_api.feed.publisher import RECORD_BYTES, RECORD_EVENTS
    from rpc_api.log import open_log

    epoch_ns = time.time_ns()
    halves = [_halves(reported(AGENT, vcpus=vcpus), epoch_ns) for vcpus in (64, 128)]
    with open_log(url) as log:
        epoch, number = ensure_open(log, "cell2", f"compute_agent/{AGENT}").epoch, 0
        pipe.send("ready")
        pipe.recv()
        began = time.monotonic()
        while not pipe.poll():
            made = [
                head + msgpack.packb(sequence) + tail
                for sequence, (head, tail) in zip(range(number + 1, number + REPORTS + 1), cycle(halves))
            ]
            log.append(codec.encode_records(epoch, made, 1, RECORD_EVENTS, RECORD_BYTES))
            number += REPORTS
            time.sleep(max(0.0, began + number / rate - time.monotonic()) if rate else 0.0)
        pipe.send((number, time.monotonic() - began))


def _halves(report, epoch_ns):
    """The packed event of a report, before and after its sequence. Only the sequences of the events of a flood differ,
    and to encode each of them as a whole would take longer than to fold it."""
    from rpc_api import codec

    event = codec.make_event(report, f"compute_agent/{AGENT}", epoch_ns, 1, epoch_ns)
    (packed,) = codec.encode_events([event])
    # The packed form is that of level 1, which may have another version and fewer fields.
    *head, _, at_ns, fields = msgpack.unpackb(packed)
    head = packed[:1] + b"".join(map(msgpack.packb, head))
    tail = msgpack.packb(at_ns) + msgpack.packb(fields, use_bin_type=True)
    assert packed == head + msgpack.packb(1) + tail
    return head, tail


def scheduler_process(urls, window, pipe):
    """A scheduler that answers for so many seconds as it is sent; sends the seconds of each answer, its memory, and
    what it logged."""
    from rpc_api import concurrency

    concurrency.setup("threading")
    from nova_sched.process.tuning import prepare_memory, settle_memory
    from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
    from nova_sched.selection.policy import Policy

    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append((time.monotonic(), record.getMessage()))
    logging.getLogger("nova_sched").addHandler(handler)
    prepare_memory()
    cells = [Cell(name, f"11111111-aaaa-4aaa-8aaa-00000000000{name[-1]}", urls[name]) for name in ("cell1", "cell2")]
    scheduler = Scheduler("bench", cell0_of(urls["cell0"]), cells, Policy()).start()
    scheduler.wait_ready(SECONDS_MAX)
    settle_memory()
    pipe.send("ready")
    number = 0
    while (seconds := pipe.recv()) is not None:
        waits, faults = _answer(scheduler, number, window, seconds)
        number += len(waits)
        pipe.send((waits, faults, _memory_mb(), list(lines)))
    scheduler.stop()


def _answer(scheduler, first, window, seconds):
    """Ask for ``seconds``: (seconds of each answer, faults)."""
    from bench.cloud import uuid_of
    from nova_sched.request.from_spec import request_from
    from tests.builders import request_spec

    free, waits, faults = threading.Semaphore(window), [], []

    def on_answer(done, asked_at):
        waits.append(time.monotonic() - asked_at)
        if done.exception() is not None:
            faults.append(str(done.exception()))
        free.release()

    end, number = time.monotonic() + seconds, first
    while time.monotonic() < end:
        number += 1
        instance = uuid_of(f"instance {number}")
        request = request_from(request_spec(instance, vcpus=1, memory_mb=64), f"req-{number}")
        free.acquire()
        asked_at = time.monotonic()
        scheduler.select(request, [instance], 0).add_done_callback(lambda done, at=asked_at: on_answer(done, at))
    for _ in range(window):
        free.acquire(timeout=60)
    return waits, faults


def _memory_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def append_hosts(url, cell, names, **how):
    """Report hosts into a new log."""
    from bench.cloud import reported
    from rpc_api.feed.epoch import ensure_open
    from rpc_api.feed.publisher import Appender, Producer
    from rpc_api.log import open_log

    with open_log(url) as log:
        appender = Appender(log, ensure_open(log, cell, "compute_agent/bench").epoch)
        for name in names:
            ticket = Producer(appender, f"compute_agent/{name}").publish(reported(name, **how))
        appender.wait(ticket, SECONDS_MAX)
        appender.close()


def run(urls, arguments) -> dict:
    """The figures of one flood."""
    from rpc_api.feed.epoch import ensure_open
    from rpc_api.log import open_log

    append_hosts(urls["cell1"], "cell1", [f"host-{number}" for number in range(arguments.hosts)])
    append_hosts(urls["cell2"], "cell2", ["full"], vcpus=2)
    with open_log(urls["cell0"]) as log:
        ensure_open(log, "cell0", "operator/bench")
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:

        def started(target, *rest):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=target, args=(*rest, theirs), daemon=True)
            process.start()
            stack.callback(process.join, 30)
            assert ours.recv() == "ready"
            return ours

        scheduler = started(scheduler_process, urls, arguments.window)
        flood = started(flooding_process, urls["cell2"], arguments.rate)

        def asked(seconds):
            scheduler.send(seconds)
            return scheduler.recv()

        asked(2.0)
        before = asked(arguments.seconds / 2)
        flood.send("begin")
        began = time.monotonic()
        during = asked(arguments.seconds)
        flood.send("end")
        reports, seconds = flood.recv()
        ended = time.monotonic()
        after = asked(arguments.seconds / 2)
        while not any("open again" in line for at, line in after[3] if at > began) and time.monotonic() < ended + 90:
            time.sleep(1)
            after = (*after[:3], asked(0.0)[3])
        scheduler.send(None)
    lines = [(at, line) for at, line in after[3] if at >= began]
    closed = next((round(at - began, 1) for at, line in lines if "is closed" in line and AGENT in line), None)
    opened = next((round(at - ended, 1) for at, line in lines if "open again" in line), None)
    for _, line in lines:
        print(f"  {line}")
    rates = [len(waits) / (seconds_ or 1) for (waits, *_), seconds_ in _with_seconds(before, during, after, arguments)]
    late = [1000 * statistics.quantiles(waits, n=20)[-1] for waits, *_ in (before, during, after)]
    return {
        "benchmark": "flood",
        "hosts": arguments.hosts,
        "reports_s": round(reports / seconds),
        "rates": [round(rate, 1) for rate in rates],
        "rate_ratio": round(rates[1] / rates[0], 3),
        "p95_ms": [round(one, 1) for one in late],
        "p95_ratio": round(late[1] / late[0], 2),
        "memory_mb": [round(one[2]) for one in (before, during, after)],
        "faults": len(during[1]),
        "named_s": closed,
        "opened_s": opened,
    }


def _with_seconds(before, during, after, arguments):
    return ((before, arguments.seconds / 2), (during, arguments.seconds), (after, arguments.seconds / 2))


def main(argv=None):
    """Print what the scheduler logged, the figures, and a JSON line."""
    from bench.call import open_broker

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0, help="of the flood")
    parser.add_argument("--window", type=int, default=4, help="requests under way at a time")
    parser.add_argument("--rate", type=float, default=0.0, help="reports in a second (default: flat out)")
    parser.add_argument("--url", help="rabbit://user:password@host:port/vhost of a broker (default: a private one)")
    arguments = parser.parse_args(argv)
    with ExitStack() as stack:
        _, log_url = open_broker(stack, arguments.url)
        figures = run({name: log_url(name) for name in ("cell0", "cell1", "cell2")}, arguments)
    print(
        f"{figures['reports_s']} reports/s: the other cell keeps {figures['rate_ratio']} of its rate, its p95 is "
        f"{figures['p95_ratio']} times that before; memory {figures['memory_mb']} MB"
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
