"""A log that a fence leaves out: nothing is denied or left behind that it may have, unless its cell is down.

The logs are in memory. A worker gets no records of one, or cannot open it, while a test says so.
"""

import contextlib
import logging
import threading
import uuid

import pytest

from nova_sched.process import read_before
from placement_api import waits
from placement_api.region import Region
from rpc_api import errors
from rpc_api.log import open_log
from tests.placement_api.client import client_of, holding, inventory
from tests.placement_api.regions import prepare, uuid_of, workers
from tests.servers import wait_until

P1, P2, CONSUMER, OTHER = map(uuid_of, ("p1", "p2", "consumer", "other"))
STALE = "Nova-Sched-Stale"
UNGUARDED = {"OpenStack-API-Version": "placement 1.27"}
WAIT, GIVE_UP = 20, 40


class Door:
    """Says which logs cannot be opened, and why."""

    def __init__(self):
        self.shut = {}

    def check(self, url):
        if url in self.shut:
            raise self.shut[url]


@pytest.fixture
def door(monkeypatch):
    made = Door()

    def opened(url, *arguments, **named):
        made.check(url)
        return open_log(url, *arguments, **named)

    monkeypatch.setattr(read_before, "open_log", opened)
    return made


@pytest.fixture
def urls():
    """Two logs, each with a provider, and one consumer in both."""
    found = {cell: f"memory://{cell}-{uuid.uuid4()}" for cell in ("cell1", "cell2")}
    for cell, url in found.items():
        prepare(url, cell)
    with workers(found, count=1) as (one,):
        for cell, provider in (("cell2", P2), ("cell1", P1)):
            one.new_roots = one.logs[cell]
            client_of(one).provider(cell, provider, VCPU=8)
        assert client_of(one).put(CONSUMER, None, {P1: {"VCPU": 1}, P2: {"VCPU": 1}}).status == 204
        # (A log in memory is there as long as somebody has it.)
        kept = [open_log(url) for url in found.values()]
    yield found
    for log in kept:
        log.close()


@contextlib.contextmanager
def started(urls):
    """A worker that is ready, as far as its logs can be read."""
    region = Region(list(urls.items()), "cell1", "placement/test-9")
    try:
        region.start().wait_ready(WAIT)
        yield region
    finally:
        region.close(0.2)


def unguarded(client, consumer, by_provider):
    body = holding(None, by_provider)
    del body["consumer_generation"], body["consumer_type"]
    return client.ask("PUT", f"/allocations/{consumer}", body, **UNGUARDED)


#: What replaces all that a consumer holds.
REPLACES = {
    "DELETE": lambda client: client.ask("DELETE", f"/allocations/{CONSUMER}"),
    "PUT below 1.28": lambda client: unguarded(client, CONSUMER, {P1: {"VCPU": 2}}),
    "PUT of nothing": lambda client: client.put(CONSUMER, client.generation(CONSUMER), {}),
    "POST of nothing": lambda client: client.ask(
        "POST", "/allocations", {CONSUMER: holding(client.generation(CONSUMER), {}), OTHER: holding(None, {})}
    ),
}


# --- a log that was never read ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", REPLACES)
def test_nothing_remains_in_a_log_that_was_never_read(urls, door, what):
    door.shut[urls["cell2"]] = errors.LogUnavailable("its broker is away")
    with started(urls) as region:
        client = client_of(region)
        refused = REPLACES[what](client)
        assert (refused.status, "cell2" in refused.detail) == (503, True)
        door.shut.clear()
        wait_until(lambda: region.logs["cell2"].was_read, WAIT, "the log is read")
        assert REPLACES[what](client).status == 204
        assert client.held(CONSUMER) == ({P1: {"VCPU": 2}} if "1.28" in what else {})


def reshape(client, generation, provider, allocations):
    body = {provider: {"resource_provider_generation": generation, "inventories": {"VCPU": inventory(9)}}}
    return client.ask("POST", "/reshaper", {"inventories": body, "allocations": allocations})


ASKS_FOR_P2 = {
    "GET": lambda client: client.ask("GET", f"/resource_providers/{P2}"),
    "PUT of allocations": lambda client: client.put(OTHER, None, {P2: {"VCPU": 1}}),
    "POST of allocations": lambda client: client.ask("POST", "/allocations", {OTHER: holding(None, {P2: {"VCPU": 1}})}),
    "reshape": lambda client: reshape(client, 1, P2, {}),
    "new parent": lambda client: client.ask(
        "PUT", f"/resource_providers/{P1}", {"name": "cell1", "parent_provider_uuid": P2}
    ),
    "list": lambda client: client.ask("GET", f"/resource_providers?in_tree={P2}"),
    "candidates": lambda client: client.ask("GET", f"/allocation_candidates?resources=VCPU:1&in_tree={P2}"),
}


@pytest.mark.parametrize("what", ASKS_FOR_P2)
def test_a_provider_of_a_log_that_was_never_read_is_not_denied(urls, door, what):
    door.shut[urls["cell2"]] = errors.LogUnavailable("its broker is away")
    with started(urls) as region:
        client = client_of(region)
        answer = ASKS_FOR_P2[what](client)
        assert (answer.status, "cell2" in answer.detail) == (503, True)
        # A request that is wrong for another reason gets the same answer as before.
        assert client.ask("GET", "/allocation_candidates?resources=VCPU:x").status == 400


REFUSED = errors.LogRefused("the broker refuses the user or its password; fix the URL of the log")


def test_a_lasting_fault_of_one_cell_does_not_end_the_others(urls, door, caplog):
    door.shut[urls["cell2"]] = REFUSED
    with caplog.at_level(logging.ERROR), started(urls) as region:
        client = client_of(region)
        assert (region.fault, region.why_cannot_answer()) == (None, [])
        assert client.ask("GET", f"/resource_providers/{P1}").status == 200
        assert client.ask("GET", f"/resource_providers/{P2}").status == 503
        assert client.ask("GET", "/resource_providers").headers[STALE] == "cell2"
        lines = [record.getMessage() for record in caplog.records if "cell2" in record.getMessage()]
        assert len(lines) == 1 and "fix the URL" in lines[0]
        door.shut.clear()
        wait_until(lambda: not region.stale_cells(), WAIT, "the log is tried again, and read")
        assert client.ask("GET", f"/resource_providers/{P2}").status == 200


def test_a_cell_that_is_away_at_the_start_and_then_refuses(urls, door):
    door.shut[urls["cell2"]] = errors.LogUnavailable("its broker is away")
    with started(urls) as region:
        door.shut[urls["cell2"]] = REFUSED
        wait_until(lambda: "password" in (region.logs["cell2"].why_down or ""), WAIT, "it refuses")
        assert region.fault is None
        assert client_of(region).ask("GET", f"/resource_providers/{P1}").status == 200


@pytest.mark.parametrize("cells", [["cell1"], ["cell1", "cell2"]])
def test_a_lasting_fault_of_all_logs_ends_the_worker(urls, door, cells):
    door.shut = dict.fromkeys(urls.values(), REFUSED)
    with pytest.raises(errors.LogRefused, match="password"), started({cell: urls[cell] for cell in cells}):
        pass


# --- a log that this worker reads too slowly -------------------------------------------------------------------------


@contextlib.contextmanager
def late(region, cell):
    """Yield what lets the records of a log come, which do not until then."""
    log, gate = region.logs[cell], threading.Event()
    take = log._on_records

    def records(batch):
        gate.wait(GIVE_UP)
        take(batch)

    log._on_records = records
    try:
        yield gate.set
    finally:
        gate.set()
        log._on_records = take


@pytest.fixture
def two(urls, monkeypatch):
    """Workers of two machines. They wait only a little for each log."""
    monkeypatch.setattr(waits, "STUCK_SECONDS", 0.3)
    with workers(urls, has_neighbours=True) as found:
        for one in found:
            one.fence()
        yield found


@pytest.mark.parametrize("what", REPLACES)
def test_nothing_remains_in_a_log_that_is_read_too_slowly(two, what):
    one, other = map(client_of, two)
    assert one.put(CONSUMER, one.generation(CONSUMER), {P1: {"VCPU": 1}}).status == 204
    two[1].fence()
    with late(two[1], "cell2") as come:
        assert one.put(CONSUMER, one.generation(CONSUMER), {P1: {"VCPU": 1}, P2: {"VCPU": 1}}).status == 204
        for _ in range(2):
            refused = REPLACES[what](other)
            assert (refused.status, two[1].logs["cell2"].why_down) == (503, None)
        come()
        wait_until(lambda: not two[1].stale_cells(), WAIT, "the log is folded")
        assert REPLACES[what](other).status == 204
        assert one.held(CONSUMER) == ({P1: {"VCPU": 2}} if "1.28" in what else {})


@pytest.mark.parametrize(
    "write",
    [
        lambda client: client.put(OTHER, None, {P1: {"VCPU": 1}}),
        lambda client: unguarded(client, OTHER, {P1: {"VCPU": 1}}),
        lambda client: client.ask("POST", "/resource_providers", {"name": "new", "uuid": uuid_of("new")}),
        lambda client: reshape(client, 2, P1, {OTHER: holding(None, {P1: {"VCPU": 1}})}),
    ],
    ids=["PUT", "PUT below 1.28", "provider", "reshape"],
)
def test_what_is_new_is_not_in_a_log_that_is_read_too_slowly(two, write):
    one, other = map(client_of, two)
    with late(two[1], "cell2"):
        assert one.put(OTHER, None, {P2: {"VCPU": 1}}).status == 204
        assert other.ask("GET", f"/allocations/{OTHER}").headers[STALE] == "cell2"
        for _ in range(2):
            assert write(other).status == 503
    wait_until(lambda: not two[1].stale_cells(), WAIT, "the log is folded")
    assert one.held(OTHER) == {P2: {"VCPU": 1}}


def test_what_a_cell_that_is_down_is_known_to_hold_is_not_removed(two):
    """Its broker is away. Of consumers that are not known there, the others are removed as before."""
    client, log = client_of(two[0]), two[0].logs["cell2"]
    assert client.put(OTHER, None, {P1: {"VCPU": 1}}).status == 204
    two[0].fence()
    log._on_log("fault", errors.LogUnavailable("its broker is away"))
    assert client.ask("DELETE", f"/allocations/{CONSUMER}").status == 503
    assert client.ask("DELETE", f"/allocations/{OTHER}").status == 204
    log._on_log("fault", None)
    assert client.held(CONSUMER) == {P1: {"VCPU": 1}, P2: {"VCPU": 1}}
    assert client.held(OTHER) == {}
