"""What metrics cost: processor time of a request with and without them, in runs that alternate, and of a scrape.

A request is ``select_destinations`` as its primitives come (over a local bus and logs in memory), and a GET of the
Placement API as its web server calls it. "Without" means that nothing is counted and timed.

``python -m bench.monitoring [--hosts N] [--rounds N] [--calls N] [--requests N]``
"""

import argparse
import json
import statistics
import time
from contextlib import ExitStack

from bench.call import small_request
from bench.cloud import reported

#: Seconds between two scrapes, as usual.
SCRAPE_SECONDS = 15.0
SCRAPES = 30
#: How often each kind has its turn within a round.
TURNS = 10


class Nothing:
    """Counts and times nothing: in place of Measures, RequestMeasures and a Histogram."""

    def step(self, *arguments, **facts):
        """A step of a request."""

    add = answered = refused_by_filters = refused_by_log = not_readable = step


class Site:
    """A scheduler over many hosts, asked as a conductor asks it."""

    def __init__(self, stack, hosts):
        from nova_sched.scheduler.endpoint import SchedulerEndpoint
        from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
        from nova_sched.selection.policy import Policy
        from rpc_api.bus import LocalBus
        from rpc_api.contracts.scheduler import TOPIC, VERSION, SchedulerAPI
        from rpc_api.feed.epoch import ensure_open
        from rpc_api.feed.publisher import Appender, Producer
        from rpc_api.log import open_log

        urls = {cell: f"memory://bench-{cell}" for cell in ("cell0", "cell1")}
        logs = {cell: stack.enter_context(open_log(url)) for cell, url in urls.items()}
        appender = Appender(logs["cell1"], ensure_open(logs["cell1"], "cell1", "compute_agent/bench").epoch)
        for number in range(hosts):
            ticket = Producer(appender, f"compute_agent/host-{number}").publish(reported(f"host-{number}"))
        appender.wait(ticket, 120)
        appender.close()
        cell = Cell("cell1", "00000000-0000-4000-8000-000000000001", urls["cell1"])
        self.scheduler = Scheduler("bench", cell0_of(urls["cell0"]), [cell], Policy())
        stack.callback(self.scheduler.stop)
        self.scheduler.start().wait_ready()
        bus = LocalBus()
        stack.callback(bus.serve(TOPIC, "bench", [SchedulerEndpoint(self.scheduler)], VERSION).stop)
        self._api = SchedulerAPI(bus)
        self._number, self._asked = 0, ()
        self._histograms = [log.appender.waited for log in self.scheduler.logs.values()]

    def count(self, counts: bool):
        """Count and time, or do not."""
        from nova_sched.scheduler.measures import Measures

        self.scheduler.engine.measures = Measures() if counts else Nothing()
        for log, histogram in zip(self.scheduler.logs.values(), self._histograms, strict=True):
            log.appender.waited = histogram if counts else Nothing()

    def prepare(self, calls):
        """Make the requests of the next run."""
        self._asked = [small_request(self._number + number) for number in range(calls)]
        self._number += calls

    def run(self):
        """Make the calls."""
        from nova_sched.playground.specs import context_of

        for request, spec in self._asked:
            self._api.select_destinations(context_of(request), spec, [request.instance_uuid]).result()


class Api:
    """The Placement API over a log in memory."""

    def __init__(self, stack):
        from tests.placement_api.in_process import OurPlacement
        from tests.placement_api.regions import uuid_of

        self._api = OurPlacement()
        self._api.empty()
        stack.callback(self._api.close)
        provider, self._consumer = uuid_of("provider"), uuid_of("consumer")
        held = {
            "allocations": {provider: {"resources": {"VCPU": 1}}},
            "project_id": "p",
            "user_id": "u",
            "consumer_generation": None,
            "consumer_type": "INSTANCE",
        }
        inventories = {"resource_provider_generation": 0, "inventories": {"VCPU": {"total": 8}}}
        self._api.make(
            ("POST", "/resource_providers", {"name": "provider", "uuid": provider}),
            ("PUT", f"/resource_providers/{provider}/inventories", inventories),
            ("PUT", f"/allocations/{self._consumer}", held),
        )
        self._add = self._api.region.measures.add

    def count(self, counts: bool):
        """Count and time, or do not."""
        self._api.region.measures.add = self._add if counts else Nothing().add

    def prepare(self, requests):
        """So many requests are the next run."""
        self._requests = requests

    def run(self):
        """Make the requests."""
        path = f"/allocations/{self._consumer}"
        for _ in range(self._requests):
            self._api.raw("GET", path)


def alternated(side, rounds, calls):
    """(Median without, median with, percent that metrics add) over some rounds of so many calls of each kind. Within a
    round they take turns, a few calls each, so that both meet the same load of the machine; the percentage is the
    median over the rounds."""
    without, with_, more = [], [], []
    for round_ in range(rounds + 1):
        found = {True: 0.0, False: 0.0}
        for turn in range(2 * TURNS):
            counts = (turn + round_) % 2 == 0
            side.count(counts)
            side.prepare(calls // TURNS)
            started = time.process_time()
            side.run()
            found[counts] += (time.process_time() - started) * 1e3 / calls
        if round_:  # the first one warms up
            without.append(found[False])
            with_.append(found[True])
            more.append(100 * (found[True] / found[False] - 1))
    side.count(True)
    return statistics.median(without), statistics.median(with_), statistics.median(more)


def scrapes(site):
    """Medians of the processor time and of the whole time of making the text, in milliseconds, and its bytes."""
    from nova_sched.process.monitoring.exposition import Exposition
    from nova_sched.process.monitoring.followed import Ends, samples_of
    from nova_sched.scheduler import shown

    ends = Ends(lambda: (), lambda: None)

    def samples():
        for followed in shown.followed_by(site.scheduler):
            yield from samples_of(followed, ends)
        yield from shown.samples_of(site.scheduler)

    exposition, times, cpu = Exposition(samples), [], []
    for number in range(SCRAPES):
        started, began = time.perf_counter(), time.thread_time()
        text, _ = exposition.text(f"text/plain;q={number}")  # another header, so that no text is used again
        cpu.append((time.thread_time() - began) * 1e3)
        times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(cpu), statistics.median(times), len(text)


def main(argv=None):
    """Print the figures, and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--requests", type=int, default=3000)
    arguments = parser.parse_args(argv)
    from rpc_api import concurrency

    concurrency.setup()
    figures = {"benchmark": "monitoring", "hosts": arguments.hosts, "rounds": arguments.rounds}
    with ExitStack() as stack:
        site = Site(stack, arguments.hosts)
        for what, side, calls in (
            ("select_destinations", site, arguments.calls),
            ("GET allocations", Api(stack), arguments.requests),
        ):
            without, with_, more = alternated(side, arguments.rounds, calls)
            figures[what] = {
                "without_ms": round(without, 4),
                "with_ms": round(with_, 4),
                "more_percent": round(more, 2),
            }
            print(f"{what}: {without:.4f} ms without, {with_:.4f} ms with metrics (medians): {more:+.2f} %", flush=True)
        cpu, whole, size = scrapes(site)
        share = cpu / (SCRAPE_SECONDS * 10)
        figures["scrape"] = {"cpu_ms": round(cpu, 2), "whole_ms": round(whole, 2), "bytes": size}
        print(
            f"a scrape: {cpu:.2f} ms of processor time, {whole:.2f} ms in all (medians of {SCRAPES}), {size} bytes; "
            f"every {SCRAPE_SECONDS:.0f} s that is {share:.2f} % of a processor"
        )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
