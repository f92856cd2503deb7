"""Any course of appends, reads, openings and truncations of a log, against a list: three lines for each back-end."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rpc_api import errors
from rpc_api.log import Bounds, open_log
from tests.rpc_api.log.contract import bare

PAYLOADS = st.lists(st.binary(min_size=1, max_size=40) | st.just(b"x" * 70_000), max_size=5)
#: Far more than anything here takes.
PATIENCE_SECONDS = 60


class LogMachine(RuleBasedStateMachine):
    """``new_url()`` names a log that is not there yet. ``payloads`` is the model;
    ``first`` is the first that is left."""

    can_truncate = True

    @staticmethod
    def new_url() -> str:
        raise NotImplementedError

    def __init__(self):
        super().__init__()
        self.url = self.new_url()
        self.log = open_log(self.url)
        self.payloads = []
        self.first = 0
        #: Reader -> position that it is at, of this handle on the log.
        self.readers = {}

    @property
    def last(self):
        return len(self.payloads) - 1

    @rule(payloads=PAYLOADS)
    def append(self, payloads):
        self.log.append(payloads)
        self.payloads += payloads

    @rule(payloads=PAYLOADS)
    def append_by_another(self, payloads):
        with open_log(self.url, create=False) as other:
            other.append(payloads)
        self.payloads += payloads

    @rule(wrong=st.sampled_from((b"", "text")))
    def append_what_is_none(self, wrong):
        with pytest.raises((ValueError, TypeError)):
            self.log.append([b"right", wrong])

    @rule(data=st.data())
    def read_from(self, data):
        """A new reader at a position, mostly one that is there."""
        position = data.draw(st.integers(self.first - 1, self.last + 2))
        if position < self.first:
            with pytest.raises(errors.PositionTruncated):
                self.log.read_from(position)
        elif position > self.last + 1:
            with pytest.raises(errors.PositionAhead):
                self.log.read_from(position)
        else:
            reader = self.log.read_from(position)
            assert reader.position == position
            self.readers[reader] = position

    @rule(data=st.data(), most=st.integers(1, 4))
    def read(self, data, most):
        if not self.readers:
            return
        reader = data.draw(st.sampled_from(list(self.readers)))
        position = self.readers[reader]
        if position < self.first:
            with pytest.raises(errors.LogGap):
                reader.read(most)
            assert reader.position == position
            return
        left = self.last + 1 - position
        records = reader.read(most, float(PATIENCE_SECONDS if left else 0))
        assert len(records) <= most and bool(records) == bool(left)
        assert bare(records) == list(enumerate(self.payloads))[position : position + len(records)]
        self.readers[reader] = position + len(records)
        assert reader.position == self.readers[reader]

    @rule(data=st.data())
    def close_a_reader(self, data):
        if self.readers:
            reader = data.draw(st.sampled_from(list(self.readers)))
            reader.close()
            del self.readers[reader]

    @rule()
    def open_again(self):
        """A process ends and another begins: what is in the log stays."""
        self.log.close()
        for reader in self.readers:
            with pytest.raises(errors.LogClosed):
                reader.read()
        self.readers.clear()
        self.log = open_log(self.url, create=False)

    @rule(data=st.data())
    def truncate(self, data):
        """Old records are removed from the front, never the last one."""
        if self.can_truncate:
            position = data.draw(st.integers(0, self.last + 2))
            self.log.truncate_before(position)
            self.first = max(self.first, min(position, max(self.last, 0)))

    @invariant()
    def bounds_are_the_models(self):
        assert self.log.bounds() == Bounds(self.first, self.last)

    def teardown(self):
        """A reader that starts now gets all that is left."""
        with self.log.read_from(self.first) as reader:
            records = []
            while len(records) < self.last + 1 - self.first:
                more = reader.read(1000, PATIENCE_SECONDS)
                assert more
                records += more
            assert bare(records) == list(enumerate(self.payloads))[self.first :]
        self.log.close()
