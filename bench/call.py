"""The whole select_destinations call over RabbitMQ, against its two bare parts on the same broker in the same run.

Parts: an oslo.messaging echo of the same RequestSpec primitive between the same two processes' kinds, and a publish
and read-back of one claim-sized record on a stream. ``python -m bench.call [--hosts N] [--calls N] [--url URL]``
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from contextlib import ExitStack

from bench.cloud import claim, records, reported

EXCHANGE = "nova_sched_bench"


class Echo:
    """Answers with what it was asked."""

    def echo(self, context, spec):
        """The RequestSpec primitive back, as a selection is about as large."""
        return spec["nova_object.data"]["flavor"]


def echo_process(url, pipe):
    """Serve the echo until the pipe closes."""
    import oslo_messaging
    from oslo_config import cfg

    cfg.CONF([], project="bench", default_config_files=[])
    transport = oslo_messaging.get_rpc_transport(cfg.CONF, url=url)
    target = oslo_messaging.Target(exchange=EXCHANGE, topic="bench_echo", server="echo")
    server = oslo_messaging.get_rpc_server(transport, target, [Echo()])
    server.start()
    pipe.send("ready")
    try:
        pipe.recv()
    except EOFError:
        pass
    server.stop()


def open_broker(stack, url):
    """(transport URL, log URL of a stream): of the broker at ``url``, or of a private one."""
    if url is None:
        from tests.servers import RabbitServer

        url = stack.enter_context(RabbitServer()).url()
    base = url.split("?")[0]
    name = f"nova_sched_bench_{os.getpid()}"
    return base, lambda stream: f"{base}?stream={name}.{stream}"


def main(argv=None):
    """Print medians in ms, the ratio, and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--url", help="rabbit://user:password@host:port/vhost of a broker (default: a private one)")
    arguments = parser.parse_args(argv)
    with ExitStack() as stack:
        transport, log_url = open_broker(stack, arguments.url)
        figures = measure(stack, transport, log_url, arguments)
    bare = figures["echo_ms"] + figures["read_back_ms"]
    figures = {
        "benchmark": "call",
        "hosts": arguments.hosts,
        "calls": arguments.calls,
        **{name: round(value, 3) for name, value in figures.items()},
        "ratio": round(figures["call_ms"] / bare, 2),
    }
    print(
        f"bare echo {figures['echo_ms']} ms + bare publish and read-back {figures['read_back_ms']} ms = "
        f"{bare:.3f} ms; whole call {figures['call_ms']} ms (medians): {figures['ratio']} times"
    )
    print(json.dumps(figures))


def measure(stack, transport, log_url, arguments):
    """Medians of the three, taken in turn so that all meet the same load."""
    import oslo_messaging
    from oslo_config import cfg

    from nova_sched.playground.specs import context_of
    from rpc_api.bus import MessagingBus
    from rpc_api.contracts.scheduler import SchedulerAPI

    cfg.CONF([], project="bench", default_config_files=[])
    start_scheduler(stack, transport, log_url, arguments.hosts)
    start_echo(stack, transport)
    bus = MessagingBus(cfg.CONF, transport, EXCHANGE)
    stack.callback(bus.close)
    scheduler = SchedulerAPI(bus, "bench_scheduler")
    rpc_transport = oslo_messaging.get_rpc_transport(cfg.CONF, url=transport)
    # Or its threads would look for the broker for ever.
    stack.callback(rpc_transport.cleanup)
    bare = oslo_messaging.get_rpc_client(rpc_transport, oslo_messaging.Target(exchange=EXCHANGE, topic="bench_echo"))
    read_back = ReadBack(stack, log_url("bare"))
    times = {"echo_ms": [], "read_back_ms": [], "call_ms": []}
    for number in range(arguments.calls + 20):
        request, spec = small_request(number)
        primitive = spec.obj_to_primitive()
        steps = {
            "echo_ms": lambda: bare.call({}, "echo", spec=primitive),
            "read_back_ms": read_back.turn,
            "call_ms": lambda: scheduler.select_destinations(
                context_of(request), spec, [request.instance_uuid]
            ).result(),
        }
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if number >= 20:
                times[name].append((time.perf_counter() - started) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def small_request(number):
    """A request of a workload and its RequestSpec: 2 VCPU, 4 GiB, no group."""
    from nova_sched.playground.specs import spec_of
    from nova_sched.playground.workload import Request, uuid_of

    request = Request(number, uuid_of("bench", number), ((2, 4096),), False, 0.0, None, None, None, None)
    return request, spec_of(request)


def start_scheduler(stack, transport, log_url, hosts):
    """A scheduler process over a cell of so many hosts."""
    from nova_sched.playground.worker import RemoteScheduler, WorkerSettings
    from nova_sched.scheduler.service import Cell, cell0_of
    from nova_sched.selection.policy import Policy
    from rpc_api.feed.epoch import ensure_open
    from rpc_api.feed.publisher import Appender, Producer
    from rpc_api.log import open_log

    cell = Cell("cell1", "00000000-0000-4000-8000-000000000001", log_url("cell1"))
    log = stack.enter_context(open_log(cell.log))
    appender = Appender(log, ensure_open(log, "cell1", "compute_agent/bench").epoch)
    ticket = 0
    for number in range(hosts):
        ticket = Producer(appender, f"compute_agent/host-{number}").publish(reported(f"host-{number}"))
    if not appender.wait(ticket, 120):
        raise SystemExit(f"the hosts could not be appended: {appender.fault}")
    appender.close()
    scheduler = RemoteScheduler(
        WorkerSettings(
            "bench", cell0_of(log_url("cell0")), (cell,), Policy(), transport, EXCHANGE, topic="bench_scheduler"
        )
    )
    stack.callback(scheduler.stop)
    scheduler.wait_ready()


def start_echo(stack, transport):
    """The bare echo in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=echo_process, args=(transport, theirs), daemon=True)
    process.start()
    theirs.close()
    ours.recv()
    stack.callback(process.join, 10)
    stack.callback(ours.close)


class ReadBack:
    """Publish one record of a claim's size to a stream, and read it back."""

    def __init__(self, stack, url):
        from rpc_api.log import open_log

        self._log = stack.enter_context(open_log(url))
        self._payload = records([("scheduler/bench", 1, claim(1, "host-1"))])[0][1]
        self._log.append([self._payload])
        self._reader = stack.enter_context(self._log.read_from(self._log.bounds().last))
        self._reader.read(1, 5.0)

    def turn(self):
        """One round."""
        self._log.append([self._payload])
        while not self._reader.read(1, 5.0):
            raise SystemExit("the record did not come back")


if __name__ == "__main__":
    main()
