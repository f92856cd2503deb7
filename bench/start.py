"""How long a scheduler takes from nothing to ready: from a snapshot, from the whole log, and from a checkpoint in the
log; what the snapshot costs, and the memory of the process that starts from the checkpoint.

``python -m bench.start [--hosts N] [--instances N] [--only-checkpoint]``
"""

import argparse
import json
import resource
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


def keep(directory, packed_in):
    """Write a log at level 3 whose records before its checkpoint are gone: it has the state of a snapshot."""
    import uuid

    from nova_sched.process.checkpoints import PART_BYTES
    from nova_sched.process.snapshot_store import FileStore
    from nova_sched.projection import snapshot
    from nova_sched.replay.logs.reading import decoded_records
    from rpc_api import codec, events
    from rpc_api.log import open_log

    state, number = snapshot.load(FileStore(packed_in).load("cell1")), 0
    with open_log(f"sqlite:///{directory}/cell1.db?synchronous=normal") as log:

        def append(data, producer="conductor/bench", level=3):
            nonlocal number
            number += 1
            log.append([codec.encode_record(state.epoch, [codec.make_event(data, producer, 1, number, 0)], level)])

        with open_log(f"sqlite:///{packed_in}/cell1.db") as whole, whole.read_from(state.position) as reader:
            log.restore(reader.read())
        append(events.LevelPinned(3), "operator/bench", 1)
        state.fold(decoded_records(log, state.position + 1))
        packed, checkpoint = snapshot.dump(state), str(uuid.uuid4())
        first = log.bounds().last + 1
        contents = [packed[start : start + PART_BYTES] for start in range(0, len(packed), PART_BYTES)]
        for part, content in enumerate(contents):
            append(events.StateKept(checkpoint, state.position, part, len(contents), content))
        append(events.CheckpointNamed(checkpoint, state.position, first, log.bounds().last))
    return len(packed), len(contents)


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
    peak_mb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    hosts = scheduler.call(lambda engine: len(engine.world.table.roots())).result(60)
    print(json.dumps([took, hosts, peak_mb]), flush=True)
    scheduler.stop()


def main(argv=None):
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=100_000)
    parser.add_argument("--instances", type=int, default=100_000)
    parser.add_argument("--only-checkpoint", action="store_true", help="leave out the start from the whole log")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as kept:
        dump_seconds, size = build(Path(directory), arguments.hosts, arguments.instances)
        checkpoint_bytes, parts = keep(Path(kept), directory)
        figures = {}
        for name, place, use_snapshot in (
            ("from_snapshot_s", directory, True),
            ("from_whole_log_s", directory, False),
            ("from_checkpoint_s", kept, False),
        ):
            if arguments.only_checkpoint and place != kept:
                continue
            code = (
                f"from rpc_api import concurrency; concurrency.setup(); from bench.start import child; "
                f"child({place!r}, {use_snapshot})"
            )
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True
            )
            took, hosts, peak_mb = json.loads(done.stdout)
            assert hosts == arguments.hosts
            figures[name] = round(took, 2)
            figures["peak_mb"] = peak_mb
    print(
        json.dumps(
            {
                "benchmark": "start",
                "hosts": arguments.hosts,
                "instances": arguments.instances,
                **figures,
                "dump_s": round(dump_seconds, 2),
                "snapshot_mb": round(size / 1e6, 1),
                "checkpoint_mb": round(checkpoint_bytes / 1e6, 1),
                "parts": parts,
            }
        )
    )


if __name__ == "__main__":
    main()
