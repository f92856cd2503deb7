"""What 10,000 nova-computes publish to the conductor of their cell, and what the tap of nova_sched makes of it.

A heartbeat every 10 s and a compute node every minute per nova-compute (Nova's defaults), over a private RabbitMQ that
has Nova's exchange, a reader in the place of Nova's conductor, and the log. nova-sched-conductor taps the exchange, and
a scheduler folds the log. The same load runs first without the tap, so that the broker's share of it is known.

Every second one host is forced down or up. The delay is the time from the publication of that message until the event
is read from the log.

``python -m bench tapped_cell [--computes N] [--seconds S]``
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import amqp

from bench.idle_computes import fill, memory_mb
from bench.placement_api import ROOT, cpu_seconds, running
from rpc_api import codec
from rpc_api.log import open_log
from tests.conductor.tap.messages import recorded, with_fields
from tests.conductor.tap.test_rabbit import RIGHTS
from tests.end_to_end.processes import config_text, sections_for
from tests.placement_api.regions import prepare
from tests.servers import RabbitServer, wait_until

HEARTBEAT_SECONDS, NODE_SECONDS = 10, 60
#: One compute node in so many has changed since it was saved last.
CHANGED = 10
VHOST = "cell1"
READY_SECONDS_MAX = 300.0
DAY_SECONDS = 86_400
#: A message is published at most so much later than it is due before the load counts as too much for the machine.
LATE_SECONDS_MAX = 1.0


def connection(server, vhost=VHOST):
    """A connection to Nova's broker."""
    found = amqp.Connection(f"{server.host}:{server.port}", server.user, server.password, virtual_host=vhost)
    found.connect()
    return found


def bodies_of(number: int, beats: int) -> tuple[bytes, bytes]:
    """The heartbeat and the compute node of a nova-compute, when it has sent ``beats`` heartbeats."""
    host = f"compute-{number}"
    heartbeat = with_fields(BODIES["heartbeat"], host=host, report_count=beats)
    stats = {"failed_builds": "0", "num_instances": str(10 + beats // CHANGED % 2)}
    node = with_fields(
        BODIES["node saved"],
        host=host,
        hypervisor_hostname=host,
        uuid=f"00000000-0000-4000-8000-{number:012x}",
        stats=stats,
    )
    return heartbeat, node


BODIES = recorded()


def publish(server, computes, seconds, pipe):
    """A process: publish what all nova-computes publish, each at its own time, then send how late it was at worst.

    Before that, each compute is published once, as nova-compute does when it starts."""
    with connection(server) as found:
        channel = found.channel()

        def say(body):
            channel.basic_publish(amqp.Message(body, content_type="application/json"), "nova", "conductor")

        whole = [bodies_of(number, 0) for number in range(computes)]
        for number, (_, node) in enumerate(whole):
            say(with_fields(BODIES["disabled"], host=f"compute-{number}", disabled=False, disabled_reason=None))
            say(node)
        pipe.send("published")
        pipe.recv()
        began, late = time.monotonic(), 0.0
        # (what is due, when): heartbeats and compute nodes, spread evenly.
        beats = ((began + number * HEARTBEAT_SECONDS / computes, 0, number) for number in itertools.count())
        nodes = ((began + number * NODE_SECONDS / computes, 1, number) for number in itertools.count())
        marks = ((began + number, 2, number) for number in itertools.count())
        for due, kind, number in _by_time(beats, nodes, marks):
            now = time.monotonic()
            if due >= began + seconds:
                break
            if due > now:
                time.sleep(due - now)
            late = max(late, now - due)
            if kind == 2:
                mark = f"compute-{number // 2 % computes}"
                body = with_fields(BODIES["forced down"], host=mark, forced_down=number % 2 == 0)
                pipe.send((mark, number % 2 == 0, time.time()))
            elif kind == 1 and number // computes and number % CHANGED == 0:
                body = bodies_of(number % computes, CHANGED * (number // computes))[1]
            else:
                body = whole[number % computes][kind]
            say(body)
        pipe.send(late)


def _by_time(*streams):
    """Entries of endless streams, the earliest first."""
    heads = [next(stream) for stream in streams]
    while True:
        number = min(range(len(heads)), key=lambda index: heads[index][0])
        yield heads[number]
        heads[number] = next(streams[number])


def consume(server, pipe):
    """A process in the place of Nova's conductor: it reads each message."""
    with connection(server) as found:
        channel = found.channel()
        channel.basic_consume("conductor", no_ack=True, callback=lambda message: None)
        pipe.send("reads")
        while not pipe.poll():
            with contextlib.suppress(TimeoutError):
                found.drain_events(timeout=1)


class LogReader:
    """Reads a log in a thread: which hosts it has, and when a host was forced down or up."""

    def __init__(self, url):
        self.hosts, self.seen, self.size_bytes, self.events = set(), {}, 0, 0
        self._url, self._stop = url, threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        forced = {}
        with contextlib.closing(open_log(self._url)) as log, log.read_from(log.bounds().first) as reader:
            while not self._stop.is_set():
                for record in reader.read(1000, 0.2):
                    self.size_bytes += len(record.payload)
                    for event in codec.decode_record(record.payload).events:
                        self.events += 1
                        if type(event.data).__name__ != "HostReported":
                            continue
                        host, is_down = event.data.host, event.data.status.forced_down
                        self.hosts.add(host)
                        if forced.get(host, False) != is_down:
                            forced[host] = is_down
                            self.seen.setdefault((host, is_down), time.time())

    @property
    def reads(self):
        """Whether it still reads; it ends with its first fault."""
        return self._thread.is_alive()

    def close(self):
        """Stop reading."""
        self._stop.set()
        self._thread.join()


@contextlib.contextmanager
def beside(target, *arguments):
    """A process of the load; yields our end of its pipe."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=target, args=(*arguments, theirs), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        process.kill()
        process.join()


def loaded(server, computes, seconds, groups, is_ready=lambda: None):
    """Publish for a while; returns (CPU seconds of each group, the marks, seconds that it was late at worst)."""
    with beside(consume, server) as reading, beside(publish, server, computes, seconds) as pipe:
        reading.recv()
        pipe.recv()
        is_ready()
        before = {name: cpu_seconds({group}) for name, group in groups.items()}
        pipe.send("go")
        marks = []
        while isinstance(found := pipe.recv(), tuple):
            marks.append(found)
        used = {name: cpu_seconds({group}) - before[name] for name, group in groups.items()}
    return used, marks, found


def measure(computes, seconds):
    """The figures of a cell."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(RabbitServer())
        server.add_user("tap", "secret", *RIGHTS, vhost=VHOST)
        nova = stack.enter_context(connection(server))
        channel = nova.channel()
        channel.exchange_declare("nova", "topic", durable=False, auto_delete=False)
        channel.queue_declare("conductor", durable=False, auto_delete=False)
        channel.queue_bind("conductor", "nova", "conductor")
        broker = server._process.pid
        alone, _, _ = loaded(server, computes, seconds, {"broker": broker})
        log = server.url("nova_sched.cell1")
        prepare(log)
        fill(log, computes, 0)
        config = directory / "nova_sched.conf"
        sections = sections_for(
            directory,
            DEFAULT={"transport_url": server.url()},
            cells={"cell0_log": server.url("nova_sched.cell0")},
            cell_cell1={"log": log},
            tap={"enabled": "true", "url": server.url(vhost=VHOST, user="tap", password="secret")},
        )
        config.write_text(config_text(sections))
        env, option = {"PYTHONPATH": str(ROOT)}, f"--config-file={config}"
        conductor = [sys.executable, "-m", "conductor.main", "--level", "cell", "--cell", "cell1", option]
        conductor = stack.enter_context(running(conductor, env, ROOT))
        scheduler = [sys.executable, "-m", "nova_sched.scheduler.main", option]
        scheduler = stack.enter_context(running(scheduler, env, ROOT))
        wait_until(
            lambda: "nova_sched.tap.cell1" in server.rabbitmqctl("list_queues", "-p", VHOST, "name"),
            READY_SECONDS_MAX,
            "the conductor does not tap",
        )
        reader = LogReader(log)
        stack.callback(reader.close)

        def has_hosts():
            if not reader.reads:
                raise SystemExit("the log cannot be read")
            return len(reader.hosts) == computes

        def all_hosts():
            wait_until(has_hosts, READY_SECONDS_MAX, f"not {computes} hosts in the log")
            time.sleep(5)  # (what is left of the start)
            reader.seen.clear()
            reader.size_bytes = reader.events = 0

        groups = {"broker": broker, "conductor": conductor.pid, "scheduler": scheduler.pid}
        used, marks, late = loaded(server, computes, seconds, groups, all_hosts)
        wait_until(lambda: len(reader.seen) >= len(marks), 60, f"{len(reader.seen)} of {len(marks)} marks in the log")
        delays = sorted(1000 * (reader.seen[host, is_down] - sent) for host, is_down, sent in marks)
        return {
            "computes": computes,
            "messages_per_s": round(computes / HEARTBEAT_SECONDS + computes / NODE_SECONDS, 1),
            "late_s": round(late, 2),
            "broker_without_tap_cores": round(alone["broker"] / seconds, 3),
            "broker_with_tap_cores": round(used["broker"] / seconds, 3),
            "conductor_cores": round(used["conductor"] / seconds, 3),
            "scheduler_cores": round(used["scheduler"] / seconds, 3),
            "conductor_mb": round(memory_mb(conductor.pid)),
            "scheduler_mb": round(memory_mb(scheduler.pid)),
            "delay_p50_ms": round(statistics.median(delays), 1),
            "delay_p99_ms": round(delays[min(len(delays) - 1, int(0.99 * len(delays)))], 1),
            "events_per_s": round(reader.events / seconds, 1),
            "log_bytes_per_host_and_day": round(reader.size_bytes / seconds * DAY_SECONDS / computes),
        }


def main(argv=None):
    """Print the figures, and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--computes", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=60)
    arguments = parser.parse_args(argv)
    figures = measure(arguments.computes, arguments.seconds)
    if figures["late_s"] > LATE_SECONDS_MAX:
        print(f"the machine was too busy: messages were published up to {figures['late_s']} s late", file=sys.stderr)
    for name, value in figures.items():
        print(f"{name:30} {value}")
    print(json.dumps({"benchmark": "tapped_cell", **figures}))


if __name__ == "__main__":
    main()
