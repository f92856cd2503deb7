"""Decisions and claims of logs on disk: written while the logs are read once, and read in another order."""

import sqlite3

import msgpack

from nova_sched.replay.decisions.recorded import incarnation, recorded_of
from rpc_api import codec
from rpc_api.levels import LEVEL

_TABLES = """
CREATE TABLE decisions (cell TEXT, position INTEGER, producer TEXT, epoch INTEGER, sequence INTEGER, digest TEXT,
                        known INTEGER, instance TEXT, claim TEXT, event BLOB);
CREATE TABLE claims (cell TEXT, producer TEXT, epoch INTEGER, sequence INTEGER, position INTEGER, claim TEXT,
                     event BLOB);
"""
_INDICES = """
CREATE INDEX decisions_in_order ON decisions (producer, digest, known, sequence);
CREATE INDEX claims_by_producer ON claims (cell, producer, epoch, sequence);
CREATE INDEX claims_by_uuid ON claims (claim);
"""


class Spool:
    """A private database that is deleted when it is closed; a context manager. Write everything, then :meth:`sort`,
    then read."""

    def __init__(self):
        # (An empty name makes a temporary file without a name.)
        self._database = sqlite3.connect("")
        self._database.executescript(_TABLES)
        #: (Cell, position, reason) of decisions whose evidence cannot be read.
        self.unreadable = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._database.close()

    def note(self, cell: str, position: int, event, level: int = 1) -> None:
        """Write an event of a record of a level, if it is a decision or a claim."""
        if event.name == "DecisionMade":
            recorded = recorded_of(cell, position, event)
            if recorded.evidence is None:
                self.unreadable.append((cell, position, recorded.fault))
                return
            known = sum(position.position for position in recorded.evidence.positions)
            self._database.execute(
                "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    cell,
                    position,
                    event.producer,
                    event.producer_epoch,
                    event.sequence,
                    recorded.evidence.policy_digest,
                    known,
                    event.data.instance_uuid,
                    event.data.claim_uuid,
                    _packed(event, level),
                ),
            )
        elif event.name == "ClaimProposed":
            self._database.execute(
                "INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    cell,
                    event.producer,
                    event.producer_epoch,
                    event.sequence,
                    position,
                    event.data.claim_uuid,
                    _packed(event, level),
                ),
            )

    def sort(self) -> None:
        """All is put down."""
        self._database.executescript(_INDICES)

    def count(self) -> int:
        """Return the number of decisions."""
        return self._database.execute("SELECT count(*) FROM decisions").fetchone()[0]

    def voices(self):
        """Return the list of (producer, policy digest) that decided."""
        return self._database.execute("SELECT DISTINCT producer, digest FROM decisions ORDER BY 1, 2").fetchall()

    def decisions(self, producer: str, digest: str):
        """Yield the :class:`~nova_sched.replay.decisions.recorded.Recorded` of one producer and policy, in the order of
        the positions that they knew. A decision that is twice in a log is given once."""
        yield from self._each_once(
            self._database.execute(
                "SELECT cell, position, event FROM decisions WHERE producer = ? AND digest = ? ORDER BY known, cell, "
                "epoch, sequence, position",
                (producer, digest),
            )
        )

    def of_producer(self, producer: str):
        """Yield as :meth:`decisions`, of one producer with all its policies."""
        yield from self._each_once(
            self._database.execute(
                "SELECT cell, position, event FROM decisions WHERE producer = ? ORDER BY known, cell, epoch, "
                "sequence, position",
                (producer,),
            )
        )

    @staticmethod
    def _each_once(rows):
        last = None
        for cell, position, packed in rows:
            recorded = recorded_of(cell, position, *_unpacked(packed))
            if recorded.key != last:
                yield recorded
            last = recorded.key

    def in_flight(self, cell: str, recorded, first: int, last: int):
        """Return the claims of a decision's scheduler in a cell with sequences from ``first`` to ``last``."""
        epoch = incarnation(
            [
                epoch_
                for (epoch_,) in self._database.execute(
                    "SELECT DISTINCT epoch FROM claims WHERE cell = ? AND producer = ?", (cell, recorded.producer)
                )
            ],
            recorded,
        )
        found = {}
        for sequence, packed in self._database.execute(
            "SELECT sequence, event FROM claims WHERE cell = ? AND producer = ? AND epoch = ? AND sequence "
            "BETWEEN ? AND ? ORDER BY sequence, position",
            (cell, recorded.producer, epoch, first, last),
        ):
            found.setdefault(sequence, packed)
        return [_unpacked(packed)[0].data for packed in found.values()]

    def without_claim(self):
        """Yield (cell, position, instance) of the decisions that found a host, and whose claim is in no log."""
        yield from self._database.execute(
            "SELECT cell, position, instance FROM decisions WHERE claim IS NOT NULL AND NOT EXISTS "
            "(SELECT 1 FROM claims WHERE claims.claim = decisions.claim) ORDER BY cell, position"
        )

    def instances(self, instances):
        """Return the instances that have a decision, of some instances."""
        return {
            uuid
            for uuid in instances
            if self._database.execute("SELECT 1 FROM decisions WHERE instance = ? LIMIT 1", (uuid,)).fetchone()
        }


def _packed(event, level):
    # In the newest form, so that nothing is left out. The level of the record is in the place of the epoch.
    return msgpack.packb((LEVEL, str(level), (event,)))


def _unpacked(packed):
    """Return (event, level of its record)."""
    record = codec.decode_record(packed)
    return record.events[0], int(record.epoch)
