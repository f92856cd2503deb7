"""A log with API writes that is deleted: its cell shows the last state, no worker begins the log again, and it is
followed again when its backup is there."""

import contextlib
import shutil
import sqlite3

import pytest

from nova_sched.cli.main import main
from rpc_api import errors, events
from rpc_api.log import open_log
from tests.placement_api.client import client_of
from tests.placement_api.regions import prepare, uuid_of, workers
from tests.servers import wait_until

P1, P2, FIRST, SECOND = map(uuid_of, ("p1", "p2", "first", "second"))
STALE = "Nova-Sched-Stale"
WAIT = 30
#: What an operator finds in the log of a service.
SENTENCE = "it stays closed, and no service begins it again; restore its backup"


class File:
    """A log in a file; ``backup`` has what it had when that was called."""

    def __init__(self, directory, name="cell2"):
        self.path, self._copy = directory / f"{name}.db", directory / "copy.db"
        self.url = f"sqlite:///{self.path}"

    def backup(self):
        with (
            contextlib.closing(sqlite3.connect(self.path)) as source,
            contextlib.closing(sqlite3.connect(self._copy)) as copy,
        ):
            source.backup(copy)

    def delete(self):
        for file in self.path.parent.glob(f"{self.path.name}*"):
            file.unlink()

    def restore(self):
        self.delete()
        shutil.copy(self._copy, self.path)


class Stream:
    """A log in a stream."""

    def __init__(self, rabbit, directory, name="gone"):
        self.url, self._rabbit, self._name = rabbit.url(f"nova_sched.{name}"), rabbit, f"nova_sched.{name}"
        self._file = directory / "cell2.nslog"

    def backup(self):
        assert main(["backup", "cell2", self.url, "-o", str(self._file)]) == 0

    def delete(self):
        self._rabbit.rabbitmqctl("delete_queue", self._name)

    def restore(self):
        with contextlib.suppress(Exception):
            self.delete()
        assert main(["restore", str(self._file), "--to", self.url, "--name", "operator"]) == 0


def nothing(log):
    """Nobody puts anything in its place."""


def empty_file(log):
    log.path.write_bytes(b"")


def another_file(log):
    log.path.write_bytes(b"something else" * 100)


def an_empty_log(log):
    open_log(log.url).close()


def another_log(log):
    """As a service begins it that does not know it, or an operator who creates all logs that are missing."""
    prepare(log.url, "cell2")


CASES = [
    *[(File, after) for after in (nothing, empty_file, another_file, an_empty_log, another_log)],
    *[pytest.param(Stream, after, marks=pytest.mark.rabbit) for after in (nothing, an_empty_log, another_log)],
]


@pytest.mark.parametrize("kind, after", CASES)
def test_it_is_not_begun_again_and_is_followed_when_it_is_back(kind, after, tmp_path, request, caplog):
    where = (
        File(tmp_path)
        if kind is File
        else Stream(request.getfixturevalue("rabbit_server"), tmp_path, f"gone-{after.__name__}")
    )
    other = File(tmp_path, "cell1")
    prepare(where.url, "cell2")
    prepare(other.url, "cell1")
    with contextlib.ExitStack() as ending:
        for cell, url, uuid in (("cell1", other.url, P1), ("cell2", where.url, P2)):
            with workers({cell: url}, count=1) as (one,):
                client_of(one).provider(cell, uuid, VCPU=4)
        (region,) = ending.enter_context(workers({"cell1": other.url, "cell2": where.url}, count=1))
        client, log = client_of(region), region.logs["cell2"]
        assert client.put(FIRST, None, {P2: {"VCPU": 1}}).status == 204
        where.backup()
        where.delete()
        after(where)
        wait_until(lambda: SENTENCE in (log.why_down or ""), WAIT, "the worker says that the log is gone")
        # Its last state gives the answers. (A stream that is somebody else's may take a fence, a missing one does not.)
        shown = client.ask("GET", f"/resource_providers/{P2}/allocations")
        assert (shown.status, list(shown.body["allocations"]), shown.headers[STALE]) == (200, [FIRST], "cell2")
        held = client.ask("GET", f"/allocations/{FIRST}")
        assert held.headers[STALE] == "cell2" and (held.status == 503 or list(held.body["allocations"]) == [P2])
        refused = client.put(SECOND, None, {P2: {"VCPU": 1}})
        assert refused.status == 503 and where.url not in refused.detail
        # The other cell goes on, and nothing was written into what is in the place of the log.
        assert client.put(SECOND, None, {P1: {"VCPU": 1}}).status == 204
        if after is nothing:
            with pytest.raises(errors.LogGone):
                open_log(where.url, create=False)
        if after is an_empty_log:
            with open_log(where.url, create=False) as found:
                assert not found.bounds().count
        where.restore()
        wait_until(lambda: log.why_stale is None and log.refusal is None, WAIT, "the log is followed again")
        assert client.held(FIRST) == {P2: {"VCPU": 1}}
        assert client.put(SECOND, client.generation(SECOND), {P2: {"VCPU": 2}}).status == 204
    assert SENTENCE in caplog.text and "Traceback" not in caplog.text


def test_what_waits_is_not_the_first_record_of_another_log(tmp_path):
    """It would be in the way of an operator who restores the log."""
    where = File(tmp_path)
    prepare(where.url, "cell2")
    with workers({"cell2": where.url}, count=1) as (region,):
        log = region.logs["cell2"]
        client_of(region).provider("p2", P2, VCPU=4)
        where.delete()
        wait_until(lambda: SENTENCE in (log.why_down or ""), WAIT, "the worker says that the log is gone")
        log.cell_log.producer.publish(events.HostSeen("h1"))
        an_empty_log(where)
        wait_until(lambda: "an empty log is in its place" in log.why_down, WAIT, "it looks again")
        with open_log(where.url, create=False) as found:
            assert not found.bounds().count
        assert log.cell_log.appender.waiting == 1
