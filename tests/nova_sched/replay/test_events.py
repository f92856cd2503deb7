"""What events are about, and that looking for few among many finds the same ones as reading all."""

import random

import pytest

from nova_sched.replay.logs.matching import _SUBJECTS, Match, subjects
from rpc_api import codec, errors, events
from rpc_api.events import EVENTS
from rpc_api.levels import LEVEL
from tests.builders import EPOCH, Voice, claim, confirmation, moved, record_of, released, report, started, uuid_of

AGENT, SCHEDULER = Voice("compute_agent/host-5"), Voice("scheduler/one")


def test_every_event_has_subjects():
    missing = sorted(set(EVENTS) - set(_SUBJECTS))
    assert not missing, (
        f"{', '.join(missing)}: add a row to _SUBJECTS in nova_sched/replay/logs/matching.py that says which "
        "hosts, instances, claims and requests it is about"
    )
    assert set(_SUBJECTS) == set(EVENTS), "a row of _SUBJECTS is of an event that there is not: remove it"


def test_subjects():
    said = SCHEDULER.say(claim("migration", "host-5", instance="vm"))
    assert subjects(said) == (
        ("host-5",),
        (uuid_of("vm"), uuid_of("migration")),
        (uuid_of("claim of migration"),),
        ("req-migration",),
        (uuid_of("host-5"),),
    )
    assert subjects(AGENT.say(report("host-5"))).hosts == ("host-5",)


def batch():
    said = report("host-5")
    return [
        AGENT.say(said),
        AGENT.say(confirmation(said)),
        SCHEDULER.say(claim("vm-1", "host-5")),
        SCHEDULER.say(claim("vm-2", "host-50")),
        AGENT.say(started("vm-1", "host-5")),
        SCHEDULER.say(released("vm-2")),
    ]


RECORDS = [
    record_of(*batch(), level=LEVEL),
    b"\xc1 host-5",
    codec.msgpack.packb([1, EPOCH, []]),
    codec.msgpack.packb(
        [
            1,
            EPOCH,
            [["HostMelted", "1.0", "conductor/x", 1, 1, 0, ["host-5"]], 7, list(AGENT.say(events.HostSeen("host-5")))],
        ]
    ),
    codec.msgpack.packb([2, EPOCH, []]),
]


@pytest.mark.parametrize(
    "needle", [b"host-5", b"host-50", b"ClaimProposed", uuid_of("vm-2").encode(), b"nothing", b"\x93", b"1"]
)
@pytest.mark.parametrize("payload", RECORDS, ids=range(len(RECORDS)))
def test_holding_is_a_part_of_decoding(payload, needle):
    """Each event that is found is as decode_record gives it; none whose bytes hold the needle is left out."""
    whole = codec.decode_record(payload).events
    found = dict(codec.decode_holding(payload, [[needle]]))
    assert all(whole[index] == event for index, event in found.items())
    for index, event in enumerate(whole):
        packed = event.raw if isinstance(event, codec.SetAside) else codec.msgpack.packb(event)
        if needle in packed:
            assert index in found
    assert codec.decode_holding(payload, []) == list(enumerate(whole))


def test_holding_at_random():
    """Needles cut out of the middle of a record, also over the borders of events."""
    payload, rng = RECORDS[0], random.Random(5)
    sizes = [len(codec.msgpack.packb(event)) for event in codec.msgpack.unpackb(payload)[2]]
    start = len(payload) - sum(sizes)
    ends = [start + sum(sizes[:number]) for number in range(len(sizes) + 1)]
    for _ in range(500):
        place = rng.randrange(len(payload))
        needle = payload[place : place + rng.randrange(1, 60)]
        expected = [index for index in range(len(sizes)) if needle in payload[ends[index] : ends[index + 1]]]
        assert [index for index, _ in codec.decode_holding(payload, [[needle]])] == expected


def wanted(payload, **conditions):
    return [index for index, _ in Match(**conditions).events_of(payload, "cell1", 0)]


@pytest.mark.parametrize(
    "conditions, indexes",
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"hosts": ["host-5"]}, [0, 1, 2, 4]),
        ({"hosts": ["host-5", "host-50"]}, [0, 1, 2, 3, 4]),
        ({"hosts": ["host-5*"]}, [0, 1, 2, 3, 4]),
        ({"hosts": ["*50"]}, [3]),
        ({"hosts": ["[hx]ost-5?"]}, [3]),
        ({"hosts": ["*"]}, [0, 1, 2, 3, 4]),
        ({"types": ["ClaimProposed"]}, [2, 3]),
        ({"types": ["ClaimProposed", "HostReported"], "hosts": ["host-5"]}, [0, 2]),
        ({"types": ["set-aside"]}, []),
        ({"instances": [uuid_of("vm-2")]}, [3, 5]),
        ({"instances": [uuid_of("vm-2")], "types": ["ClaimReleased"]}, [5]),
        ({"requests": ["req-vm-2"]}, [3, 5]),
        ({"requests": ["req-vm-1", "req-vm-2"]}, [2, 3, 4, 5]),
        ({"requests": ["req-vm"]}, []),
        ({"projects": ["project"]}, [2, 3, 4]),
        ({"projects": ["projec"]}, []),
        ({"excluded": [("type", "HostReported"), ("host", "host-50")]}, [1, 2, 4, 5]),
        ({"excluded": [("cell", "cell1")]}, []),
        ({"excluded": [("cell", "cell2"), ("instance", uuid_of("vm-1"))]}, [0, 1, 3, 5]),
        ({"excluded": [("request", "req-vm-1"), ("project", "nobody")]}, [0, 1, 3, 4, 5]),
        ({"excluded": [("project", "project")]}, [0, 1, 5]),
        ({"also": lambda cell, position, index, event: index % 2}, [1, 3, 5]),
    ],
)
def test_conditions(conditions, indexes):
    assert wanted(RECORDS[0], **conditions) == indexes


@pytest.mark.parametrize(
    "conditions, indexes",
    [
        ({}, [0, 1, 2]),
        ({"hosts": ["host-5"]}, [0, 2]),
        ({"types": ["set-aside"]}, [0, 1]),
        ({"types": ["HostSeen"]}, [2]),
        ({"types": ["set-aside"], "hosts": ["host-5"]}, [0]),
        ({"excluded": [("type", "set-aside")]}, [2]),
    ],
)
def test_what_cannot_be_read_is_found_by_its_bytes(conditions, indexes):
    assert wanted(RECORDS[3], **conditions) == indexes


def test_a_migration_belongs_to_its_instance():
    """The consumer of a migration has a uuid of its own; its events are shown with the instance."""
    records = [
        record_of(SCHEDULER.say(claim("vm", "a"))),
        record_of(SCHEDULER.say(claim("migration", "b", instance="vm"))),
        record_of(SCHEDULER.say(released("migration"))),
        record_of(SCHEDULER.say(moved("a", "migration", "other"))),
    ]
    match = Match(instances=[uuid_of("vm")])
    assert [len(match.events_of(payload, "cell1", number)) for number, payload in enumerate(records)] == [1, 1, 1, 1]
    assert Match(instances=[uuid_of("vm")]).events_of(records[2], "cell1", 2) == []


def test_a_request_leads_to_its_instances():
    later = record_of(AGENT.say(started("vm", "host-5")))
    match = Match(requests=["req-vm"])
    assert match.events_of(later, "cell1", 1) == []
    match.learn(record_of(SCHEDULER.say(claim("vm", "host-5"))))
    assert len(match.events_of(later, "cell1", 1)) == 1


@pytest.mark.parametrize("conditions", [{"types": ["Nothing"]}, {"excluded": [("type", "Nothing")]}])
def test_an_unknown_type_is_said(conditions):
    with pytest.raises(errors.UsageError, match="there is no event type 'Nothing'"):
        Match(**conditions)


def test_a_record_of_others_is_not_decoded(monkeypatch):
    decoded = []
    before = codec._decode_event
    monkeypatch.setattr(codec, "_decode_event", lambda raw, *form: decoded.append(raw) or before(raw, *form))
    payload = record_of(*[SCHEDULER.say(claim(f"vm-{number}", f"host-{number}")) for number in range(100, 200)])
    assert wanted(payload, hosts=["host-150"]) == [50] and len(decoded) == 1
    assert wanted(payload, hosts=["host-99"]) == [] and len(decoded) == 1
