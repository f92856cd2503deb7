"""What the wire tap costs in a cell of 10,000 hosts: reading the messages of nova-compute, and the model of the hosts.

``python -m bench.tap [--hosts 10000]``
"""

import argparse
import json
import time

from conductor.tap.decode import decode
from conductor.tap.model import LEVEL, TapModel
from nova_sched.projection.projection import Projection
from rpc_api import codec, events
from tests.builders import created, uuid_of
from tests.conductor.tap.messages import recorded, with_fields

BODIES = recorded()


def seconds(function):
    """Seconds that a function takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


class _Log:
    """Folds events at once, 500 in a record."""

    def __init__(self):
        self.projection = Projection("cell1")
        self._numbers = {}

    def append(self, producer, data):
        for start in range(0, len(data), 500):
            batch = []
            for item in data[start : start + 500]:
                number = self._numbers[producer] = self._numbers.get(producer, 0) + 1
                batch.append(codec.make_event(item, producer, 1, number, 1))
            level = self.projection.level
            self.projection.fold([(self.projection.position + 1, codec.DecodedRecord("e", batch, None, None, level))])


def measure(hosts):
    """The figures, in microseconds per message, and milliseconds per step."""
    log, names = _Log(), [f"host-{number}" for number in range(hosts)]
    log.append("operator/bench", [events.LevelPinned(LEVEL)])
    log.append("placement/bench", [created(name) for name in names])
    beats = [with_fields(BODIES["heartbeat"], host=name) for name in names]
    nodes = [with_fields(BODIES["node saved"], host=name, uuid=uuid_of(name)) for name in names]
    model, figures = TapModel(60.0, 0.0), {}
    for what, bodies in (("heartbeat", beats), ("compute node", nodes)):
        figures[f"decode a {what}, us"] = round(seconds(lambda bodies=bodies: list(map(decode, bodies))) / hosts * 1e6)

    def take(bodies, now):
        for body in bodies:
            model.take(decode(body), log.projection, now)
        return model.due(log.projection, now)

    figures["report all hosts, ms"] = round(
        seconds(lambda: log.append("conductor/bench", take(beats, 1.0) + take(nodes, 2.0))) * 1e3
    )
    assert len(log.projection.hosts) == hosts
    figures["heartbeats of all hosts, ms"] = round(seconds(lambda: take(beats, 10.0)) * 1e3)
    figures["compute nodes of all hosts, unchanged, ms"] = round(seconds(lambda: take(nodes, 20.0)) * 1e3)
    figures["tick, ms"] = round(seconds(lambda: model.liveness(log.projection, 21.0)) * 1e3, 1)
    return figures


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=10_000)
    options = parser.parse_args(arguments)
    print(json.dumps({"hosts": options.hosts} | measure(options.hosts), indent=1))


if __name__ == "__main__":
    main()
