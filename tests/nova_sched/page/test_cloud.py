"""The page follows logs that grow, cannot be read, begin late, are recreated, or are of a newer version."""

import pytest

from nova_sched.replay.logs.source import Source
from rpc_api import events
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.builders import claim, report, started
from tests.nova_sched.page.pages import LogsOf, Served
from tests.nova_sched.replay.logs import Written


@pytest.fixture
def soon(monkeypatch):
    """The page reads logs again without a pause."""
    monkeypatch.setattr("nova_sched.page.cloud.AGAIN_SECONDS", 0.05)


def hosts_of(page):
    """Host -> number of its instances, as the page shows it."""
    names, use = page.get("hosts")["names"], page.get("use")
    return {
        name: count for name, count, status in zip(names, use["instances"], use["status"], strict=True) if status >= 0
    }


def has(page, expected):
    """Wait until the page has these hosts and instances."""
    page.wait(lambda shown: shown.is_ready and hosts_of(page) == expected)


def test_a_log_that_grows():
    written = Written(report("a"), report("b"))
    with Served(LogsOf(cell1=written.log), requests_per_second=1e6, request_burst=10**6) as page:
        assert hosts_of(page) == {"a": 0, "b": 0}
        topology = page.get("hosts")["topology"]
        written.say(claim("vm", "a"))
        has(page, {"a": 1, "b": 0})
        written.say(started("vm", "a"), report("c"), events.HostLost("b", "silent"))
        written.say(events.HostRemoved("b", "gone"))
        has(page, {"a": 1, "c": 0})
        assert page.get("hosts")["topology"] > topology
        (instance,) = page.get("host", name="a")["instances"]
        assert instance["state"] == "running"
        assert [event["event"] for event in page.get("host", name="a")["events"]] == [
            "InstanceStarted",
            "ClaimProposed",
            "HostReported",
        ]
        # The host that was removed is there at an earlier moment.
        assert page.get("host", name="b", at="cell1:2")["status"] == "up"
        assert page.ask("/api/host", name="b").code == 404


def test_a_cell_whose_log_cannot_be_read_and_another_one(tmp_path):
    written = Written(report("a"))
    source = Source([f"cell2=sqlite:///{tmp_path}/nothing.db"], tolerant=True)
    source.logs["cell1"] = written.log
    with Served(source) as page:
        assert hosts_of(page) == {"a": 0}
        news = page.get("news")
        assert [fault["cell"] for fault in news["faults"]] == ["cell2"] and news["is_incomplete"] and news["is_ready"]


def test_a_log_that_is_gone_is_named_and_read_again_when_it_is_back(soon):
    written = Written(report("a"), report("b"))
    url = written.log.url
    with Served(LogsOf(cell1=written.log), requests_per_second=1e6, request_burst=10**6) as page:
        has(page, {"a": 0, "b": 0})
        written.log.delete()
        page.wait(lambda shown: shown.faults)
        assert url in page.get("news")["faults"][0]["text"]
        page.page.cloud._source.logs["cell1"] = Written(report("c"), url=url).log
        written.log.close()
        has(page, {"c": 0})


def test_a_log_of_a_newer_version_is_named():
    written = Written(report("a"), events.LevelPinned(LEVEL + 1))
    with Served(LogsOf(cell1=written.log)) as page:
        assert hosts_of(page) == {"a": 0}
        (fault,) = page.get("news")["faults"]
        assert f"is pinned to level {LEVEL + 1}" in fault["text"] and "upgrade nova_sched here" in fault["text"]


def test_an_empty_log():
    with open_log("memory://page-empty") as log, Served(LogsOf(cell1=log)) as page:
        assert page.get("use")["status"] == [] and page.get("hosts")["names"] == []
        assert page.ask("/api/use", at="cell1:3").code == 200
        assert page.ask("/api/use", at="-15m").code == 200
        assert page.get("news")["first_ns"] == "0"
