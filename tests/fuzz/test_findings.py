"""What the fuzzers found, one row each: it does not come back."""

import contextlib
import tracemalloc
import zlib

import msgpack
import pytest

from nova_sched.cli import event_text
from nova_sched.projection import snapshot
from nova_sched.projection.table import HostTable
from nova_sched.replay.decisions.policies import PolicyBook
from nova_sched.replay.verify.decisions import replay, spooled
from nova_sched.replay.verify.spool import Spool
from nova_sched.scheduler.engine import CELL0
from nova_sched.selection.policy import Policy
from rpc_api import codec, errors, events
from rpc_api.events.primitive import DATA, NAME, VERSION
from rpc_api.log import open_log
from rpc_api.serializer import RpcSerializer
from tests import invariants
from tests.builders import EPOCH, Cell, Voice, claim, consumer, of, report, server_group, uuid_of
from tests.engines import TinyCloud, hosts_of

# --- snapshots -----------------------------------------------------------------------------------------------------

GOOD = Cell(report("host-1", consumer("vm-1", of("host-1", 1))), claim("vm-2", "host-1")).projection


def forged(change=lambda state: state, head=None) -> bytes:
    """A snapshot with a right checksum whose state was changed by ``change``: (hosts, rows, devices, producers,
    anchors, fences, aggregates, whether accounts are required, tracked instances), lists that it may write to."""
    parts, packed = snapshot.split(snapshot.dump(GOOD))
    state = msgpack.unpackb(zlib.decompress(packed))
    packed = change(state) or state
    packed = packed if isinstance(packed, bytes) else zlib.compress(msgpack.packb(packed))
    head = head or parts[2:6]
    return msgpack.packb((snapshot.MAGIC, snapshot.FORMAT, *head, snapshot._checksum(head, packed))) + packed


def put(place, value):
    """A change that puts a value at a place (indexes) of the state."""

    def change(state):
        for index in place[:-1]:
            state = state[index]
        state[place[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda state: b"not zipped",
        lambda state: zlib.compress(b"\xc1"),
        lambda state: zlib.compress(b"\x93\1\1\1")[:-4],
        lambda state: [1, 2, 3],
        lambda state: [1, 2, 3, 4, 5],
        lambda state: state[0].append(state[0][0]),
        put((0, 0), [1, 2]),
        put((0, 0, 0), []),
        put((0, 0, 2), 7),
        put((0, 0, 2), b"\xc1"),
        put((0, 0, 2), "text"),
        put((0, 0, 3), None),
        put((0, 0, 4), "yes"),
        put((0, 0, 5, 0), {}),
        put((0, 0, 5, 0, 4), [["x", "VCPU", 1.5]]),
        put((0, 0, 5, 0, 5), [1]),
        put((0, 0, 5, 0, 7), "asleep"),
        put((0, 0, 5, 0, 8), "here"),
        put((0, 0, 5, 0, 8), b"\xc1"),
        put((0, 0, 5, 0, 9), "here"),
        put((0, 0, 5, 0, 10), b"x"),
        put((3, 0), ["x"]),
        put((3, 0), [[], [1, 1]]),
        put((3, 0), ["x", [1, "1"]]),
        put((3, 0), [{}, 5]),
        put((4,), [[uuid_of("g"), ["cell", "host", -1]]]),
        put((5,), [[1, 1]]),
        put((6,), [{"uuid": 1}]),
        put((7,), 1),
        put((2,), [[], [[0, 0]]]),
        put((2,), [[[[], []]], [[-1, 0]]]),
        put((2,), [[[[], [1]]], []]),
        put((2,), 7),
        put((8,), [["host-1", [["vm", []]]]]),
        put((8,), [[1, []]]),
        put((8,), 7),
        put((1, 2, 0), []),
        put((1, 2, 0), 7),
        put((1, 3, 0), None),
        put((1, 4, 0), "x"),
        put((1, 5, 0), b"x"),
        put((1, 6, 0), 1),
        put((1, 7, 0), 1),
        put((1, 12, 0), []),
        put((1, 12, 0, 3), {}),
        put((1, 13, 0), []),
    ],
)
def test_a_forged_snapshot_is_refused_and_leaves_nothing_behind(change):
    other = Cell(report("elsewhere"), cell="cell2", table=HostTable()).projection
    with pytest.raises(errors.SnapshotMismatch, match="remove it and fold the log"):
        snapshot.load(forged(change), other.table)
    invariants.check(other)
    assert len(other.table.trees) == 1
    assert snapshot.load(forged()).hosts.keys() == GOOD.hosts.keys()


@pytest.mark.parametrize(
    "head",
    [
        (1, "e", 0, "d"),
        ("c", 1, 0, "d"),
        ("c", "e", "0", "d"),
        ("c", "e", True, "d"),
        ("c", "e", 0, None),
        ({}, [], {}, []),
    ],
    ids=str,
)
def test_a_head_of_other_types_is_of_another_form(head):
    packed = msgpack.packb((snapshot.MAGIC, snapshot.FORMAT, *head, "checksum"))
    for read in (snapshot.head_of, snapshot.check, snapshot.load):
        with pytest.raises(errors.UnknownSchema):
            read(packed)


def test_a_state_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(snapshot, "MAX_STATE_BYTES", 1 << 20)
    with pytest.raises(errors.SnapshotMismatch, match="does not end within 1048576 bytes"):
        snapshot.load(forged(lambda state: zlib.compress(bytes(1 << 24))))


# --- memory that a few bytes ask for -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "read",
    [
        lambda: codec.decode_record((b"\xdd\0\x0f\xff\xff" * 500).ljust(1 << 20, b"\0")),
        lambda: pytest.raises(errors.UnknownSchema, snapshot.head_of, b"\xdd\x7f\xff\xff\xff"),
        lambda: pytest.raises(
            errors.UnknownSchema, snapshot.head_of, (b"\xdd\0\x0f\xff\xff" * 500).ljust(1 << 20, b"\0")
        ),
    ],
    ids=["record", "head", "nested head"],
)
def test_what_is_promised_and_not_there_takes_no_memory(read):
    tracemalloc.start()
    try:
        read()
        assert tracemalloc.get_traced_memory()[1] < 128 << 20
    finally:
        tracemalloc.stop()


# --- messages ------------------------------------------------------------------------------------------------------


def deep(value, levels=600):
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "message, error",
    [
        ({NAME: []}, errors.UnknownSchema),
        ({NAME: {}}, errors.UnknownSchema),
        ({NAME: "HostLost", VERSION: 1, DATA: {}}, errors.InvalidEvent),
        ({NAME: "HostLost", DATA: {"host": "h", "reason": "r"}}, errors.InvalidEvent),
        (
            {NAME: "DecisionMade", VERSION: "1.0", DATA: dict.fromkeys(events.EVENTS["DecisionMade"].fields, "text")},
            errors.InvalidEvent,
        ),
        ({"nova_object.name": []}, errors.InvalidEvent),
        ({"nova_object.name": {}, "nova_object.version": "1.0", "nova_object.namespace": "nova"}, errors.InvalidEvent),
        (deep(1), errors.InvalidEvent),
        ({NAME: "HostLost", VERSION: "1.0", DATA: {"host": deep(1), "reason": ""}}, errors.InvalidEvent),
        (
            {"nova_object.name": "x" * 70_000, "nova_object.version": "1.0", "nova_object.namespace": "nova"},
            errors.UnknownSchema,
        ),
        (
            {"nova_object.name": "Flavor", "nova_object.version": "1.0", "nova_object.namespace": "x" * 70_000},
            errors.UnknownSchema,
        ),
        (
            {"nova_object.name": "Flavor", "nova_object.version": "x" * 70_000, "nova_object.namespace": "nova"},
            errors.UnknownSchema,
        ),
    ],
    ids=range(12),
)
def test_a_message_that_cannot_be_read_is_an_error_of_the_project(message, error):
    with pytest.raises(error) as refused:
        RpcSerializer().deserialize_entity({}, message)
    assert len(str(refused.value)) < 1000


# --- engines -------------------------------------------------------------------------------------------------------


def test_a_host_in_the_log_of_no_cell_is_no_host():
    """The scheduler chose it, and had no log to claim it in."""
    cloud = TinyCloud()
    cloud.host("stray", CELL0, vcpus=64)
    cloud.host("a")
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm")
    cloud.settle()
    assert hosts_of(ask) == ["a"]
    assert [one.code for one in engine.world.projections[CELL0].quarantine] == ["wrong-log"]


@pytest.mark.parametrize("muted", ["by another in its name", "by a rebase"])
def test_an_anchor_that_comes_to_nothing_is_not_asked_for_without_end(muted):
    """A scheduler that the log does not hear any more filled it with anchors."""
    cloud = TinyCloud(("cell1", "cell2"))
    cloud.host("a", "cell1")
    cloud.host("b", "cell2")
    engine = cloud.engine("one")
    if muted == "by another in its name":
        said = codec.make_event(events.GroupAnchored(uuid_of("x"), "cell1", "a", 0), "scheduler/one", 2, 1, 0)
        cloud.logs[CELL0].append(codec.encode_record(EPOCH, [said]))
        ask = cloud.ask(engine, "vm", group=server_group("affinity"))
    else:
        ask = cloud.ask(engine, "vm", group=server_group("affinity"))
        ask.instances[0].fenced = 5
    cloud.settle()
    assert ask.future.done() and len(cloud.logs[CELL0]) < 30
    if muted == "by another in its name":
        with pytest.raises(errors.NovaSchedError, match="had no effect in the log of cell0; see its quarantine"):
            ask.future.result(0)


def test_what_is_held_of_a_uuid_that_passes_to_another_row_is_let_go():
    cloud = TinyCloud(("cell1", "cell2"))
    cloud.host("a", "cell1")
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm")
    cloud.host("a", "cell2")
    cloud.deliver("one", "cell2")
    cloud.settle()
    assert hosts_of(ask) == ["a"]
    assert not engine.world.table.held.any()
    for projection in engine.world.projections.values():
        invariants.check(projection)


def test_a_claim_of_another_under_our_uuid_says_nothing_of_ours():
    cloud = TinyCloud(("cell1", "cell2"))
    cloud.host("a", "cell1")
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm")
    ours = next(
        event.data
        for payload in cloud.logs["cell1"]
        for event in codec.decode_record(payload).events
        if event.name == "ClaimProposed"
    )
    cloud.append("cell2", "conductor/x", ours._replace(host="elsewhere"))
    cloud.deliver("one", "cell2")
    assert engine.claims.under_way("cell1") and int(engine.world.table.held.sum()) == 2
    cloud.settle()
    assert hosts_of(ask) == ["a"] and not engine.world.table.held.any()


# --- tools ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def decided():
    """A cloud that made a decision and recorded its policy."""
    cloud = TinyCloud()
    cloud.host("a")
    engine = cloud.engine("one")
    engine.publish_policy()
    cloud.ask(engine, "vm")
    cloud.settle()
    return cloud


@contextlib.contextmanager
def logs_of(cloud):
    logs = {cell: open_log(f"memory://findings-{id(cloud)}-{cell}") for cell in cloud.logs}
    for cell, log in logs.items():
        log.append(cloud.logs[cell])
    try:
        yield logs
    finally:
        for log in logs.values():
            log.delete()


def decision_of(cloud):
    return next(
        event.data
        for payload in cloud.logs["cell1"]
        for event in codec.decode_record(payload).events
        if event.name == "DecisionMade"
    )


def test_a_decision_whose_evidence_cannot_be_read_stops_no_tool(decided):
    broken = decision_of(decided)._replace(evidence=b"\xc1")
    decided.append("cell1", "scheduler/two", broken)
    with logs_of(decided) as logs, Spool() as spool:
        assert [one.same for one in replay(logs)] == [True]
        spooled(logs, spool, PolicyBook())
        assert [cell for cell, _, why in spool.unreadable if "msgpack" in why] == ["cell1"]
    shown = event_text.as_json("cell1", 1, 0, Voice("scheduler/two").say(broken))
    assert shown["data"]["evidence"]["raw"] == "c1"


@pytest.mark.parametrize(
    "options",
    [
        "",
        "[]",
        "{}",
        '{"weighers": 1, "enabled_filters": []}',
        "[" * 2000,
        Policy(host_subset_size=7).to_json(),
        '{"max_io_ops_per_host": "few"}',
        '{"isolated_hosts": [1]}',
        '{"metrics_weight_setting": [["a", "b"]]}',
        '{"catalogue": null}',
        '{"enabled_filters": "ComputeFilter"}',
    ],
    ids=range(11),
)
def test_a_policy_that_is_not_what_its_digest_says_is_nobodys(decided, options):
    decided.append(CELL0, "scheduler/two", events.PolicyAdopted(Policy().digest, options))
    with logs_of(decided) as logs:
        assert [one.same for one in replay(logs)] == [True]


def test_a_text_from_a_log_makes_no_line_of_its_own():
    event = Voice("conductor/\x1b[2J").say(events.HostLost("a\ncell1 9.0 FORGED\u2028", "\r\x07"))
    line = event_text.as_line("cell1", 1, 0, event)
    assert line.isprintable() and r"a\ncell1 9.0 FORGED\u2028" in line and r"\x1b[2J" in line
