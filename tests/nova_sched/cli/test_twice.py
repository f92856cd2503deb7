"""doctor names what is in several logs and may be in one only."""

import json

import pytest

from nova_sched.cli.main import replay
from rpc_api import errors, events
from rpc_api.levels import LEVEL
from tests.builders import created, facts_of, report, tree, uuid_of
from tests.nova_sched.replay.logs import Written

HOSTS, UUIDS, NAMES = "hosts in several logs", "providers in several logs", "provider names in several logs"
SECOND = uuid_of("second pool")


def named(uuid, name):
    return events.ProviderCreated(uuid, name, None, "", None)


#: What, what the log of cell1 has, what that of cell2, the check that finds it with its state and text (None: none).
CASES = [
    ("nothing twice", [report("a"), created("pool")], [report("b"), created("lake")], None),
    ("a uuid", [created("pool")], [named(uuid_of("pool"), "lake")], (UUIDS, "fail", uuid_of("pool"))),
    ("a uuid and its name", [created("pool")], [created("pool")], (UUIDS, "fail", uuid_of("pool"))),
    ("a name", [created("pool")], [named(SECOND, "pool")], (NAMES, "warn", "pool")),
    ("a host", [report("a")], [report("a")], (HOSTS, "fail", "a")),
    ("a host with other providers", [report("a")], [report("a", inventory=tree("a", root="b"))], (HOSTS, "fail", "a")),
    ("a host that moved", [report("a"), events.HostLost("a", "silent")], [report("a")], (HOSTS, "warn", "a")),
    ("a host that waits", [facts_of("a", authority="nova")], [report("b")], None),
    ("a pool with the uuid of a host's root", [report("a")], [named(uuid_of("a"), "x")], (UUIDS, "fail", uuid_of("a"))),
]


@pytest.mark.parametrize("first, second, wanted", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_doctor_names_it(first, second, wanted, capsys):
    logs = [
        Written(events.LevelPinned(LEVEL), *said, cell=cell) for cell, said in (("cell1", first), ("cell2", second))
    ]
    options = [
        word for log, cell in zip(logs, ("cell1", "cell2"), strict=True) for word in ("--log", f"{cell}={log.log.url}")
    ]
    code = replay(["doctor", "--no-cache", "-o", "json", *options])
    found = [row for row in json.loads(capsys.readouterr().out) if row["check"].endswith("in several logs")]
    if wanted is None:
        assert not found
        return
    check, state, name = wanted
    (row,) = found
    assert (row["subject"], row["check"], row["state"]) == ("all logs", check, state)
    assert row["found"].endswith(f"{name} in cell1 and cell2") and row["found"].startswith("1 ") and row["to_do"]
    assert state != "fail" or code == errors.EXIT_NEGATIVE
