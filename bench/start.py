"""How long a scheduler takes from nothing to ready: from a snapshot and from the whole log,
and what the snapshot costs.

``python -m bench.start [--hosts N] [--instances N]``
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def build(directory, hosts, instances):
    """Write the log of a cell and its snapshot; prints what that took."""
    from bench.cloud import claim, records, reported
    from nova_sched.process.snapshot_store import FileStore
    from nova_sched.projection import snapshot
    from nova_sched.projection.projection import Projection
    from nova_sched.replay.logs.reading import decoded_records
    from rpc_api import events
    from rpc_api.log import open_log

    names = [f"host-{number}" for number in range(hosts)]
    with open_log(f"sqlite:///{directory}/cell1.db?synchronous=normal") as log:
        items = [("operator/bench", 1, events.LogOpened("cell1", "00000000-0000-4000-8000-000000000000"))]
        items += [(f"compute_agent/{name}", 1, reported(name)) for name in names]
        items += [("scheduler/bench", number + 1, claim(number, names[number % hosts])) for number in range(instances)]
        for start in range(0, len(items), 100):
            log.append([payload for _, payload in records(items[start : start + 100])])
        projection = Projection("cell1")
        projection.fold(decoded_records(log))
    started = time.monotonic()
    packed = snapshot.dump(projection)
    took = time.monotonic() - started
    FileStore(directory).save("cell1", packed)
    return took, len(packed)


def child(directory, use_snapshot):
    """In a process of its own: start a scheduler, wait until it is ready; prints the seconds."""
    from nova_sched.process.snapshot_store import FileStore
    from nova_sched.process.tuning import prepare_memory
    from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
    from nova_sched.selection.policy import Policy

    prepare_memory()
    started = time.monotonic()
    scheduler = Scheduler(
        "bench",
        cell0_of(f"sqlite:///{directory}/cell0.db"),
        [Cell("cell1", "11111111-aaaa-4aaa-8aaa-000000000001", f"sqlite:///{directory}/cell1.db")],
        Policy(),
        store=FileStore(directory) if use_snapshot else None,
    ).start()
    scheduler.wait_ready(600)
    took = time.monotonic() - started
    hosts = scheduler.call(lambda engine: len(engine.world.table.roots())).result(60)
    print(json.dumps([took, hosts]), flush=True)
    scheduler.stop()


def main(argv=None):
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=100_000)
    parser.add_argument("--instances", type=int, default=100_000)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as directory:
        dump_seconds, size = build(Path(directory), arguments.hosts, arguments.instances)
        seconds = {}
        for name, use_snapshot in (("from_snapshot_s", True), ("from_whole_log_s", False)):
            code = (
                f"from rpc_api import concurrency; concurrency.setup(); from bench.start import child; "
                f"child({directory!r}, {use_snapshot})"
            )
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True
            )
            took, hosts = json.loads(done.stdout)
            assert hosts == arguments.hosts
            seconds[name] = round(took, 2)
    print(
        json.dumps(
            {
                "benchmark": "start",
                "hosts": arguments.hosts,
                "instances": arguments.instances,
                **seconds,
                "dump_s": round(dump_seconds, 2),
                "snapshot_mb": round(size / 1e6, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
