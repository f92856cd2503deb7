"""stats, top and capacity of a log with writes of Placement's API: counts, places with and without a host, pools."""

import json

import pytest

from nova_sched.cli.main import replay
from nova_sched.replay.statistics.live import Live
from rpc_api import events
from rpc_api.levels import LEVEL
from tests.builders import consumer_put, created, facts_of, inventory_of, of, put, put_inventories, report, uuid_of
from tests.nova_sched.cli import documented_ledger
from tests.nova_sched.replay.ledger_story import DISK, by, dropped
from tests.nova_sched.replay.logs import Written, records_of


@pytest.fixture
def run(capsys):
    def run(log, *words):
        code = replay(["--log", f"cell1={log.log.url}", "--no-cache", *words])
        return code, capsys.readouterr().out

    return run


@pytest.fixture
def story():
    return documented_ledger.written()


def test_each_interval_counts_writes(run, story):
    facts = json.loads(run(story, "stats", "--interval", "10s", "-o", "json")[1])
    writes = [(one["writes_accepted"], one["writes_refused"]) for one in facts["intervals"]]
    assert writes == [(6, 0), (5, 4), (2, 1)]
    code, out = run(story, "stats", "--interval", "10s")
    assert code == 0 and "writes_accepted" in out.splitlines()[0]


def test_places_with_and_without_a_host(run, story):
    facts = json.loads(run(story, "stats", "-o", "json")[1])
    assert {(one["host"], one["events"]) for one in facts["busiest_hosts"]} == {("compute-1", 1), ("compute-2", 1)}
    # Two volumes are created, one of them grows and one is dropped; an instance of a host is claimed beside.
    assert facts["busiest_providers_of_no_host"] == [{"cell": "cell1", "provider": "ceph", "events": 5}]
    _, out = run(story, "stats")
    assert "1 provider of no host, 3 consumers (1 on no host)" in out and "host compute-3 waits" in out


def test_top_shows_writes(run, story):
    code, out = run(story, "top", "--once")
    assert code == 0
    for line in (
        "writes of Placement's API: 13 accepted, 5 refused",
        "somebody holds resources of the provider",
        "hottest provider of no host  cell   claims, writes",
        "cell1: 2 hosts: 2 up; 1 provider of no host, 3 consumers (1 on no host)",
    ):
        assert line in out, out


def test_a_log_that_is_no_ledger_shows_nothing_of_writes(run):
    log = Written(report("a"))
    assert "Placement" not in run(log, "top", "--once")[1]
    assert "provider of no host" not in run(log, "stats")[1]


def test_a_consumer_counts_where_it_was_and_where_it_goes(run):
    log = Written(
        events.LevelPinned(LEVEL),
        *(data for name in ("a", "b") for data in (created(name), put_inventories(name, inventory_of("VCPU", 4)))),
    )
    for name in ("a", "b"):
        log.say(facts_of(name, authority="nova"), by="conductor/c")
    for data in (
        put(consumer_put("vm", of("a", 1), generation=None)),
        put(consumer_put("vm", of("b", 1), generation=1)),
        dropped("vm"),
        dropped("vm"),  # It holds nothing any more: refused, so it does not count.
    ):
        log.say(by("move", data))
    facts = json.loads(run(log, "stats", "-o", "json")[1])
    assert {one["host"]: one["events"] for one in facts["busiest_hosts"]} == {"a": 2, "b": 2}
    assert facts["writes"]["refused"] == 1


def test_the_live_view_counts_nothing_of_a_state_that_is_not_known(story):
    live, records = Live(["cell1"]), list(records_of(story.log))
    for position, record in records:
        live.feed("cell1", position, record, Written.at(60))
    view = live.view(Written.at(60))
    assert (view.writes_accepted, view.writes_refused, view.others, view.summaries) == (0, 0, (), {"cell1": None})


def test_many_waiting_hosts_are_counted_and_not_all_named(run):
    log = Written(events.LevelPinned(LEVEL))
    for number in range(7):
        log.say(facts_of(f"host-{number}", root=f"root-{number}", authority="nova"), by="conductor/c")
    _, out = run(log, "stats")
    assert "host host-2 waits" in out and "host-3" not in out and "4 more hosts wait" in out


def test_capacity_shows_what_a_pool_has_left(run, story):
    facts = json.loads(run(story, "capacity", "VCPU=1,DISK_GB=10", "-o", "json")[1])
    (host,) = facts["top"]
    assert (host["host"], host["fits"], host["left"][DISK], host["shared"]) == ("compute-1", 24, 610, [DISK])
    assert facts["stranded"] == {"VCPU": 12, DISK: 0}, "what a pool has left is not lost: other hosts can use it"
    assert "VCPU=0,DISK_GB=610 (shared)" in run(story, "capacity", "VCPU=1,DISK_GB=10")[1]


def test_show_names_the_command_for_what_the_api_wrote(run, story, capsys):
    code = replay(["--log", f"cell1={story.log.url}", "--no-cache", "show", uuid_of("volume-1")])
    assert code == 1 and "history shows what Placement's API wrote" in capsys.readouterr().err
    code, out = run(story, "history", uuid_of("volume-1"))
    assert code == 0 and "AllocationsPut" in out
