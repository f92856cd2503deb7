"""How many events a second one process decodes and folds, by kind of event, in records of 100.

``python -m bench.fold [--hosts N] [--level N]``; the rules of the fold are those of the level.
"""

import argparse
import json
import time

from bench.cloud import UP, claim, records, reported
from nova_sched.process.tuning import settle_memory
from nova_sched.projection.projection import Projection
from rpc_api import codec, digest, events


def timed(projection, name, items):
    """Fold items and return (name, events/s)."""
    encoded = records(items, projection.position + 1, level=projection.level)
    settle_memory()
    started = time.perf_counter()
    for position, payload in encoded:
        projection.fold([(position, codec.decode_record(payload))])
    seconds = time.perf_counter() - started
    if projection.quarantine:
        raise SystemExit(f"set aside: {projection.quarantine[0]}")
    return name, len(items) / seconds


def rounds(hosts):
    """(name, items) of each kind of event, in an order in which each makes sense after the last."""
    names = [f"host-{number}" for number in range(hosts)]
    voices = {name: f"compute_agent/{name}" for name in names}
    busy = UP._replace(num_io_ops=3)
    yield "HostReported, first", [(voices[name], 1, reported(name)) for name in names]
    yield "HostReported, status changed", [(voices[name], 2, reported(name, busy)) for name in names]
    yield "HostReported, inventory changed", [(voices[name], 3, reported(name, busy, vcpus=72)) for name in names]
    claims = [claim(number, name) for number, name in enumerate(names)]
    yield "ClaimProposed", [("scheduler/bench", number, one) for number, one in enumerate(claims, 1)]
    consumers = [events.Consumer(one.instance_uuid, one.project_id, one.allocations, None) for one in claims]
    yield (
        "InstanceStarted",
        [
            (voices[one.host], 4, events.InstanceStarted(one.host, consumer))
            for one, consumer in zip(claims, consumers, strict=True)
        ],
    )
    yield (
        "HostReported, as it is",
        [
            (voices[name], 5, reported(name, busy, (consumer,), vcpus=72))
            for name, consumer in zip(names, consumers, strict=True)
        ],
    )
    sums = {}
    for name, consumer in zip(names, consumers, strict=True):
        packed = reported(name, busy, vcpus=72).inventory
        sums[name] = digest.host_digest(digest.inventory_digest(packed), busy, digest.consumers_digest((consumer,)))
    for sequence, name_ in ((6, "HostConfirmed, after a change"), (7, "HostConfirmed, as it was")):
        yield name_, [(voices[name], sequence, events.HostConfirmed(name, sums[name])) for name in names]
    yield (
        "InstanceDeleted",
        [(voices[one.host], 8, events.InstanceDeleted(one.host, one.instance_uuid)) for one in claims],
    )


def main(argv=None):
    """Print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--level", type=int, default=1, help="the level that the log is pinned to")
    arguments = parser.parse_args(argv)
    projection = Projection("cell1")
    if arguments.level > 1:
        timed(projection, "LevelPinned", [("operator/bench", 1, events.LevelPinned(arguments.level))])
    figures = {}
    for name, items in rounds(arguments.hosts):
        _, rate = timed(projection, name, items)
        figures[name] = round(rate)
        print(f"{name:<34} {rate:>10,.0f} events/s")
    print(json.dumps({"benchmark": "fold", **vars(arguments), "events_per_s": figures}))


if __name__ == "__main__":
    main()
