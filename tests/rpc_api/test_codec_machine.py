"""Any batch of events, good and damaged, through the codec: the good events are decoded as they were
encoded, in order, within the limits."""

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rpc_api import codec, events
from rpc_api.codec import MAX_EVENTS_A_RECORD, Event, SetAside
from rpc_api.levels import LEVEL
from rpc_api.log.port import MAX_RECORD_BYTES
from tests import drawn
from tests.builders import AT_NS, EPOCH
from tests.fuzz import mutation
from tests.fuzz.mutation import Mutator

ANY = st.sampled_from(sorted(events.EVENTS)).flatmap(drawn.frozen)
LONG = events.PolicyAdopted("digest", "x" * 60_000)


class Machine(RuleBasedStateMachine):
    """``said`` are good events; ``pieces`` what a record is made of: (packed event, the event or None if damaged)."""

    def __init__(self):
        super().__init__()
        self.said = []
        self.pieces = []

    def event(self, data):
        self.said.append(codec.make_event(data, "scheduler/one", 1, len(self.said) + 1, AT_NS))
        return self.said[-1]

    @rule(data=ANY)
    def say(self, data):
        event = self.event(data)
        self.pieces.append((codec.encode_events([event], LEVEL)[0], event))

    @rule(data=ANY, seed=st.integers(0, 2**32))
    def damage(self, data, seed):
        """An event whose structure was changed: it is set aside, or another event that is as good."""
        good = codec.encode_events([self.event(data)], LEVEL)[0]
        self.said.pop()
        changed = mutation.pack(Mutator(random.Random(seed)).changed(mutation.thaw(good), 2))
        self.pieces.append((changed, None))

    @rule(times=st.integers(1, 20))
    def say_much(self, times):
        """Events that fill a record by their size."""
        for _ in range(times):
            self.event(LONG)

    @rule(times=st.sampled_from((1000, 6000)))
    def say_many(self, times):
        """Events that fill a record by their number."""
        for _ in range(times):
            self.event(events.HostSeen("h"))

    @invariant()
    def damaged_events_are_their_own_affair(self):
        payload = mutation.pack([LEVEL, EPOCH, []])[:-1] + bytes([0xDC]) + len(self.pieces).to_bytes(2, "big")
        record = codec.decode_record(payload + b"".join(packed for packed, _ in self.pieces))
        if record.epoch is None:
            # Text that is not UTF-8, a promise without its bytes: nothing of the record can be read.
            assert any(good is None for _, good in self.pieces)
            self.pieces = [piece for piece in self.pieces if piece[1] is not None]
            return
        assert len(record.events) == len(self.pieces)
        for found, (packed, good) in zip(record.events, self.pieces, strict=True):
            if good is not None:
                assert canonical(found) == canonical(good)
            elif type(found) is Event:
                (again,) = codec.decode_record(codec.encode_record(EPOCH, [found], LEVEL)).events
                # It may have been one of an older version.
                assert again._replace(version=found.version) == found
            else:
                assert type(found) is SetAside and packed.startswith(found.raw[:1])

    def teardown(self):
        packed = codec.encode_events(self.said, LEVEL)
        records = codec.encode_records(EPOCH, packed, LEVEL)
        decoded = [codec.decode_record(record) for record in records]
        assert [canonical(event) for record in decoded for event in record.events] == list(map(canonical, self.said))
        assert {record.epoch for record in decoded} <= {EPOCH}
        for record, content in zip(records, decoded, strict=True):
            assert len(record) <= MAX_RECORD_BYTES and 0 < len(content.events) <= MAX_EVENTS_A_RECORD
        for (record, content), following in zip(zip(records, decoded, strict=True), decoded[1:], strict=False):
            one_more = len(codec.encode_events(following.events[:1], LEVEL)[0])
            assert len(content.events) == MAX_EVENTS_A_RECORD or len(record) + one_more > MAX_RECORD_BYTES - 2048


def canonical(event):
    """Equal for the forms of a value that are one in the log: 0.0 and -0.0 by their sign."""
    return repr(event).replace("-0.0", "0.0")


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
