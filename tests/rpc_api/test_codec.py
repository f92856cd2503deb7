"""The codec: every way in which bytes can be wrong has its SetAside, and nothing is ever raised."""

import random
import tracemalloc
from collections import defaultdict

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oslo_versionedobjects import fields

from rpc_api import codec, errors, events
from rpc_api.codec import (
    MAX_EVENT_BYTES,
    MAX_EVENTS_A_RECORD,
    MAX_NAME,
    MAX_RAW_BYTES,
    DecodedRecord,
    SetAside,
    decode_record,
    encode_events,
    encode_record,
    encode_records,
)
from rpc_api.events import schema
from rpc_api.levels import LEVEL
from rpc_api.log.port import MAX_RECORD_BYTES
from tests import drawn
from tests.builders import AT_NS, EPOCH, Voice, claim, record_of, report, uuid_of

SEEN = codec.make_event(events.HostSeen("host"), "conductor/one", 5, 1, AT_NS)
CLAIM = codec.make_event(claim("vm", "host"), "scheduler/a", 5, 2, AT_NS)


def packed(*events_, form=LEVEL, epoch=EPOCH):
    return msgpack.packb([form, epoch, list(events_)])


def changed(event, **parts):
    """The array of an event with some of its parts changed; "" as a name means that the part is left out."""
    return list(event._replace(**parts))


# --- the record ----------------------------------------------------------------------------------------------------

BROKEN_RECORDS = {
    "no bytes": (b"", "undecodable"),
    "text": (b"hello, world", "undecodable"),
    "a byte that msgpack never uses": (b"\xc1", "undecodable"),
    "the end is missing": (packed(SEEN)[:-1], "undecodable"),
    "a byte too many": (packed(SEEN) + b"\x00", "undecodable"),
    "two records": (packed(SEEN) * 2, "undecodable"),
    "an array that says it is longer": (b"\xdd\xff\xff\xff\xff", "undecodable"),
    "a map that says it is longer": (b"\xdf\xff\xff\xff\xff", "undecodable"),
    "a string that says it is longer": (b"\xdb\xff\xff\xff\xffabc", "undecodable"),
    "too deep": (b"\x91" * 5000 + b"\x00", "undecodable"),
    "deep": (b"\x91" * 500 + b"\x00", "undecodable"),
    "a string that is not UTF-8": (b"\x93\x01\xa1\xff\x90", "undecodable"),
    "a map with a number as key": (packed([{1: 2}]), "undecodable"),
    "an impossible timestamp": (b"\x93\x01\xa1x\x91\xc7\x03\xff\x00\x00\x00", "undecodable"),
    "nothing": (msgpack.packb(None), "undecodable"),
    "a number": (msgpack.packb(1), "undecodable"),
    "a map": (msgpack.packb({"format": 1}), "undecodable"),
    "an empty array": (msgpack.packb([]), "undecodable"),
    "a boolean as format": (msgpack.packb([True, EPOCH, []]), "undecodable"),
    "no format": (msgpack.packb([None, EPOCH, []]), "undecodable"),
    "no events": (msgpack.packb([1, EPOCH]), "undecodable"),
    "a part more": (msgpack.packb([1, EPOCH, [], None]), "undecodable"),
    "no epoch": (msgpack.packb([1, None, []]), "undecodable"),
    "bytes as epoch": (msgpack.packb([1, EPOCH.encode(), []]), "undecodable"),
    "a long epoch": (msgpack.packb([1, "x" * (MAX_NAME + 1), []]), "undecodable"),
    "a map as events": (msgpack.packb([1, EPOCH, {}]), "undecodable"),
    "bytes as events": (msgpack.packb([1, EPOCH, b""]), "undecodable"),
    "a later format": (msgpack.packb([LEVEL + 1, EPOCH, []]), "unknown-format"),
    "a later format of another form": (msgpack.packb([LEVEL + 1, b"else"]), "unknown-format"),
    "an earlier format": (msgpack.packb([0, EPOCH, []]), "unknown-format"),
    "too many events": (packed(*([None] * (MAX_EVENTS_A_RECORD + 1))), "too-large"),
    "too many bytes": (packed(SEEN) + b"\x00" * MAX_RECORD_BYTES, "too-large"),
}


@pytest.mark.parametrize("name", BROKEN_RECORDS)
def test_broken_records(name):
    payload, code = BROKEN_RECORDS[name]
    epoch, (aside,), *_ = decode_record(payload)
    # The epoch is at its place in the records of all levels, so that a log is known by it.
    assert epoch == (EPOCH if name in ("a later format", "an earlier format") else None)
    assert (type(aside), aside.code) == (SetAside, code), aside
    assert aside.raw == payload[:MAX_RAW_BYTES]
    assert 10 < len(aside.reason) < 300


# --- the event -----------------------------------------------------------------------------------------------------

BROKEN_EVENTS = {
    "nothing": (None, "undecodable"),
    "an empty array": ([], "undecodable"),
    "a part less": (changed(SEEN)[:-1], "undecodable"),
    "a part more": ([*changed(SEEN), None], "undecodable"),
    "a string of seven characters": ("1234567", "undecodable"),
    "a map of seven keys": (dict.fromkeys("1234567"), "undecodable"),
    "a number as name": (changed(SEEN, name=1), "undecodable"),
    "a list as name": (changed(SEEN, name=["HostSeen"]), "undecodable"),
    "no version": (changed(SEEN, version=None), "undecodable"),
    "a number as version": (changed(SEEN, version=1.0), "undecodable"),
    "no producer": (changed(SEEN, producer=None), "undecodable"),
    "a long producer": (changed(SEEN, producer="x" * (MAX_NAME + 1)), "undecodable"),
    "producer epoch 0": (changed(SEEN, producer_epoch=0), "undecodable"),
    "a boolean as producer epoch": (changed(SEEN, producer_epoch=True), "undecodable"),
    "a large producer epoch": (changed(SEEN, producer_epoch=2**63), "undecodable"),
    "sequence 0": (changed(SEEN, sequence=0), "undecodable"),
    "a negative sequence": (changed(SEEN, sequence=-1), "undecodable"),
    "a float as sequence": (changed(SEEN, sequence=1.0), "undecodable"),
    "a large sequence": (changed(SEEN, sequence=2**63), "undecodable"),
    "a negative time": (changed(SEEN, at_ns=-1), "undecodable"),
    "no time": (changed(SEEN, at_ns=None), "undecodable"),
    "a type that is not known": (changed(SEEN, name="HostSung"), "unknown-type"),
    "a very long name": (changed(SEEN, name="x" * 100_000), "unknown-type"),
    "an object that is no event": (changed(SEEN, name="Allocation"), "unknown-type"),
    "a newer minor version": (changed(SEEN, version="1.1"), "newer-version"),
    "a newer major version": (changed(SEEN, version="2.0"), "newer-version"),
    "a version that is none": (changed(SEEN, version="new"), "invalid"),
    "no fields": (changed(SEEN, data=[]), "invalid"),
    "a field more": (changed(SEEN, data=["host", 1]), "invalid"),
    "a field of another type": (changed(SEEN, data=[1]), "invalid"),
    "an extension type": (changed(SEEN, data=[msgpack.ExtType(5, b"x")]), "invalid"),
    "a timestamp": (changed(SEEN, data=[msgpack.Timestamp(1, 1)]), "invalid"),
    "a map as fields": (changed(SEEN, data={"host": "host"}), "invalid"),
    "a nested value of another type": (changed(CLAIM, data=changed(CLAIM.data, allocations=[[1, 2, 3]])), "invalid"),
}


@pytest.mark.parametrize("name", BROKEN_EVENTS)
def test_broken_events(name):
    broken, code = BROKEN_EVENTS[name]
    epoch, (before, aside, after), *_ = decode_record(packed(SEEN, broken, CLAIM))
    assert (epoch, before, after) == (EPOCH, SEEN, CLAIM)
    assert (type(aside), aside.code) == (SetAside, code), aside
    assert aside.raw == msgpack.packb(broken)[:MAX_RAW_BYTES]
    assert 10 < len(aside.reason) < 300


# --- limits --------------------------------------------------------------------------------------------------------


def sized(size):
    """A HostReported event whose bytes are ``size``."""

    def event(inventory):
        return codec.make_event(report("host", inventory=inventory), "compute_agent/host", 5, 1, AT_NS)

    # Twice, because the number of bytes that say a length depends on the length.
    guess = b"x" * (size - len(msgpack.packb(event(b""))))
    return event(b"x" * (len(guess) + size - len(msgpack.packb(event(guess)))))


def test_the_largest_event_is_written_and_read():
    event = sized(MAX_EVENT_BYTES)
    assert [len(one) for one in encode_events([event], LEVEL)] == [MAX_EVENT_BYTES]
    assert decode_record(record_of(SEEN, event, CLAIM, level=LEVEL)).events == [SEEN, event, CLAIM]


def test_a_larger_event_is_not_written():
    with pytest.raises(errors.TooLarge, match=f"HostReported event has {MAX_EVENT_BYTES + 1} bytes"):
        encode_events([SEEN, sized(MAX_EVENT_BYTES + 1)], LEVEL)


def test_a_larger_event_is_not_read_whoever_wrote_it():
    large = sized(MAX_EVENT_BYTES + 1)
    _, (before, aside, after), *_ = decode_record(packed(SEEN, large, CLAIM))
    assert (before, after) == (SEEN, CLAIM)
    assert (aside.code, len(aside.raw)) == ("too-large", MAX_RAW_BYTES)


def aggregate(hosts):
    """An AggregateUpdated event of so many hosts, whose names have 30 bytes."""
    names = tuple(f"compute-{number:022}" for number in range(hosts))
    return codec.make_event(events.AggregateUpdated(uuid_of("a"), "a", names, {}), "operator/one", 5, 1, AT_NS)


@pytest.mark.parametrize("level, is_taken", [(1, False), (2, False), (3, True)])
def test_services_of_one_level_take_aggregates_of_the_same_size(level, is_taken):
    """320 KB: more than level 2 allows, whatever version reads or writes."""
    event = aggregate(10_000)
    (found,) = decode_record(packed(event, form=level)).events
    if is_taken:
        assert found == event and encode_events([event], level)
    else:
        assert found.code == "too-large"
        with pytest.raises(errors.TooLarge, match="wanted at most 262144"):
            encode_events([event], level)


def test_an_aggregate_has_a_greatest_size():
    with pytest.raises(errors.TooLarge, match="wanted at most 1024000"):
        encode_events([aggregate(34_000)], 3)


def test_events_are_parted_into_as_few_records_as_the_limits_allow():
    one = encode_events([sized(100_000)])[0]
    records = encode_records(EPOCH, [one] * 25)
    assert [len(decode_record(record).events) for record in records] == [10, 10, 5]
    assert all(len(record) <= MAX_RECORD_BYTES for record in records)


def test_a_record_holds_as_many_events_as_may_be():
    one = encode_events([SEEN])[0]
    records = encode_records("e", [one] * (MAX_EVENTS_A_RECORD + 1))
    assert [len(decode_record(record).events) for record in records] == [MAX_EVENTS_A_RECORD, 1]
    assert encode_records(EPOCH, []) == []


def test_a_batch_that_does_not_fit_one_record_is_refused():
    with pytest.raises(errors.TooLarge, match="needs 2 records, wanted one"):
        encode_record(EPOCH, [sized(MAX_EVENT_BYTES)] * 5)
    with pytest.raises(errors.TooLarge, match="needs 0 records"):
        encode_record(EPOCH, [])


# --- versions ------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_versions(monkeypatch):
    """``HostSeen`` 1.0 as it is and a 1.1 of it, each as this process's own when it is asked for."""

    def use(version):
        its_fields = {"host": fields.StringField()}
        if version == "1.1":
            its_fields["since"] = fields.StringField(default="unknown")
        cls = type("HostSeen", (schema.SchemaObject,), {"VERSION": version, "fields": its_fields})
        monkeypatch.setattr(codec, "EVENT_FORMS", defaultdict(dict))
        monkeypatch.setitem(schema.TABLE, "HostSeen", cls)
        monkeypatch.setitem(events.EVENTS, "HostSeen", schema.register(cls))
        return cls.Frozen

    return use


def test_a_newer_process_reads_the_older_version(two_versions):
    payload = record_of(codec.make_event(two_versions("1.0")("host"), "conductor/one", 1, 1, 0))
    two_versions("1.1")
    (event,) = decode_record(payload).events
    assert (event.version, event.data) == ("1.0", ("host", "unknown"))
    assert event.data.since == "unknown"


def test_an_older_process_sets_the_newer_version_aside(two_versions):
    payload = record_of(codec.make_event(two_versions("1.1")("host", "now"), "conductor/one", 1, 1, 0))
    two_versions("1.0")
    (aside,) = decode_record(payload).events
    assert (aside.code, aside.reason) == (
        "newer-version",
        "HostSeen 1.1 is newer than this process, which knows 1.0; upgrade nova_sched here",
    )


# --- anything ------------------------------------------------------------------------------------------------------


def assert_total(payload):
    record = decode_record(payload)
    assert type(record) is DecodedRecord
    for event in record.events:
        assert type(event) in (SetAside, codec.Event)
        if type(event) is SetAside:
            assert len(event.raw) <= MAX_RAW_BYTES
            assert len(event.reason) < 500


@given(st.binary(max_size=300))
def test_any_bytes(payload):
    assert_total(payload)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=15,
)


@given(st.lists(JSON, max_size=4))
def test_any_events(batch):
    assert_total(packed(*batch))


@given(st.sampled_from(sorted(events.EVENTS)).flatmap(drawn.frozen), st.integers(0, 6), JSON)
def test_any_part_of_an_event(data, part, value):
    array = list(codec.make_event(data, "scheduler/a", 1, 1, 0))
    array[part] = value
    assert_total(packed(array))


@given(st.sampled_from(sorted(events.EVENTS)).flatmap(drawn.frozen), st.integers(min_value=0), st.binary(min_size=1))
def test_mutated_records(data, at, mutation):
    payload = record_of(SEEN, codec.make_event(data, "scheduler/a", 1, 1, 0), CLAIM, level=LEVEL)
    at %= len(payload)
    assert_total(payload[:at])
    assert_total(payload[:at] + mutation + payload[at:])
    assert_total(payload[:at] + mutation + payload[at + len(mutation) :])


BOMBS = {
    "arrays that say they are long, one in the other": (b"\xdd\x00\x0f\xff\x00" * 1000).ljust(
        MAX_RECORD_BYTES, b"\xc0"
    ),
    "maps that say they are long": (b"\xdf\x00\x07\xff\x00" + b"\xa1a") * 900,
    "empty maps": b"\x93\x01\xa1e\xdd\x00\x00\x27\x10" + b"\x80" * 10_000,
    "a million empty maps": b"\x93\x01\xa1e\xdd\x00\x0f\xff\x00" + b"\x80" * 0xFFF00,
    "half a million strings": b"\x93\x01\xa1e\xdd\x00\x07\xff\x00" + b"\xa1x" * 0x7FF00,
    "numbers": b"\x93\x01\xa1e\xdd\x00\x01\xc0\x00" + b"\xcf\x10\x20\x30\x40\x50\x60\x70\x80" * 0x1C000,
    "noise": random.Random(1).randbytes(MAX_RECORD_BYTES),
}


@pytest.mark.parametrize("name", BOMBS)
def test_memory_is_bounded(name):
    payload = BOMBS[name]
    assert len(payload) <= MAX_RECORD_BYTES
    tracemalloc.start()
    try:
        assert_total(payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 128 * MAX_RECORD_BYTES


def test_a_voice_says_what_the_codec_takes():
    voice = Voice("scheduler/a", epoch=5)
    first, second = voice.say(claim("vm", "host")), voice.say(claim("vm-2", "host"))
    assert (first.name, first.version, first.sequence, second.sequence) == ("ClaimProposed", "1.4", 1, 2)
    assert decode_record(record_of(first, second, level=LEVEL)).events == [first, second]
    assert first.data.claim_uuid == uuid_of("claim of vm")
