"""Metrics with a value per NUMA node: written from level 2 on; at level 1 everything is as if there were none."""

import pytest

from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from rpc_api import codec, digest, events
from rpc_api.codec import decode_record, encode_events, encode_record
from tests.builders import EPOCH, Cell, Voice, confirmation, report, status

PIN = events.LevelPinned(2)
BY_NODE = [("numa.membw.current", 0, 5), ("numa.membw.current", 1, -7)]
REPORT = report("a", metrics={"cpu": 1.5}, numa_metrics=BY_NODE)
WITHOUT = report("a", metrics={"cpu": 1.5})


def event_of(data):
    return Voice("compute_agent/a").say(data)


def test_at_level_1_the_bytes_and_digests_are_those_of_a_report_without_them():
    assert encode_events([event_of(REPORT)], 1) == encode_events([event_of(WITHOUT)], 1)
    (packed,) = encode_events([event_of(WITHOUT)], 1)
    name, version, *_, values = codec.msgpack.unpackb(packed)
    assert (name, version, len(values[3])) == ("HostReported", "1.1", 6)
    assert digest.host_digest(1, WITHOUT.status, 2) == digest._number(
        codec.msgpack.packb([1, list(WITHOUT.status)[:6], 2])
    )


def test_a_reader_of_level_2_gets_them():
    (event,) = decode_record(encode_record(EPOCH, [event_of(REPORT)], 2)).events
    assert (event.version, event.data.status.numa_metrics) == ("1.2", REPORT.status.numa_metrics)
    (event,) = decode_record(encode_record(EPOCH, [event_of(REPORT)], 1)).events
    assert (event.version, event.data.status.numa_metrics) == ("1.1", ())


def test_a_newer_version_in_a_record_of_level_1_is_set_aside():
    forged = codec.msgpack.packb([1, EPOCH, [event_of(REPORT)]])
    assert [event.code for event in decode_record(forged).events] == ["newer-version"]


def test_a_snapshot_keeps_them_and_has_six_fields_at_level_1():
    cell = Cell(PIN, REPORT)
    loaded = snapshot.load(snapshot.dump(cell.projection), HostTable())
    assert loaded.table.metrics.of_nodes(0) == {"numa.membw.current": {0: 5, 1: -7}}
    assert state_digest(loaded) == state_digest(cell.projection) != state_digest(Cell(PIN, WITHOUT).projection)
    packed = snapshot.dump(Cell(WITHOUT).projection)
    hosts = snapshot._unpacked(snapshot.split(packed)[1])[0]
    assert [len(host[3]) for host in hosts] == [6]


@pytest.mark.parametrize("level", [1, 2])
def test_what_an_agent_confirms_is_what_the_log_has(level):
    projection = Projection("cell1")
    voice = Voice("compute_agent/a")
    written = REPORT if level == 2 else REPORT._replace(status=WITHOUT.status)
    records = [encode_record(EPOCH, [Voice("operator/o").say(PIN)])] if level == 2 else []
    records += [encode_record(EPOCH, [voice.say(data)], level) for data in (REPORT, confirmation(written))]
    _, noted = projection.fold(enumerate(map(decode_record, records)))
    assert [note.kind for note in noted if note.kind != "pinned"] == []


@pytest.mark.parametrize(
    "other",
    [
        status(metrics={"cpu": 1.5}, numa_metrics=BY_NODE[:1]),
        status(metrics={"cpu": 1.5}, numa_metrics=[*BY_NODE[:1], ("numa.membw.current", 1, 7)]),
        status(metrics={"cpu": 1.5}),
    ],
)
def test_each_change_changes_the_digests(other):
    assert digest.host_digest(1, other, 2) != digest.host_digest(1, REPORT.status, 2)
    changed = Cell(PIN, REPORT._replace(status=other))
    assert state_digest(changed.projection) != state_digest(Cell(PIN, REPORT).projection)
