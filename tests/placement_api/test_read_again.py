"""A log that is read again: its cell shows the last state until the new one is complete, and the others go on.

Each test stops the reading at a gate, so that what is asked meanwhile is asked in the middle of it.
"""

import contextlib
import shutil
import threading
from pathlib import Path

import pytest

from placement_api import ledger_log
from tests.placement_api.client import client_of
from tests.placement_api.regions import prepare, uuid_of, workers
from tests.servers import wait_until

P1, P2, FIRST, SECOND = map(uuid_of, ("p1", "p2", "first", "second"))
STALE = "Nova-Sched-Stale"
#: Seconds for what must happen, and seconds after which a closed gate gives up.
WAIT, GIVE_UP = 30, 60


class Gate:
    """Stops the thread that calls a function of a module, after the call."""

    def __init__(self, monkeypatch, name):
        self._inner = getattr(ledger_log, name)
        self._entered, self._open = threading.Event(), threading.Event()
        self.gave_up = False
        monkeypatch.setattr(ledger_log, name, self)

    def __call__(self, *args, **named):
        found = self._inner(*args, **named)
        self._entered.set()
        self.gave_up = not self._open.wait(GIVE_UP)
        return found

    def wait_entered(self):
        assert self._entered.wait(WAIT)

    def open(self):
        self._open.set()


@pytest.fixture
def urls(tmp_path):
    found = {cell: f"sqlite:///{tmp_path}/{cell}.db" for cell in ("cell1", "cell2")}
    for cell, url in found.items():
        prepare(url, cell)
    return found


@pytest.fixture
def two(urls):
    """Two workers of the region of two cells, with a provider in each."""
    with contextlib.ExitStack() as ending:
        for cell, uuid in (("cell1", P1), ("cell2", P2)):
            with workers({cell: urls[cell]}, count=1) as (one,):
                client_of(one).provider(cell, uuid, VCPU=4)
        yield ending.enter_context(workers(urls))


@pytest.mark.parametrize("step", ["projection_of", "Moving"])
def test_others_go_on(two, step, monkeypatch):
    region, client, other = two[0], *map(client_of, two)
    assert client.put(FIRST, None, {P2: {"VCPU": 1}}).status == 204
    gate = Gate(monkeypatch, step)
    region.logs["cell2"].cell_log.begin_anew()
    gate.wait_entered()
    assert other.put(SECOND, None, {P2: {"VCPU": 1}}).status == 204
    # The other cell is read and written, and gets candidates.
    assert client.put(SECOND, None, {P1: {"VCPU": 1}}).status == 204
    assert STALE not in client.ask("GET", f"/resource_providers/{P1}/usages").headers
    assert client.do("GET", "/allocation_candidates?resources=VCPU:1")["provider_summaries"].keys() == {P1}
    assert client.ask("GET", f"/allocations/{uuid_of('unknown')}").status == 200
    # This one shows its last state, and takes no writes.
    held = client.ask("GET", f"/allocations/{FIRST}")
    assert (held.body["allocations"].keys(), held.headers[STALE]) == ({P2}, "cell2")
    usages = client.ask("GET", f"/resource_providers/{P2}/usages")
    assert (usages.body["usages"], usages.headers[STALE]) == ({"VCPU": 1}, "cell2")
    refused = client.put(uuid_of("third"), None, {P2: {"VCPU": 1}})
    assert (refused.status, "is being read" in refused.detail or "are being read" in refused.detail) == (503, True)
    assert not gate.gave_up, "a request waited until the gate gave up"
    gate.open()
    wait_until(lambda: not region.stale_cells(), WAIT, "the log is read again")
    assert client.do("GET", f"/resource_providers/{P2}/usages")["usages"] == {"VCPU": 2}
    assert client.put(uuid_of("third"), None, {P2: {"VCPU": 1}}).status == 204


def test_a_log_that_was_restored_from_an_old_backup(two, urls, monkeypatch):
    region, client = two[0], client_of(two[0])
    gate = Gate(monkeypatch, "Moving")
    for file in Path(urls["cell2"].removeprefix("sqlite:///")).parent.glob("cell2.db*"):
        file.unlink()
    prepare(urls["cell2"], "cell2", replaces=region.logs["cell2"].projection.epoch)
    region.logs["cell2"].cell_log.begin_anew()
    gate.wait_entered()
    old = client.ask("GET", f"/resource_providers/{P2}")
    assert (old.status, old.headers[STALE]) == (200, "cell2")
    gate.open()
    wait_until(lambda: not region.stale_cells(), WAIT, "the new log is read")
    assert client.ask("GET", f"/resource_providers/{P2}").status == 404
    assert client.do("GET", f"/resource_providers/{P1}")["uuid"] == P1
    assert client.ask("POST", "/resource_providers", {"name": "p2", "uuid": P2}).status == 200


def test_the_only_log_keeps_requests_waiting(urls, monkeypatch):
    """There is nobody else to go on, so an answer is worth waiting for."""
    with workers({"cell1": urls["cell1"]}, count=1) as (region,):
        client, answers = client_of(region), []
        client.provider("p1", P1, VCPU=4)
        gate = Gate(monkeypatch, "projection_of")
        region.logs["cell1"].cell_log.begin_anew()
        gate.wait_entered()
        asking = threading.Thread(target=lambda: answers.append(client.ask("GET", f"/resource_providers/{P1}")))
        asking.start()
        assert not answers
        gate.open()
        asking.join(WAIT)
        (answer,) = answers
        assert (answer.status, STALE in answer.headers) == (200, False)


def test_a_log_that_lost_its_end(urls, tmp_path):
    """What was acknowledged is gone, as after the restore of a backup: nobody waits for it."""
    file, backup = Path(urls["cell1"].removeprefix("sqlite:///")), tmp_path / "backup.db"
    one = {"cell1": urls["cell1"]}
    with workers(one, tmp_path / "shared", count=1) as (region,):
        client_of(region).provider("p1", P1, VCPU=4)
    shutil.copy(file, backup)
    with workers(one, tmp_path / "shared", count=1) as (region,):
        client_of(region).provider("p2", P2, VCPU=4)
    for left in file.parent.glob("cell1.db*"):
        left.unlink()
    shutil.copy(backup, file)
    with workers(one, tmp_path / "shared", count=2) as regions:
        for client in map(client_of, regions):
            assert client.ask("GET", f"/resource_providers/{P1}/usages").status == 200
            assert client.ask("GET", f"/resource_providers/{P2}").status == 404
        assert client_of(regions[0]).put(FIRST, None, {P1: {"VCPU": 1}}).status == 204
        assert client_of(regions[1]).held(FIRST) == {P1: {"VCPU": 1}}
