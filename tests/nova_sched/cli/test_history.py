"""history: who changed a consumer or a provider, at which generation, and why others were refused."""

import json

import pytest

from nova_sched.cli.main import replay
from nova_sched.replay.decisions.ledger_history import CONSUMER, PROVIDER, found_by, past_of
from nova_sched.replay.decisions.write_causes import Causes
from nova_sched.replay.state.history import History
from rpc_api import events
from rpc_api.levels import LEVEL
from tests.builders import (
    claim,
    consumer,
    consumer_put,
    created,
    deleted,
    inventory_of,
    of,
    put,
    put_inventories,
    put_traits,
    report,
    started,
    uuid_of,
)
from tests.nova_sched.projection.test_writes import reshaped
from tests.nova_sched.replay import ledger_story
from tests.nova_sched.replay.ledger_story import DISK, at_generation, by, dropped, host_a
from tests.nova_sched.replay.logs import Written

POOL, VOLUME = map(uuid_of, ("pool", "volume"))


def told(*published):
    """A log at the newest level."""
    return Written(events.LevelPinned(LEVEL), *published)


def past(log, kind, name):
    return past_of(History({"cell1": log.log}), kind, uuid_of(name))


def brief(change):
    """(Position, generations before and after, changes, held amounts; or the reason and the position of its cause)."""
    if change.refused is not None:
        cause = change.cause and change.cause.position
        return change.writer.position, change.after, change.refused, cause
    held = " ".join(f"{held.amount}:{held.name}" for held in change.holds)
    return change.writer.position, change.before, change.after, ", ".join(change.changes), held


@pytest.fixture(scope="module")
def story():
    return ledger_story.told()


def test_a_volume(story):
    found = past(story, CONSUMER, "volume")
    assert found.parts == []
    assert list(map(brief, found.changes)) == [
        (7, None, 1, "held on no host", "40:pool"),
        (9, 1, f"consumer {VOLUME} has generation 1, expected None", 7),
        (10, 1, 2, "", "50:pool"),
        (21, 2, None, "", ""),
    ]
    assert [change.writer[3:] for change in found.changes] == [
        ("AllocationsPut", "placement/one", "req-volume", "ada"),
        ("AllocationsPut", "placement/one", "req-again", "ada"),
        ("AllocationsPut", "placement/one", "req-grow", "bob"),
        ("AllocationsDropped", "placement/one", "req-drop", "ada"),
    ]


def test_an_instance_of_nova(story):
    found = past(story, CONSUMER, "vm")
    assert list(map(brief, found.changes)) == [(15, None, 1, "held on b", "5:pool 2:root-b")]
    (part,) = found.parts
    assert part["project"] == "blue" and part["type"] == "INSTANCE" and part["generation"] == 1


def test_a_pool(story):
    found = past(story, PROVIDER, "pool")
    own = [brief(change) for change in found.changes if change.changes]
    assert own == [
        (3, None, 0, "created", ""),
        (4, 0, 1, "+DISK_GB 100", ""),
        (5, 1, 2, "+trait MISC_SHARES_VIA_AGGREGATE", ""),
        (6, 2, 3, f"+aggregate {uuid_of('agg')}", ""),
        (23, 7, 7, "name pool to lake", ""),
    ]
    assert [brief(change)[:3] for change in found.changes if not change.changes and not change.refused] == [
        (7, 3, 4),
        (10, 4, 5),
        (15, 5, 6),
        (19, 6, 7),
    ]
    assert [
        (change.writer.position, change.cause and change.cause.position) for change in found.changes if change.refused
    ] == [(8, 7), (9, 7), (11, 10), (20, None), (22, 19)]


#: What was written before, the name of the consumer or provider, and its history.
CHANGES = [
    (
        "an instance of an agent",
        [report("a"), claim("vm", "a"), started("vm", "a"), deleted("vm", "a")],
        (CONSUMER, "vm"),
        [
            (3, None, 1, "claimed on a", "1:a"),
            (4, 1, 1, "claimed, now running on a", "1:a"),
            (5, 1, None, "not on a any more", ""),
        ],
    ),
    (
        "its host is removed, which does not name it",
        [report("a", consumer("vm", of("a", 2))), events.HostRemoved("a", "gone")],
        (CONSUMER, "vm"),
        [(2, None, 1, "running on a", "2:a"), (3, 1, None, "not on a any more", "")],
    ),
    (
        "claimed twice",
        [report("a"), report("b"), claim("vm", "a"), claim("vm", "b", attempt=2)],
        (CONSUMER, "vm"),
        [(4, None, 1, "claimed on a", "1:a"), (5, 1, "the consumer holds resources already", 4)],
    ),
    (
        "no room",
        [report("a"), claim("vm", "a", of("a", 8)), claim("late", "a", of("a", 1))],
        (CONSUMER, "late"),
        [(4, None, "VCPU", 3)],
    ),
    (
        "a class is renamed",
        [
            events.ClassCreated("CUSTOM_X", "r", None),
            created("pool"),
            put_inventories("pool", inventory_of("CUSTOM_X", 5)),
            put(consumer_put("one", of("pool", 1, "CUSTOM_X"))),
            events.ClassRenamed("CUSTOM_X", "CUSTOM_Y", "r", None),
        ],
        (PROVIDER, "pool"),
        [
            (3, None, 0, "created", ""),
            (4, 0, 1, "+CUSTOM_X 5", ""),
            (5, 1, 2, "", ""),
            (6, 2, 2, "-CUSTOM_X, +CUSTOM_Y 5", ""),
        ],
    ),
    (
        "inventories change",
        [
            created("pool"),
            put_inventories("pool", inventory_of(DISK, 10)),
            put_inventories("pool", inventory_of(DISK, 20, reserved=2, ratio=1.5)),
            put_inventories("pool", inventory_of(DISK), kind="remove"),
            events.ProviderDeleted(POOL, "r", None),
        ],
        (PROVIDER, "pool"),
        [
            (2, None, 0, "created", ""),
            (3, 0, 1, "+DISK_GB 10", ""),
            (
                4,
                1,
                2,
                "DISK_GB total 10 to 20, DISK_GB reserved 0 to 2, DISK_GB max_unit 10 to 20, "
                "DISK_GB allocation_ratio 1 to 1.5",
                "",
            ),
            (5, 2, 3, "-DISK_GB", ""),
            (6, 3, None, "deleted", ""),
        ],
    ),
    (
        "an agent reports",
        [host_a(), report("a")],
        (PROVIDER, "a"),
        [(2, None, 1, f"created, +MEMORY_MB 16384, +VCPU 8, +aggregate {uuid_of('agg')}", ""), (3, 1, 2, "", "")],
    ),
    (
        "several consumers, of which one is in the way",
        [
            created("pool"),
            put_inventories("pool", inventory_of(DISK, 10)),
            at_generation("one", None, of("pool", 1, DISK)),
            put(consumer_put("two", of("pool", 1, DISK)), consumer_put("one", generation=7)),
        ],
        (CONSUMER, "two"),
        [(5, None, f"consumer {uuid_of('one')} has generation 1, expected 7", 4)],
    ),
    (
        "a consumer that is gone",
        [
            created("pool"),
            put_inventories("pool", inventory_of(DISK, 10)),
            at_generation("one", None, of("pool", 1, DISK)),
            dropped("one"),
            at_generation("one", 1, of("pool", 1, DISK)),
        ],
        (CONSUMER, "one"),
        [
            (4, None, 1, "held on no host", "1:pool"),
            (5, 1, None, "", ""),
            (6, None, f"consumer {uuid_of('one')} has generation None, expected 1", 5),
        ],
    ),
    (
        "an old generation, after another refused write",
        [
            created("pool"),
            put_inventories("pool", inventory_of(DISK, 10)),
            put_traits("pool", "CUSTOM_NOT_THERE"),
            put_inventories("pool", generation=0),
        ],
        (PROVIDER, "pool"),
        [
            (2, None, 0, "created", ""),
            (3, 0, 1, "+DISK_GB 10", ""),
            (4, 1, "unknown trait CUSTOM_NOT_THERE", None),
            (5, 1, f"provider {POOL} has generation 1, expected 0", 3),
        ],
    ),
    (
        "an inventory in use, and a name that is taken",
        [
            created("pool"),
            put_inventories("pool", inventory_of(DISK, 10)),
            put(consumer_put("one", of("pool", 1, DISK))),
            put_inventories("pool"),
            created("other"),
            events.ProviderChanged(POOL, "other", None, True, "r", None),
        ],
        (PROVIDER, "pool"),
        [
            (2, None, 0, "created", ""),
            (3, 0, 1, "+DISK_GB 10", ""),
            (4, 1, 2, "", ""),
            (5, 2, f"somebody holds DISK_GB of provider {POOL}", 4),
            (7, 2, "the name other is taken", 6),
        ],
    ),
    (
        "a provider that is gone",
        [created("pool"), events.ProviderDeleted(POOL, "r", None), put_traits("pool", "A")],
        (PROVIDER, "pool"),
        [(2, None, 0, "created", ""), (3, 0, None, "deleted", ""), (4, None, f"unknown provider {POOL}", 3)],
    ),
    (
        "a reshape",
        [
            created("pool"),
            created("disk", "pool"),
            put_inventories("pool", inventory_of(DISK, 10)),
            put(consumer_put("one", of("pool", 4, DISK))),
            reshaped(
                [("pool", 2, []), ("disk", 0, [inventory_of(DISK, 10)])], consumer_put("one", of("disk", 4, DISK))
            ),
        ],
        (CONSUMER, "one"),
        [(5, None, 1, "held on no host", "4:pool"), (6, 1, 2, "", "4:disk")],
    ),
]


@pytest.mark.parametrize("said, named, wanted", [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_changes(said, named, wanted):
    assert list(map(brief, past(told(*said), *named).changes)) == wanted


def test_a_log_that_becomes_a_ledger():
    log = Written(report("a"), claim("vm", "a"), events.LevelPinned(LEVEL))
    assert list(map(brief, past(log, CONSUMER, "vm").changes)) == [
        (2, None, None, "claimed on a", "1:a"),
        (3, None, 1, "", "1:a"),
    ]
    assert [change.after for change in past(log, PROVIDER, "a").changes] == [0, 1]


@pytest.mark.parametrize(
    "key, found",
    [
        (VOLUME, (CONSUMER, "volume")),
        (VOLUME[:8], (CONSUMER, "volume")),
        (uuid_of("vm"), (CONSUMER, "vm")),
        (POOL[:9], (PROVIDER, "pool")),
        ("lake", (PROVIDER, "pool")),
        ("pool", (PROVIDER, "pool")),
        ("b", (PROVIDER, "root-b")),
        ("a", (PROVIDER, "a")),
        ("root-b", (PROVIDER, "root-b")),
        (uuid_of("large"), (CONSUMER, "large")),
    ],
)
def test_names(story, key, found):
    assert found_by(History({"cell1": story.log}), key) == (found[0], uuid_of(found[1]))


def run(capsys, log, *words):
    code = replay(["--log", f"cell1={log.log.url}", "--no-cache", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_its_text(story, capsys):
    code, out, _ = run(capsys, story, "history", VOLUME)
    assert code == 0 and out.splitlines()[:6] == [
        f"consumer {VOLUME}: holds nothing any more",
        "  2027-01-15T08:00:07.000Z cell1 7      - to 1     AllocationsPut by placement/one, req-volume, user ada",
        "    holds 40 DISK_GB of pool; held on no host",
        "  2027-01-15T08:00:09.000Z cell1 9      at 1       AllocationsPut by placement/one, req-again, user ada",
        f"    refused: consumer {VOLUME} has generation 1, expected None",
        "    because of AllocationsPut by placement/one, req-volume, user ada at 2027-01-15T08:00:07.000Z (cell1 7)",
    ]
    head = run(capsys, story, "history", uuid_of("vm"))[1].splitlines()[0]
    assert head == f"consumer {uuid_of('vm')} in cell1, generation 1, type INSTANCE, project blue, user u"
    assert run(capsys, story, "history", "b")[1].startswith(f"provider {uuid_of('root-b')} root-b of host b in cell1")


def test_a_consumer_with_parts_in_several_logs(capsys):
    """All logs are named, also if the last one has nothing of it any more."""
    logs = {}
    for cell, kind in (("cell1", "INSTANCE"), ("cell2", "INSTANCE"), ("cell3", "VOLUME")):
        logs[cell] = Written(events.LevelPinned(LEVEL), created(cell), put_inventories(cell, inventory_of()), cell=cell)
        logs[cell].say(at_generation("vm", None, of(cell, 1), project="blue", kind=kind))
    logs["cell2"].say(at_generation("vm", 1, of("cell2", 2), project="blue", kind="INSTANCE"))
    logs["cell3"].say(dropped("vm"))
    options = [word for cell, log in logs.items() for word in ("--log", f"{cell}={log.log.url}")]
    assert replay([*options, "--no-cache", "history", uuid_of("vm")]) == 0
    head, *_ = capsys.readouterr().out.splitlines()
    assert head == (
        f"consumer {uuid_of('vm')} in cell1, generation 1 and in cell2, generation 2, type INSTANCE, project blue, "
        "user u"
    )
    assert replay([*options, "--no-cache", "history", uuid_of("vm"), "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(part["cell"], part["generation"]) for part in found["now"]] == [("cell1", 1), ("cell2", 2)]
    assert len(found["changes"]) == 5


def test_explain_falls_back_to_it(story, capsys):
    assert run(capsys, story, "explain", VOLUME) == run(capsys, story, "history", VOLUME)
    code, _, err = run(capsys, story, "explain", uuid_of("nobody"))
    assert code == 1 and "no decision" in err


@pytest.mark.parametrize("words, count", [([], 10), (["--all"], 14), (["--refused"], 5), (["--all", "--refused"], 5)])
def test_what_of_a_provider_is_shown(story, capsys, words, count):
    found = json.loads(run(capsys, story, "history", "lake", *words, "-o", "json")[1])
    assert len(found["changes"]) == count and [(part["generation"], part["name"]) for part in found["now"]] == [
        (7, "lake")
    ]


def test_json(story, capsys):
    found = json.loads(run(capsys, story, "history", VOLUME, "-o", "json")[1])
    assert found["now"] == [] and found["changes"][1]["cause"]["request"] == "req-volume"
    assert found["changes"][2]["holds"] == [
        {"host": None, "provider": POOL, "name": "pool", "resource_class": DISK, "amount": 50}
    ]


@pytest.mark.parametrize("key, code, says", [("nothing", 1, "no consumer or provider 'nothing'")])
def test_what_is_not_there(story, capsys, key, code, says):
    found, _, err = run(capsys, story, "history", key)
    assert found == code and says in err


def test_every_reason_has_a_cause_or_none():
    """A reason that is not known has no cause."""
    log = told(report("a"), by("r", put_traits("nowhere", "A")))
    (change,) = past(log, PROVIDER, "nowhere").changes
    assert change.cause is None
    assert Causes(History({"cell1": log.log}), "cell1", None, 1).of(None, None) is None
