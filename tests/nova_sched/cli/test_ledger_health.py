"""check, doctor and stats of a log with writes of Placement's API: counts, and hosts that wait for a root provider."""

import json

import pytest

from nova_sched.cli.main import replay
from rpc_api import events
from rpc_api.levels import LEVEL
from tests.builders import claim, consumer, consumer_put, created, facts_of, of, put, report, uuid_of
from tests.nova_sched.replay import ledger_story
from tests.nova_sched.replay.ledger_story import Written, by

ROOT_C = uuid_of("root-c")


def run(capsys, log, *words):
    code = replay(["--log", f"cell1={log.log.url}", "--no-cache", *words])
    return code, capsys.readouterr().out


def row(capsys, log, name, *words):
    """The row of a check."""
    _, out = run(capsys, log, "check", "-o", "json", *words)
    return next((one for one in json.loads(out) if one["check"] == name), None)


@pytest.fixture
def story():
    return ledger_story.told()


def test_check_counts_writes(story, capsys):
    found = row(capsys, story, "writes")
    assert (found["state"], found["count"], found["found"]) == ("ok", 18, "13 accepted, 5 refused")
    assert row(capsys, Written(report("a")), "writes") is None


@pytest.mark.parametrize("silent, state", [("1h", "note"), ("2s", "wrong")])
def test_a_host_that_waits(story, capsys, silent, state):
    found = row(capsys, story, "waiting", "--silent", silent)
    assert (found["state"], found["count"]) == (state, 1)
    assert found["found"] == f"c waits for its root provider {ROOT_C} for 5.0 s"
    assert run(capsys, story, "check", "--silent", silent)[0] == (state == "wrong")


def test_a_host_that_waits_no_more(story, capsys):
    story.say(created("root-c"))
    found = row(capsys, story, "waiting", "--silent", "2s")
    assert (found["state"], found["found"]) == ("ok", "no host waits for its root provider")
    # It waits again from now on, and not since it was reported first.
    story.say(by("x", events.ProviderDeleted(ROOT_C, "", None)))
    assert row(capsys, story, "waiting", "--silent", "2s")["state"] == "note"


def test_a_report_again_does_not_end_the_waiting(story, capsys):
    story.say(facts_of("c", root="root-c", authority="nova", num_io_ops=1), by="conductor/c")
    assert row(capsys, story, "waiting", "--silent", "2s")["state"] == "wrong"


def test_what_is_no_contradiction(capsys):
    """A consumer of Nova that holds something on two hosts is none; an instance that two agents report is one."""
    log = Written(events.LevelPinned(LEVEL), created("h"), created("i"))
    for name in "hi":
        log.say(ledger_story.put_inventories(name, ledger_story.inventory_of()))
        log.say(facts_of(name, authority="nova"), by="conductor/c")
    log.say(put(consumer_put("vm", of("h", 1), of("i", 1))))
    assert row(capsys, log, "contradictions") is None
    log.say(report("a", consumer("old", of("a", 1)))).say(report("b", consumer("old", of("b", 1))))
    assert row(capsys, log, "contradictions")["count"] == 1


def test_passing_the_authority_is_no_fault(capsys):
    log = Written(events.LevelPinned(LEVEL), report("a"), claim("vm", "a"), events.AuthorityPassed("a", "nova"))
    assert row(capsys, log, "authority-passed") is None and run(capsys, log, "check")[0] == 0


def test_strays_and_shared_providers(capsys):
    """Use of a pool is none; use of what nobody has is one."""
    log = ledger_story.told()
    assert row(capsys, log, "stray-use")["state"] == "ok"
    log.say(ledger_story.host_a(consumer("vm-x", of("a", 1), of("nowhere", 2, "DISK_GB"))))
    assert "a has 2 DISK_GB of the provider" in row(capsys, log, "stray-use")["found"]


@pytest.mark.parametrize("silent, state", [("1h", "ok"), ("2s", "warn")])
def test_doctor(tmp_path, capsys, silent, state):
    """An exported file is compared with its own end."""
    story = ledger_story.told()
    file = tmp_path / "file.nslog"
    assert run(capsys, story, "export", "--no-redact", "-o", str(file))[0] == 0
    replay(["--log", str(file), "--no-cache", "doctor", "--silent", silent, "-o", "json"])
    found = [one for one in json.loads(capsys.readouterr().out) if one["check"] == "waiting"]
    assert [one["state"] for one in found] == [state]
    assert found[0]["found"].endswith(f"no instances: c for {ROOT_C}, reported 5.0 s ago")


def test_stats(story, capsys):
    found = json.loads(run(capsys, story, "stats", "-o", "json")[1])["writes"]
    assert (found["accepted"], found["refused"]) == (13, 5)
    assert {"reason": "another generation of the provider", "writes": 1} in found["reasons"]
    lines = run(capsys, story, "stats")[1].splitlines()
    assert "writes      13 accepted, 5 refused" in lines
    assert any(line.split()[:3] == ["write", "refused", "for"] for line in lines)
    found = json.loads(run(capsys, story, "stats", "8:11", "-o", "json")[1])["writes"]
    assert (found["accepted"], found["refused"]) == (1, 3)
    assert "writes  " not in run(capsys, Written(report("a")), "stats")[1]


def test_a_host_of_nova_has_no_agent_that_may_be_silent(tmp_path, capsys):
    log = ledger_story.told()
    for _ in range(10):
        log.say(created(f"later-{log.log.bounds().last}"))
    found = row(capsys, log, "silent", "--silent", "12s")
    assert found["count"] == 1 and found["found"].startswith("agent of a for ")
    assert [
        one["host"] for one in json.loads(run(capsys, log, "stats", "--silent", "12s", "-o", "json")[1])["silent_hosts"]
    ] == ["a"]
    file = tmp_path / "file.nslog"
    run(capsys, log, "export", "--no-redact", "-o", str(file))
    replay(["--log", str(file), "--no-cache", "doctor", "--silent", "12s", "-o", "json"])
    (agents,) = [one for one in json.loads(capsys.readouterr().out) if one["check"] == "agents"]
    assert agents["found"].startswith("1 of 2 hosts")
