"""Logs in memory that a test writes record by record, a second between two records."""

import itertools

from rpc_api import codec, events
from rpc_api.log import open_log
from tests.builders import EPOCH, Voice, record_of, speaker_of

_names = itertools.count()
SECOND_NS = 10**9
BEGAN_NS = 1_800_000_000 * SECOND_NS


class Written:
    """A log of a cell that is written record by record; ``log`` is open, ``at(position)`` is a record's time."""

    def __init__(self, *published, cell="cell1", epoch=EPOCH, url=None):
        self.epoch, self.voices, self.level = epoch, {}, 1
        self.log = open_log(url or f"memory://written-{next(_names)}")
        self.say(events.LogOpened(cell, EPOCH), by="conductor/opener")
        for data in published:
            self.say(data)

    def say(self, *batch, by=None):
        """Append a record of some events."""
        at_ns = self.at(self.log.bounds().last + 1)
        made = [
            self.voices.setdefault(name, Voice(name)).say(data)._replace(at_ns=at_ns)
            for data in batch
            for name in [by or speaker_of(data)]
        ]
        self.log.append([record_of(*made, epoch=self.epoch, level=self.level)])
        self.level = max([self.level, *(data.level for data in batch if type(data) is events.LevelPinned)])
        return self

    @staticmethod
    def at(position):
        return BEGAN_NS + position * SECOND_NS


def records_of(log):
    """(position, DecodedRecord) of all records."""
    with log.read_from(log.bounds().first) as reader:
        return [(record.position, codec.decode_record(record.payload)) for record in reader.read(100_000, 5)]
