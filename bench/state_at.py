"""How long the state at a moment takes in a long log: for the first time, and once snapshots of it are kept.

``python -m bench state_at [--hosts N] [--events N] [--log FILE]``
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

from bench.cloud import EPOCH, UP, claim, reported
from nova_sched.process.tuning import prepare_memory
from nova_sched.replay.state.history import History, SnapshotCache
from rpc_api import codec, digest, events
from rpc_api.log import open_log

SEED = 7
INSTANCES_A_HOST = 10
LOOKS = 9
#: Records that are appended at once.
AT_ONCE = 500


class _Cloud:
    """Hosts that run instances; says what happens to them."""

    def __init__(self, hosts, rng):
        self.rng = rng
        self.at_ns = 0
        self.sequences = {}
        self.running = []
        self.names = [f"host-{number}" for number in range(hosts)]
        said = {name: reported(name) for name in self.names}
        self.first = [self._by(f"compute_agent/{name}", one) for name, one in said.items()]
        self.inventories = {name: digest.inventory_digest(one.inventory) for name, one in said.items()}
        self.sums = dict.fromkeys(self.names, 0)
        self.made = 0

    def _by(self, producer, data):
        sequence = self.sequences[producer] = self.sequences.get(producer, 0) + 1
        return codec.make_event(data, producer, 1, sequence, self._tick())

    def _tick(self):
        self.at_ns += 1_000_000
        return self.at_ns

    def more(self):
        """A few events that follow each other."""
        host = self.rng.choice(self.names)
        voice = f"compute_agent/{host}"
        if self.rng.random() < 0.6:
            return [
                self._by(
                    voice, events.HostConfirmed(host, digest.host_digest(self.inventories[host], UP, self.sums[host]))
                )
            ]
        if len(self.running) > INSTANCES_A_HOST * len(self.names):
            consumer, where = self.running.pop(self.rng.randrange(len(self.running)))
            self._count(where, consumer, -1)
            return [self._by(f"compute_agent/{where}", events.InstanceDeleted(where, consumer.instance_uuid))]
        self.made += 1
        one = claim(self.made, host)
        consumer = events.Consumer(one.instance_uuid, one.project_id, one.allocations, None)
        self.running.append((consumer, host))
        self._count(host, consumer, +1)
        return [self._by("scheduler/bench", one), self._by(voice, events.InstanceStarted(host, consumer))]

    def _count(self, host, consumer, sign):
        hash_ = digest.consumer_hash(consumer.instance_uuid, consumer.allocations, consumer.guest)
        self.sums[host] = (self.sums[host] + sign * hash_) & digest.MASK


def fill(log, hosts, count) -> None:
    """Append a log of so many events in records of 50 to 100."""
    rng = random.Random(SEED)
    cloud = _Cloud(hosts, rng)
    batch = [codec.make_event(events.LogOpened("cell1", EPOCH), "conductor/bench", 1, 1, 1), *cloud.first]
    records, done = [], 0
    while done < count:
        size = min(rng.randint(50, 100), count - done)
        while len(batch) < size:
            batch += cloud.more()
        records.append(codec.encode_record(EPOCH, batch[:size]))
        done += size
        del batch[:size]
        if len(records) == AT_ONCE or done == count:
            log.append(records)
            records = []


def looks(log, directory) -> dict:
    """Seconds of the first look at the end, and of looks at positions all over the log after it; ``cpu`` is what the
    process itself took of a median look."""
    last, rng = log.bounds().last, random.Random(SEED)

    def look(position):
        started = time.perf_counter(), time.process_time()
        History({"cell1": log}, SnapshotCache(directory)).world_at({"cell1": position})
        return time.perf_counter() - started[0], time.process_time() - started[1]

    first = look(last)[0]
    again, cpu = zip(*(look(rng.randint(last // 20, last)) for _ in range(LOOKS)), strict=True)
    return {
        "first": round(first, 2),
        "again_median": round(statistics.median(again), 2),
        "again_worst": round(max(again), 2),
        "cpu_median": round(statistics.median(cpu), 2),
        "cpu_worst": round(max(cpu), 2),
    }


def main(argv=None):
    """Print a line for people and one of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=2000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--log", metavar="FILE", help="a log of SQLite of an earlier run, or where to keep it")
    arguments = parser.parse_args(argv)
    prepare_memory()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(arguments.log or f"{directory}/log.db").resolve()
        fresh = not path.exists()
        with open_log(f"sqlite:///{path}") as log:
            if fresh:
                fill(log, arguments.hosts, arguments.events)
            seconds = looks(log, Path(directory) / "cache")
    print(
        f"state at the end for the first time {seconds['first']} s; at {LOOKS} positions after that "
        f"{seconds['again_median']} s (median), {seconds['again_worst']} s (worst)"
    )
    print(
        json.dumps({"benchmark": "state_at", "hosts": arguments.hosts, "events": arguments.events, "seconds": seconds})
    )


if __name__ == "__main__":
    main()
