"""The thread that reads copies: what it logs of losses."""

import logging

from rpc_api.bus.copies import Copy
from rpc_api.bus.copy_reader import CopyReader
from tests.builders import HandClock

LOG = logging.getLogger("tests.copy_reader")
MESSAGE = Copy("key", b"{}")


class Queue:
    """A queue of which each read takes the next pair (messages, whether some were dropped)."""

    url = "rabbit://broker"

    def __init__(self, *reads):
        self._reads = iter(reads)
        self._dropped = False

    def open(self):
        return True

    def read(self, timeout):
        messages, self._dropped = next(self._reads)
        return messages

    def has_dropped(self):
        return self._dropped

    def acknowledge(self):
        pass

    def close(self):
        pass


class Reader(CopyReader):
    def take(self, copies):
        return True

    def lost(self, why):
        return "nobody knows what was in them"


def test_losses_are_logged_once_and_their_end_once(caplog):
    """A queue that stays full drops messages all the time."""
    full, rest, empty = ([MESSAGE], True), ([MESSAGE], False), ([], False)
    reader = Reader("the tap", Queue(full, full, rest, full, empty, empty, full), HandClock(), LOG)

    def lines():
        return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    for _ in range(6):
        reader.round()
    lost = "the tap missed messages: its queue was full, and the broker dropped messages; nobody knows what was in them"
    over = "the tap misses no messages any more, after 0.0 s"
    assert lines() == [lost, over] and reader.drops == 3
    reader.round()
    assert lines() == [lost, over, lost]
