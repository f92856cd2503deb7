"""Hand-made logs in memory, a moment of a second between two records."""

import itertools

from rpc_api import codec, events
from rpc_api.log import open_log
from rpc_api.packing import pack
from tests import builders
from tests.builders import EPOCH, Voice, record_of, speaker_of
from tests.nova_sched.selection import asks

_names = itertools.count()
SECOND_NS = 10**9
BEGAN_NS = 1_800_000_000 * SECOND_NS


class Written:
    """A log of a cell that is written record by record; ``log`` is open, ``at(position)`` is a record's time."""

    def __init__(self, *said, cell="cell1", epoch=EPOCH, url=None):
        self.epoch, self.voices = epoch, {}
        self.log = open_log(url or f"memory://written-{next(_names)}")
        self.say(events.LogOpened(cell, EPOCH), by="conductor/opener")
        for data in said:
            self.say(data)

    def say(self, *batch, by=None):
        """Append a record of some events."""
        at_ns = self.at(self.log.bounds().last + 1)
        made = [
            self.voices.setdefault(name, Voice(name)).say(data)._replace(at_ns=at_ns)
            for data in batch
            for name in [by or speaker_of(data)]
        ]
        self.log.append([record_of(*made, epoch=self.epoch)])
        return self

    @staticmethod
    def at(position):
        return BEGAN_NS + position * SECOND_NS


def request(**facts):
    """A SchedulingRequest for 1 VCPU of the flavor m1."""
    return asks.request(**facts)


def decision(name, *hosts, known=0, cell="cell1", refusals=(), took_ns=2_000_000, attempt=0, asked=None):
    """A DecisionMade for the instance of a name; without hosts one that found none."""
    evidence = events.Evidence(
        asked or request(request_id=f"req-{name}"),
        (events.CellPosition(cell, EPOCH, known, 0, 0),),
        "0" * 16,
        1,
        4,
        1 if hosts else 0,
        1,
        tuple(events.RefusalCount(*one) for one in refusals),
        (),
    )
    return events.DecisionMade(
        f"req-{name}",
        builders.uuid_of(name),
        attempt,
        "selected" if hosts else "no_valid_host",
        "1/4 hosts",
        builders.uuid_of(f"claim of {name}") if hosts else None,
        tuple(hosts),
        took_ns,
        pack(evidence),
    )


def records_of(log):
    """(position, DecodedRecord) of all records."""
    with log.read_from(log.bounds().first) as reader:
        return [(one.position, codec.decode_record(one.payload)) for one in reader.read(100_000, 5)]
