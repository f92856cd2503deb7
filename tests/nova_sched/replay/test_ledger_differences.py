"""state and diff of a log with writes of Placement's API: providers, consumers, names, and hosts that wait."""

import csv
import io
import json

import pytest

from nova_sched.cli.main import replay
from rpc_api import events
from rpc_api.levels import LEVEL
from tests.builders import (
    claim,
    consumer_put,
    facts_of,
    inventory_of,
    of,
    providers_reported,
    put,
    put_inventories,
    tree,
    uuid_of,
)
from tests.nova_sched.replay import ledger_story
from tests.nova_sched.replay.ledger_story import DISK, by, dropped
from tests.nova_sched.replay.test_differences import changes

POOL, VOLUME, VM, ROOT_B, ROOT_C = map(uuid_of, ("pool", "volume", "vm", "root-b", "root-c"))


@pytest.fixture(scope="module")
def story():
    return ledger_story.told()


# --- diff -----------------------------------------------------------------------------------------------------------

DIFFERENCES = [
    (2, 3, {(None, "provider", f"pool {POOL}"): (None, "of no host, generation 0", ["ProviderCreated"])}),
    (
        3,
        4,
        {
            (None, "provider", "pool DISK_GB allocation_ratio"): (None, "1", ["InventoriesPut"]),
            (None, "provider", "pool DISK_GB max_unit"): (None, "100", ["InventoriesPut"]),
            (None, "provider", "pool DISK_GB min_unit"): (None, "1", ["InventoriesPut"]),
            (None, "provider", "pool DISK_GB reserved"): (None, "0", ["InventoriesPut"]),
            (None, "provider", "pool DISK_GB step_size"): (None, "1", ["InventoriesPut"]),
            (None, "provider", "pool DISK_GB total"): (None, "100", ["InventoriesPut"]),
            (None, "provider", "pool generation"): ("0", "1", ["InventoriesPut"]),
        },
    ),
    (
        4,
        6,
        {
            (None, "provider", f"pool aggregate {uuid_of('agg')}"): (None, "yes", ["TraitsPut", "AggregatesPut"]),
            (None, "provider", "pool generation"): ("1", "3", ["TraitsPut", "AggregatesPut"]),
            (None, "provider", "pool trait MISC_SHARES_VIA_AGGREGATE"): (None, "yes", ["TraitsPut", "AggregatesPut"]),
        },
    ),
    (
        6,
        9,
        {
            (None, "came", VOLUME): (None, "held DISK_GB=40", ["AllocationsPut"]),
            (None, "provider", "pool generation"): ("3", "4", ["AllocationsPut"]),
        },
    ),
    (
        9,
        10,
        {
            (None, "holds", VOLUME): ("held DISK_GB=40", "held DISK_GB=50", ["AllocationsPut"]),
            (None, "consumer", VOLUME): (
                "generation 1, type VOLUME, project p, user u",
                "generation 2, type VOLUME, project p, user u",
                ["AllocationsPut"],
            ),
            (None, "provider", "pool generation"): ("4", "5", ["AllocationsPut"]),
        },
    ),
    (
        13,
        14,
        {
            ("b", "added", None): (None, "up", ["HostReported"]),
            ("b", "provider", f"root-b {ROOT_B}"): (
                "of no host, generation 1, VCPU=4",
                "of host b, generation 1, VCPU=4",
                ["HostReported"],
            ),
            ("b", "free", "VCPU"): (None, "4", []),
        },
    ),
    (
        15,
        18,
        {
            (None, "name", "class CUSTOM_X"): (None, "there", ["ClassCreated"]),
            (None, "name", "trait CUSTOM_T"): (None, "there", ["TraitCreated"]),
            ("c", "waits", "root provider"): (None, ROOT_C, ["HostReported"]),
        },
    ),
    (
        18,
        23,
        {
            (None, "went", VOLUME): ("held DISK_GB=50", None, ["AllocationsDropped"]),
            (None, "provider", "lake generation"): ("6", "7", ["ClaimProposed", "ProviderChanged"]),
            (None, "provider", "lake name"): ("pool", "lake", ["ProviderChanged"]),
            ("a", "came", uuid_of("vm-a")): (None, "claimed DISK_GB=10,VCPU=1", ["ClaimProposed"]),
            ("a", "free", "VCPU"): ("8", "7", []),
        },
    ),
    (7, 8, {}),
    (19, 20, {}),
]


@pytest.mark.parametrize("first, last, wanted", DIFFERENCES, ids=[f"{row[0]} to {row[1]}" for row in DIFFERENCES])
def test_what_changed(story, first, last, wanted):
    found = changes(story, first, last)
    assert {key: (*values[:2], [name for name, _ in values[2]]) for key, values in found.items()} == wanted


def test_what_changes_back():
    """A tree leaves its host, the authority passes, a consumer comes to a host from none, and a class goes."""
    log = ledger_story.told()
    last = log.log.bounds().last
    log.say(facts_of("b", root="root-d", authority="nova"), by="conductor/c")
    log.say(events.AuthorityPassed("a", "nova"))
    log.say(by("x", events.ClassDeleted("CUSTOM_X", "", None)))
    log.say(by("x", put(consumer_put("vm", of("pool", 5, DISK), project="red"))))
    found = changes(log, last, last + 4)
    assert found["b", "removed", None][:2] == ("up", None) and found["b", "waits", "root provider"][1] == uuid_of(
        "root-d"
    )
    assert found[None, "provider", f"root-b {ROOT_B}"][:2] == (
        "of host b, generation 2, VCPU=4",
        "of no host, generation 2, VCPU=4",
    )
    assert found["a", "authority", None] == ("agent", "nova", [("AuthorityPassed", last + 2)])
    assert found[None, "name", "class CUSTOM_X"][:2] == ("there", None)
    assert found[None, "moved", VM] == ("b", None, [("AllocationsPut", last + 4)])
    assert found[None, "consumer", VM][1] == "generation 2, type INSTANCE, project red, user u"
    assert found["a", "holds", uuid_of("vm-a")][:2] == ("claimed DISK_GB=10,VCPU=1", "held DISK_GB=10,VCPU=1")


@pytest.mark.parametrize(
    "patterns, kinds",
    [
        ((), {"provider", "name", "waits", "came", "free", "went"}),
        (("a",), {"came", "free"}),
        (("pool", "lake"), {"provider"}),
    ],
)
def test_patterns(story, patterns, kinds):
    assert {kind for _, kind, _ in changes(story, 15, 23, *patterns)} == kinds


# --- state ----------------------------------------------------------------------------------------------------------


def run(capsys, log, *words):
    code = replay(["--log", f"cell1={log.log.url}", "--no-cache", *words])
    said = capsys.readouterr()
    assert code == 0, said.err
    return said.out, said.err


def rows(capsys, log, *words):
    return json.loads(run(capsys, log, "state", *words, "-o", "json")[0])


def test_what_there_is_beside_hosts(story, capsys):
    out, err = run(capsys, story, "state")
    assert out.splitlines()[0].split()[-1] == "authority" and [line.split()[-1] for line in out.splitlines()[1:]] == [
        "agent",
        "nova",
    ]
    assert (
        "cell1: 1 provider of no host, 2 consumers, 1 custom class, 1 custom trait, 1 host under Nova's authority, "
        f"host c waits for its root "
        f"provider {ROOT_C}\n"
    ) in err
    err = run(capsys, story, "state", "--at", "10")[1]
    assert "cell1: 1 provider of no host, 1 consumer (1 on no host)\n" in err
    assert "of no host" not in run(capsys, story, "state", "--at", "0")[1]


PROVIDER = {
    "cell": "cell1",
    "provider": POOL,
    "name": "lake",
    "host": None,
    "parent": None,
    "generation": 7,
    "used": {"DISK_GB": {"used": 15, "capacity": 100}},
    "traits": ["MISC_SHARES_VIA_AGGREGATE"],
    "aggregates": [uuid_of("agg")],
}
CONSUMER = {
    "cell": "cell1",
    "consumer": VM,
    "generation": 1,
    "type": "INSTANCE",
    "project": "blue",
    "user": "u",
    "state": "held",
    "hosts": ["b"],
    "resources": {"DISK_GB": 5, "VCPU": 2},
    "since": "2027-01-15T08:00:15.000Z",
    "position": 15,
}


@pytest.mark.parametrize(
    "words, key, wanted",
    [
        (["--list", "providers"], None, [PROVIDER]),
        (["--list", "providers", "*"], "name", ["a", "lake", "root-b"]),
        (["--list", "providers", "b"], "name", ["root-b"]),
        (["--list", "providers", ROOT_B], "host", ["b"]),
        (["--list", "providers", "--at", "13"], "name", ["pool", "root-b"]),
        (["--list", "providers", "--limit", "1", "*"], "name", ["a"]),
        (["--list", "consumers", "blue"], None, [CONSUMER]),
        (["--list", "consumers"], "consumer", [uuid_of("vm-a"), VM]),
        (["--list", "consumers", "--at", "10"], "hosts", [[]]),
        (["--list", "consumers", "a"], "state", ["claimed"]),
        (["--list", "names"], "name", ["CUSTOM_X", "CUSTOM_T"]),
        (["--list", "names"], "kind", ["class", "trait"]),
        (["--list", "names"], "created", ["2027-01-15T08:00:16.000Z", "2027-01-15T08:00:17.000Z"]),
        (["--list", "names", "*_T"], "name", ["CUSTOM_T"]),
        (["--list", "waiting"], "root", [ROOT_C]),
    ],
)
def test_lists(story, capsys, words, key, wanted):
    found = rows(capsys, story, *words)
    assert (found if key is None else [row[key] for row in found]) == wanted


def test_a_list_without_what_is_named(story, capsys):
    code = replay(["--log", f"cell1={story.log.url}", "--no-cache", "state", "--list", "waiting", "x"])
    assert code == 1 and "has nothing of the name 'x'" in capsys.readouterr().err


def test_other_forms(story, capsys):
    out = run(capsys, story, "state", "--list", "consumers", "-o", "csv")[0]
    found = list(csv.DictReader(io.StringIO(out)))
    assert [row["resources"] for row in found] == ["DISK_GB=10,VCPU=1", "DISK_GB=5,VCPU=2"]
    (line,) = run(capsys, story, "state", "--list", "providers")[0].splitlines()[1:]
    assert line.split()[:6] == ["cell1", POOL, "lake", "-", "-", "7"] and "DISK_GB=15/100" in line


def test_one_host_one_provider_and_one_that_waits(story, capsys):
    host = rows(capsys, story, "b")
    assert host["authority"] == "nova" and host["providers"][0]["generation"] == 2
    (instance,) = host["instances"]
    assert (instance["generation"], instance["type"], instance["user"]) == (1, "INSTANCE", "u")
    assert [one["name"] for one in rows(capsys, story, "a")["pools"]] == ["lake"]
    lines = run(capsys, story, "state", "a")[0].splitlines()
    assert "  authority   agent" in lines and f"shared by the host: provider lake {POOL}, generation 7" in lines
    provider = rows(capsys, story, "lake")
    assert provider["serves"] == ["a"] and provider["host"] is None and provider["generation"] == 7
    assert [(one["consumer"], one["resources"], one["host"]) for one in provider["consumers"]] == [
        (VM, {"DISK_GB": 5}, "b"),
        (uuid_of("vm-a"), {"DISK_GB": 10}, "a"),
    ]
    lines = run(capsys, story, "state", "lake")[0].splitlines()
    assert lines[0].endswith(", of no host") and "2 consumers" in lines
    assert rows(capsys, story, "c")["root"] == ROOT_C
    assert (
        f"  waits for its root provider {ROOT_C}, which the log does not have"
        in run(capsys, story, "state", "c")[0].splitlines()
    )


def test_instances_without_a_host(story, capsys):
    found = json.loads(run(capsys, story, "instances", "--at", "10", "-o", "json")[0])
    assert [(row["instance"], row["host"], row["state"]) for row in found] == [(VOLUME, None, "held")]
    assert "no instance matches" in run(capsys, story, "instances", "--at", "10", "--host", "*")[1]
    for sort in ("host", "state", "project", "since"):
        assert len(json.loads(run(capsys, story, "instances", "--sort", sort, "-o", "json")[0])) == 2


def test_a_host_without_the_ledger_has_no_authority(capsys):
    log = ledger_story.Written(ledger_story.host_a(), claim("vm", "a"))
    out, err = run(capsys, log, "state")
    assert "authority" not in out and "of no host" not in err
    out = run(capsys, log, "state", "a")[0]
    assert "authority" not in out and "generation" not in out


def test_dropped_and_put_again_is_one_change(capsys):
    log = ledger_story.told()
    last = log.log.bounds().last
    log.say(by("x", dropped("vm")), by("x", put(consumer_put("vm", of("root-b", 1), kind="INSTANCE"))))
    log.say(by("x", put_inventories("pool", inventory_of(DISK, 90))))
    found = changes(log, last, last + 2)
    assert found["b", "holds", VM][:2] == ("held DISK_GB=5,VCPU=2", "held VCPU=1")
    assert found[None, "provider", "lake DISK_GB total"][:2] == ("100", "90")


def test_a_tree_that_an_agent_reports_by_itself():
    """What changed of it is shown; that each claim raises its generation is not."""
    log = ledger_story.Written(events.LevelPinned(LEVEL), facts_of("a"), providers_reported("a"), claim("vm", "a"))
    assert {kind for _, kind, _ in changes(log, 3, 4)} == {"came", "free"}
    log.say(providers_reported("a", tree("a", inventories=[inventory_of(total=6)])))
    found = changes(log, 4, 5)
    assert found["a", "provider", "a VCPU total"] == ("8", "6", [("ProvidersReported", 5)])
    assert found["a", "provider", "a MEMORY_MB total"][:2] == ("16384", None)
    assert ("a", "provider", "a generation") not in found
