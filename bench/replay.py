"""How fast the replay tool reads: a log of so many events in records of 100, on the disk and as an exported file.

``python -m bench replay [--events N] [--hosts N] [--keep DIR]``
"""

import argparse
import contextlib
import io
import json
import lzma
import os
import tempfile
import time
import zlib
from pathlib import Path

from bench.cloud import EPOCH, UP, claim, records, reported, uuid_of
from nova_sched.cli.main import replay
from rpc_api import digest, events
from rpc_api.log import open_log


def build(url, count, hosts, quiet=False):
    """Write a log of ``count`` events: hosts report, then claims are made, started, deleted, and hosts confirm: each a
    quarter of the events, or in a ``quiet`` cloud 97 confirmations to one of each of the others."""
    names = [f"host-{number}" for number in range(hosts)]
    sequences = dict.fromkeys((f"compute_agent/{name}" for name in names), 0)
    sequences |= {"scheduler/bench": 0, "conductor/bench": 0}
    confirmed = {name: digest.host_digest(digest.inventory_digest(reported(name).inventory), UP, 0) for name in names}

    def items():
        yield "conductor/bench", events.LogOpened("cell1", EPOCH)
        for name in names:
            yield f"compute_agent/{name}", reported(name)
        for number in range(count):
            name = names[number % hosts]
            said, agent = claim(number, name), f"compute_agent/{name}"
            consumer = events.Consumer(said.instance_uuid, said.project_id, said.allocations, None)
            yield "scheduler/bench", said
            yield agent, events.InstanceStarted(name, consumer)
            yield agent, events.InstanceDeleted(name, said.instance_uuid)
            for other in range(number * 96, number * 96 + 96) if quiet else ():
                other = names[other % hosts]
                yield f"compute_agent/{other}", events.HostConfirmed(other, confirmed[other])
            yield agent, events.HostConfirmed(name, confirmed[name])

    batch, position = [], 0
    with open_log(f"{url}?synchronous=normal") as log:
        for number, (producer, data) in enumerate(items()):
            sequences[producer] += 1
            batch.append((producer, sequences[producer], data))
            if len(batch) == 10_000 or number + 1 == count:
                log.append([payload for _, payload in records(batch, position)])
                batch = []
            if number + 1 == count:
                return


def run(*arguments):
    """Run a command of the tool; returns (seconds, what it wrote)."""
    out = io.StringIO()
    started = time.monotonic()
    with contextlib.redirect_stdout(out):
        code = replay(list(arguments))
    took = time.monotonic() - started
    if code != 0:
        raise SystemExit(f"{arguments}: exit code {code}")
    return took, out.getvalue()


def compression(url):
    """Megabytes and seconds of the first 50 MB of records, in pieces of 1 MiB, by each way to compress them."""
    pieces, size = [b""], 0
    with open_log(url, create=False) as log, log.read_from(0) as reader:
        while size < 50e6:
            for record in reader.read(100):
                pieces[-1] += record.payload
                size += len(record.payload)
                if len(pieces[-1]) >= 1 << 20:
                    pieces.append(b"")
            if reader.position > log.bounds().last:
                break
    found = {"plain_mb": round(size / 1e6, 1)}
    for name, pack, unpack in (
        ("zlib 1", lambda one: zlib.compress(one, 1), zlib.decompress),
        ("zlib 6", zlib.compress, zlib.decompress),
        ("lzma 0", lambda one: lzma.compress(one, preset=0), lzma.decompress),
        ("lzma 6", lzma.compress, lzma.decompress),
    ):
        started = time.perf_counter()
        packed = [pack(piece) for piece in pieces]
        middle = time.perf_counter()
        for one in packed:
            unpack(one)
        found[name] = {
            "mb": round(sum(map(len, packed)) / 1e6, 2),
            "pack_s": round(middle - started, 2),
            "unpack_s": round(time.perf_counter() - middle, 2),
        }
    return found


def main(argv=None):
    """Print what each command took, and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--keep", metavar="DIR", help="where the logs are made, or were made before")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(arguments.keep or temporary)
        directory.mkdir(parents=True, exist_ok=True)
        os.environ["XDG_CACHE_HOME"] = str(directory / "cache")
        url, file = f"sqlite:///{directory}/cell1.db", str(directory / "cell1.nslog")
        if not (directory / "cell1.db").exists():
            build(url, arguments.events, arguments.hosts)
        figures = {"benchmark": "replay", "events": arguments.events, "compression": compression(url)}
        if not Path(file).exists():
            figures["export_s"] = round(run("--log", f"cell1={url}", "export", "--no-redact", "-o", file)[0], 1)
            figures["export_mb"] = round(os.path.getsize(file) / 1e6, 1)
        for name, log in (("sqlite", f"cell1={url}"), ("file", f"cell1={file}")):
            for what, condition in (
                ("host", ("--host", "host-77")),
                ("instance", ("--instance", uuid_of("instance 777"))),
                ("type", ("--type", "HostLost")),
            ):
                took, _ = run("--log", log, "tail", *condition)
                figures[f"tail_{what}_{name}_events_per_s"] = round(arguments.events / took)
        quiet = f"sqlite:///{directory}/quiet.db"
        if not (directory / "quiet.db").exists():
            build(quiet, arguments.events, arguments.hosts, quiet=True)
        for name, log in (("busy", url), ("quiet", quiet)):
            for what, options in (("fold", ()), ("verify", ("--verify", "--no-decisions"))):
                took, _ = run("--log", f"cell1={log}", "--no-cache", "replay", *options)
                figures[f"{what}_{name}_events_per_s"] = round(arguments.events / took)
        for name, value in figures.items():
            print(f"{name:<36} {value}")
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
