"""What a write of Placement's API costs on RabbitMQ: published, read back, folded and settled, beside a bare record of
the same size that is published and read back. Both come in turns, on one log.

``python -m bench write [--url rabbit://user:password@host:port/vhost] [--writes N]``
"""

import argparse
import json
import statistics
import time
import uuid
from contextlib import ExitStack

from bench.call import open_broker
from nova_sched.projection.projection import Projection
from rpc_api import codec, events
from rpc_api.feed.epoch import open_at_level
from rpc_api.levels import LEVEL
from rpc_api.log import open_log

REQUEST = ("req-bench", "user")
WARM_UP = 20
PRODUCER = "placement/bench"


def uuid_of(name):
    """The uuid of a name."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


class Worker:
    """A worker of the API over one log: what it publishes it folds, until it knows the outcome."""

    def __init__(self, log):
        self._log = log
        self._epoch = open_at_level(log, "cell1", "operator/bench", LEVEL)[0].epoch
        self._projection = Projection("cell1")
        self._projection.writes = []
        self._reader = log.read_from(0)
        self._sequence = 0

    def write(self, data):
        """Publish a write, and wait for its outcome."""
        self._sequence += 1
        event = codec.make_event(data, PRODUCER, 1, self._sequence, time.time_ns())
        self._log.append([codec.encode_record(self._epoch, [event], LEVEL)])
        while not (self._projection.writes and self._projection.writes[-1].sequence == self._sequence):
            records = self._reader.read(100, 1.0)
            self._projection.fold([(record.position, codec.decode_record(record.payload)) for record in records])
        written = self._projection.writes[-1]
        if written.reason is not None:
            raise SystemExit(f"refused: {written.reason}")

    def bare(self, payload):
        """Publish a record, and read it back."""
        self._log.append([payload])
        while not any(record.payload == payload for record in self._reader.read(100, 1.0)):
            pass

    def close(self):
        """Close the reader."""
        self._reader.close()


def main(argv=None):
    """Print the two medians, their ratio, and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="rabbit://user:password@host:port/vhost of a broker (default: a private one)")
    parser.add_argument("--writes", type=int, default=500)
    arguments = parser.parse_args(argv)
    seconds = {"bare": [], "write": []}
    with ExitStack() as stack:
        _, log_url = open_broker(stack, arguments.url)
        log = stack.enter_context(open_log(log_url("write")))
        worker = Worker(log)
        stack.callback(worker.close)
        provider = uuid_of("provider")
        worker.write(events.ProviderCreated(provider, "provider", None, *REQUEST))
        large = events.Inventory("DISK_GB", 2**31 - 1, 0, 1, 2**31 - 1, 1, 1.0)
        worker.write(events.InventoriesPut(provider, None, "all", (large,), *REQUEST))
        for number in range(WARM_UP + arguments.writes):
            put = events.ConsumerPut(
                uuid_of(f"consumer {number}"),
                True,
                None,
                "project",
                "user",
                "INSTANCE",
                (events.Allocation(provider, "DISK_GB", 1),),
            )
            began = time.monotonic()
            worker.write(events.AllocationsPut((put,), *REQUEST))
            middle = time.monotonic()
            worker.bare(b"\xc1" + number.to_bytes(8, "big") + b"x" * 250)
            ended = time.monotonic()
            if number >= WARM_UP:
                seconds["write"].append(middle - began)
                seconds["bare"].append(ended - middle)
    medians = {name: round(statistics.median(values) * 1e3, 3) for name, values in seconds.items()}
    ratio = round(medians["write"] / medians["bare"], 2)
    print(f"bare {medians['bare']} ms, write {medians['write']} ms, ratio {ratio} (medians of {arguments.writes})")
    print(json.dumps({"benchmark": "write", "median_ms": medians, "ratio": ratio}))


if __name__ == "__main__":
    main()
