"""Make the bytes of a checkpoint: fold a log, from its last checkpoint or a snapshot on, and dump the state.

A service must not stop for this, so it is done in a process of its own: ``python -m
nova_sched.process.checkpoint_maker`` reads one JSON object from its input, and writes the bytes to its output. A log in
memory has no other process, so its state is made in the thread that asks.
"""

import json
import os
import subprocess
import sys
from contextlib import suppress

from nova_sched.process.cell_log import find_beginning
from nova_sched.process.checkpoint_duty import Limits
from nova_sched.process.snapshot_store import open_store
from nova_sched.process.tuning import collector_paused
from nova_sched.projection import snapshot
from nova_sched.projection.beginning import projection_of
from rpc_api import codec, errors
from rpc_api.clock import SYSTEM
from rpc_api.log import open_log

#: Seconds for a record that the log has.
TIMEOUT = 30.0
#: Seconds for all of it.
WITHIN = 1800.0
NICE = 10
MAX_STDERR = 400


def made_here(cell: str, url: str, store=None, accounts_required: bool = False) -> bytes:
    """The state of a log at its present end, as bytes of a snapshot. Raises as the log's readers do, and LogGap if the
    state is not known."""
    with open_log(url, create=False) as log:
        if not log.bounds().count:
            raise errors.LogUnavailable(f"the log of {cell} has no record yet; start its services")
        _, beginning, position = find_beginning(log, cell, "", SYSTEM, store, accounts_required=accounts_required)
        with collector_paused():
            projection = projection_of(cell, beginning, accounts_required=accounts_required)
            with log.read_from(position) as reader:
                while reader.position <= beginning.catch_up:
                    records = reader.read(1000, TIMEOUT)
                    if not records:
                        raise errors.LogUnavailable(
                            f"the record {reader.position} of {log.url} did not arrive within {TIMEOUT:.0f} s"
                        )
                    projection.fold(
                        (record.position, codec.decode_record(record.payload, record.account)) for record in records
                    )
            return snapshot.dump(projection)


class Maker:
    """Makes checkpoints of one log, within the Limits ``limits``. ``store`` is the SnapshotStore of this process, and
    ``snapshots`` its URL."""

    def __init__(
        self,
        cell: str,
        url: str,
        limits: Limits = Limits(),
        store=None,
        snapshots: str | None = None,
        accounts_required: bool = False,
    ):
        self.limits = limits
        self._cell, self._url = cell, url
        self._store, self._snapshots = store, snapshots
        self._accounts_required = accounts_required
        self._process = None
        self._closed = False

    def make(self) -> bytes:
        """The state at the present end of the log. Raises NovaSchedError."""
        if self._url.startswith("memory:"):
            return made_here(self._cell, self._url, self._store, self._accounts_required)
        asked = json.dumps(
            {
                "cell": self._cell,
                "url": self._url,
                "snapshots": self._snapshots,
                "accounts_required": self._accounts_required,
            }
        )
        process = self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if self._closed:
            process.kill()
        try:
            packed, said = process.communicate(asked.encode(), WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise errors.LogUnavailable(f"its process did not end within {WITHIN:.0f} s") from None
        finally:
            self._process = None
        if process.returncode:
            why = said.decode(errors="replace").strip()[-MAX_STDERR:] or f"it ended with {process.returncode}"
            raise errors.LogUnavailable(f"its process could not make it: {why}")
        return packed

    def close(self) -> None:
        """End the process that makes one."""
        self._closed = True
        process = self._process
        if process is not None:
            with suppress(OSError):
                process.kill()


def main() -> int:
    """The process of its own."""
    with suppress(OSError):
        os.nice(NICE)
    asked = json.load(sys.stdin)
    try:
        store = open_store(asked["snapshots"]) if asked["snapshots"] else None
        packed = made_here(asked["cell"], asked["url"], store, asked["accounts_required"])
    except errors.NovaSchedError as fault:
        sys.stderr.write(str(fault))
        return fault.exit_code
    sys.stdout.buffer.write(packed)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
