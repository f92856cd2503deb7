"""How many bytes an event of each type takes on the disk of a log: as a record of its own, in SQLite and in a stream of
RabbitMQ. From these follow the bytes per host and day, and per instance.

``python -m bench log_bytes [--records N]``; the events are those of the logs in docs/operating.
"""

import argparse
import itertools
import os
import tempfile
from pathlib import Path

from nova_sched.replay.archive.log import open_archive
from nova_sched.replay.logs.reading import decoded_records
from rpc_api import codec, events
from rpc_api.contracts.agent import CONFIRM_INTERVAL
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.servers import RabbitServer, wait_until

FILES = [
    Path(__file__).resolve().parent.parent / "docs" / "operating" / name for name in ("demo.nslog", "ledger.nslog")
]
TYPES = (
    "HostConfirmed",
    "HostReported",
    "ClaimProposed",
    "DecisionMade",
    "InstanceStarted",
    "AllocationsPut",
    "InventoriesPut",
    "ProviderCreated",
)
EPOCH = "11111111-2222-4333-8444-555555555555"
DAY = 86400
#: The events of an instance's life with an agent: claimed, decided, started, deleted (a small event as a start is).
LIFE = ("ClaimProposed", "DecisionMade", "InstanceStarted")


def payloads() -> dict[str, list[bytes]]:
    """Records of one event each, by type."""
    found = {name: [] for name in TYPES}
    for path in FILES:
        for _, log in open_archive(str(path)):
            with log:
                for _, record in decoded_records(log, log.bounds().first):
                    for event in record.events:
                        if getattr(event, "name", None) in found:
                            made = codec.make_event(event.data, event.producer, 1, 1, 1)
                            found[event.name].append(codec.encode_record(EPOCH, [made], LEVEL))
    confirmed = codec.make_event(events.HostConfirmed("host-4711", 2**52), "compute_agent/host-4711", 2**60, 1, 2**60)
    found["HostConfirmed"].append(codec.encode_record(EPOCH, [confirmed], LEVEL))
    return found


def appended(log, records, count) -> None:
    """Append ``count`` records in batches of 100."""
    endless = itertools.cycle(records)
    for start in range(0, count, 100):
        log.append([next(endless) for _ in range(min(100, count - start))])


def in_sqlite(records, count, folder) -> float:
    """Bytes per record of a SQLite log; the file of an empty one is taken off."""
    sizes = []
    for number in (0, count):
        path = Path(folder, f"{number}.db")
        with open_log(f"sqlite:///{path}") as log:
            appended(log, records, number)
        sizes.append(sum(found.stat().st_size for found in Path(folder).glob(f"{number}.db*")))
        for found in Path(folder).glob(f"{number}.db*"):
            os.unlink(found)
    return (sizes[1] - sizes[0]) / count


def in_stream(server, name, records, count) -> float:
    """Bytes per record of a stream: its segment files and their index."""
    with open_log(server.url(f"bytes-{name}")) as log:
        appended(log, records, count)
        folder = wait_until(
            lambda: next(iter(server.dir.rglob(f"*bytes-{name}*/*.segment")), None), 30, f"no segment of {name}"
        ).parent
        # The broker has confirmed the records, so they are in its files.
        return sum(path.stat().st_size for path in folder.iterdir()) / count


def main(arguments):
    """Measure, and print the table and the two sums."""
    parser = argparse.ArgumentParser(prog="python -m bench log_bytes", description=__doc__)
    parser.add_argument("--records", type=int, default=2000, help="records of each type (default: 2000)")
    count = parser.parse_args(arguments).records
    rows = {}
    with tempfile.TemporaryDirectory() as folder, RabbitServer() as server:
        print(f"{'event':<18}{'payload':>10}{'SQLite':>10}{'RabbitMQ':>10}   bytes per record of one event")
        for name, records in payloads().items():
            payload = sum(map(len, records)) / len(records)
            rows[name] = payload, in_sqlite(records, count, folder), in_stream(server, name, records, count)
            print(f"{name:<18}" + "".join(f"{value:>10.0f}" for value in rows[name]), flush=True)
    idle = [rows["HostConfirmed"][place] * DAY / CONFIRM_INTERVAL for place in range(3)]
    life = [sum(rows[name][place] for name in LIFE) for place in range(3)]
    print(f"{'host, idle, day':<18}" + "".join(f"{value / 1000:>9.1f}k" for value in idle))
    print(f"{'instance built':<18}" + "".join(f"{value / 1000:>9.1f}k" for value in life))
