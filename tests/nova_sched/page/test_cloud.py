"""The page follows logs that grow, cannot be read, begin late, are recreated, or are of a newer version."""

import shutil
import uuid

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
        page.wait(lambda shown: "cell1" in shown.faults)
        assert url in page.get("news")["faults"][0]["text"]
        again = Written(report("c"), url=url)
        written.log.close()
        has(page, {"c": 0})
        again.log.close()


def test_a_file_that_is_removed_and_restored_is_opened_again(soon, tmp_path, caplog):
    path, backup = tmp_path / "log.cell1.db", tmp_path / "backup.db"
    for place, hosts in ((path, "ab"), (backup, "cd")):
        Written(*map(report, hosts), url=f"sqlite:///{place}").log.close()
    with (
        Source([f"cell1=sqlite:///{path}"]) as source,
        Served(source, requests_per_second=1e6, request_burst=10**6) as page,
    ):
        assert hosts_of(page) == {"a": 0, "b": 0}
        assert page.ask("/readyz")[::2] == (200, b"OK")
        topology = page.get("hosts")["topology"]
        for beside in tmp_path.glob("log.cell1.db*"):
            beside.unlink()
        # Several attempts find no file.
        page.wait(lambda shown: "there is no file" in shown.faults.get("cell1", ""))
        assert "the page opens the logs again by itself" in page.get("news")["faults"][0]["text"]
        assert "the page opens the logs again by itself" in caplog.text
        assert page.ask("/healthz").json == {"is_ready": False}
        found = page.ask("/readyz")
        assert found.code == 503 and found.headers["Content-Type"].startswith("text/plain")
        assert f"there is no file {path}".encode() in found.body
        found = page.ask("/readyz", headers={"HTTP_ACCEPT": "application/json"})
        assert found.code == 503 and str(path) in found.json["reasons"][0]
        assert page.ask("/readyz", "HEAD")[::2] == (503, b"")
        shutil.copy(backup, path)
        # There are as many hosts as before, at the same positions.
        has(page, {"c": 0, "d": 0})
        assert page.get("hosts")["topology"] > topology and not page.get("news")["faults"]
        assert page.ask("/readyz").code == 200 and page.ask("/healthz").json == {"is_ready": True}
        # The new file is followed, and explanations read it too.
        written = open_log(f"sqlite:///{path}", create=False)
        last = source.logs["cell1"].bounds().last
        with written.read_from(last) as reader:
            written.append([reader.read(1)[0].payload])
        written.close()
        page.wait(lambda shown: shown.places["cell1"].position == last + 1)


@pytest.mark.parametrize("is_there", [True, False], ids=["is damaged later", "is not there at the start"])
def test_one_log_does_not_hold_up_the_others_and_is_opened_when_it_can_be(soon, tmp_path, is_there):
    path, other = tmp_path / "log.cell1.db", Written(report("b"), url=f"sqlite:///{tmp_path}/log.cell2.db")
    written = Written(report("a"), url=f"sqlite:///{path}")
    written.log.close()
    whole = path.read_bytes()
    if not is_there:
        path.unlink()
    names = [f"cell1=sqlite:///{path}", f"cell2={other.log.url}"]
    with Source(names, tolerant=True) as source, Served(source, requests_per_second=1e6, request_burst=10**6) as page:
        if is_there:
            has(page, {"a": 0, "b": 0})
            for beside in tmp_path.glob("log.cell1.db*"):
                beside.unlink()
            path.write_bytes(b"no log at all" * 1000)
        page.wait(lambda shown: set(shown.faults) == {"cell1"} and shown.is_ready)
        assert hosts_of(page) == {"b": 0}
        assert "the page opens the logs again by itself" in page.get("news")["faults"][0]["text"]
        assert page.ask("/readyz").code == 200
        other.say(report("c"))
        has(page, {"b": 0, "c": 0})
        path.write_bytes(whole)
        has(page, {"a": 0, "b": 0, "c": 0})
        page.wait(lambda shown: not shown.faults)
        other.say(claim("vm", "b"))
        has(page, {"a": 0, "b": 1, "c": 0})


def test_a_page_without_any_log_that_can_be_read_is_not_ready(tmp_path):
    with Source([f"cell1=sqlite:///{tmp_path}/nothing.db"], tolerant=True) as source, Served(source) as page:
        found = page.ask("/readyz")
        assert found.code == 503 and found.body.startswith(b"cell1: cannot open the log")
        # With a login, who has none is not told cells and files.
        page.page.keystone = object()
        found = page.ask("/readyz")
        assert found.code == 503 and b"cell1" not in found.body and b"the log of the page has the reason" in found.body


def test_a_page_that_has_not_read_its_logs_yet_is_not_ready():
    page = Served(LogsOf(cell1=Written(report("a")).log))
    found = page.ask("/readyz")
    assert found.code == 503 and found.body == b"the logs are not read yet: 0% of their records"


def test_a_position_after_the_end_of_the_log():
    with Served(LogsOf(cell1=Written(report("a")).log)) as page:
        for path in ("use", "host", "instances", "happenings"):
            for at, log in (("cell1:2", "the log of cell1"), ("99999", "the log")):
                found = page.ask(f"/api/{path}", at=at, name="a")
                expected = f"{log} ends at position 1, got {at.rpartition(':')[2]}; name an earlier position"
                assert (found.code, found.json) == (404, {"error": expected}), path
            assert page.ask(f"/api/{path}", at="cell1:1", name="a").code == 200


def test_a_log_of_a_newer_version_is_named():
    written = Written(report("a"), events.LevelPinned(LEVEL + 1))
    with Served(LogsOf(cell1=written.log)) as page:
        assert hosts_of(page) == {"a": 0}
        (fault,) = page.get("news")["faults"]
        assert f"is pinned to level {LEVEL + 1}" in fault["text"] and "upgrade nova_sched here" in fault["text"]


def test_an_empty_log():
    with open_log("memory://page-empty") as log, Served(LogsOf(cell1=log)) as page:
        assert page.get("use")["status"] == [] and page.get("hosts")["names"] == []
        found = page.ask("/api/use", at="cell1:3")
        assert found.code == 404 and "the log of cell1 has no record yet, got position 3" in found.json["error"]
        assert page.ask("/api/use", at="-15m").code == 200
        assert page.get("news")["first_ns"] == "0"


@pytest.mark.parametrize("is_replaced", [False, True], ids=["missing", "another one in its place"])
def test_a_log_with_api_writes_that_is_deleted_is_not_shown_as_an_empty_one(soon, tmp_path, is_replaced):
    path, backup = tmp_path / "log.cell1.db", tmp_path / "backup.db"
    Written(report("a"), events.LevelPinned(LEVEL), report("b"), url=f"sqlite:///{path}").log.close()
    shutil.copy(path, backup)
    other = Written(report("c"), url=f"sqlite:///{tmp_path}/log.cell2.db")
    with (
        Source([f"cell1=sqlite:///{path}", f"cell2={other.log.url}"]) as source,
        Served(source, requests_per_second=1e6, request_burst=10**6) as page,
    ):
        has(page, {"a": 0, "b": 0, "c": 0})
        for beside in tmp_path.glob("log.cell1.db*"):
            beside.unlink()
        if is_replaced:
            Written(url=f"sqlite:///{path}", epoch=str(uuid.uuid4())).log.close()
        page.wait(lambda shown: "no service begins it again" in shown.faults.get("cell1", "") and shown.is_ready)
        assert hosts_of(page) == {"c": 0}
        for beside in tmp_path.glob("log.cell1.db*"):
            beside.unlink()
        shutil.copy(backup, path)
        has(page, {"a": 0, "b": 0, "c": 0})
        assert not page.get("news")["faults"]
    other.log.close()
