"""Writes over several logs through the endpoint of the region: in all of them or in none, also if a worker ends at
any step."""

import contextlib
import itertools
import threading

import pytest

from placement_api import several_logs
from rpc_api.clock import SYSTEM
from tests.placement_api.client import client_of, holding
from tests.placement_api.regions import prepare, uuid_of, workers

P1, P2, CONSUMER, OTHER = map(uuid_of, ("p1", "p2", "consumer", "other"))
#: The consumer in both cells.
BOTH = {P1: {"VCPU": 2}, P2: {"VCPU": 1}}


class Ended(BaseException):
    """The worker has ended."""


@contextlib.contextmanager
def region(tmp_path, count=1):
    """Two cells with a provider of 4 VCPU each, and workers of the region over both."""
    urls = {cell: f"sqlite:///{tmp_path}/{cell}.db" for cell in ("cell1", "cell2")}
    for cell, url in urls.items():
        prepare(url, cell)
    with contextlib.ExitStack() as ending:
        for (cell, url), provider in zip(urls.items(), (P1, P2), strict=True):
            with workers({cell: url}, count=1) as (one,):
                client_of(one).provider(cell, provider, VCPU=4)
        yield ending.enter_context(workers(urls, tmp_path / "shared", count))


def used(region, provider) -> int:
    with region.lock:
        return region.table.used.item(region.table.classes.get("VCPU"), region.row_of(provider))


def nothing_is_under_way(region) -> bool:
    region.fence()
    return not any(
        getattr(projection, name) for projection in region.projections() for name in ("prepared", "locked", "committed")
    )


def test_one_write_in_two_cells(tmp_path):
    with region(tmp_path) as (one,):
        client = client_of(one)
        assert client.put(CONSUMER, None, BOTH).status == 204
        assert client.held(CONSUMER) == BOTH
        assert (used(one, P1), used(one, P2)) == (2, 1)
        assert nothing_is_under_way(one)


def test_a_consumer_has_one_generation_for_the_client(tmp_path):
    with region(tmp_path) as (one,):
        client = client_of(one)
        client.put(CONSUMER, None, BOTH)
        first = client.generation(CONSUMER)
        assert client.put(CONSUMER, None, BOTH).status == 409
        assert client.put(CONSUMER, first, {P1: {"VCPU": 3}, P2: {"VCPU": 3}}).status == 204
        second = client.generation(CONSUMER)
        assert second != first
        refused = client.put(CONSUMER, first, BOTH)
        assert (refused.status, refused.body["errors"][0]["code"]) == (409, "placement.concurrent_update")
        assert "consumer generation conflict" in refused.detail
        for provider in (P1, P2):
            shown = client.ask("GET", f"/resource_providers/{provider}/allocations").body["allocations"]
            assert shown[CONSUMER]["consumer_generation"] == second


def test_a_part_that_a_cell_wrote_itself_changes_the_generation(tmp_path):
    with region(tmp_path) as (one,):
        client = client_of(one)
        client.put(CONSUMER, None, BOTH)
        seen = {client.generation(CONSUMER)}
        url = f"sqlite:///{tmp_path}/cell2.db"
        for body, generation in (({P2: {"VCPU": 2}}, 1), ({}, 2), ({P2: {"VCPU": 1}}, None)):
            with workers({"cell2": url}, count=1) as (cell,):
                assert client_of(cell).put(CONSUMER, generation, body).status == 204
            one.fence()
            now = client.generation(CONSUMER)
            assert now not in seen
            seen.add(now)


def test_it_leaves_a_cell_and_comes_to_another_one(tmp_path):
    with region(tmp_path) as (one,):
        client = client_of(one)
        client.put(CONSUMER, None, {P1: {"VCPU": 4}})
        assert client.put(CONSUMER, client.generation(CONSUMER), {P2: {"VCPU": 4}}).status == 204
        assert client.held(CONSUMER) == {P2: {"VCPU": 4}}
        assert (used(one, P1), used(one, P2)) == (0, 4)
        assert client.ask("DELETE", f"/allocations/{CONSUMER}").status == 204
        assert client.ask("DELETE", f"/allocations/{CONSUMER}").status == 404


def test_what_does_not_fit_in_one_cell_is_written_in_none(tmp_path):
    with region(tmp_path) as (one,):
        client = client_of(one)
        client.put(OTHER, None, {P2: {"VCPU": 4}})
        refused = client.put(CONSUMER, None, BOTH)
        assert refused.status == 409 and "exceed the capacity" in refused.detail
        assert (client.held(CONSUMER), used(one, P1), used(one, P2)) == ({}, 0, 4)
        assert nothing_is_under_way(one)


def test_delete_and_move_of_a_consumer_in_two_cells(tmp_path):
    with region(tmp_path) as (one,):
        client = client_of(one)
        client.put(CONSUMER, None, BOTH)
        wanted = {CONSUMER: holding(client.generation(CONSUMER), {}), OTHER: holding(None, BOTH)}
        assert client.ask("POST", "/allocations", wanted).status == 204
        assert (client.held(CONSUMER), client.held(OTHER)) == ({}, BOTH)
        assert client.ask("DELETE", f"/allocations/{OTHER}").status == 204
        assert (client.held(OTHER), used(one, P1), used(one, P2)) == ({}, 0, 0)


def test_a_reshape_changes_one_cell(tmp_path):
    with region(tmp_path) as (one,):
        client = client_of(one)
        client.put(CONSUMER, None, BOTH)

        def reshape(allocations):
            generation = client.ask("GET", f"/resource_providers/{P1}").body["generation"]
            inventories = {P1: {"resource_provider_generation": generation, "inventories": {"VCPU": {"total": 8}}}}
            put = {CONSUMER: holding(client.generation(CONSUMER), allocations)}
            return client.ask("POST", "/reshaper", {"inventories": inventories, "allocations": put})

        assert reshape({**BOTH, P1: {"VCPU": 7}}).status == 204
        assert client.held(CONSUMER) == {**BOTH, P1: {"VCPU": 7}}
        refused = reshape({P1: {"VCPU": 7}, P2: {"VCPU": 4}})
        assert (refused.status, "cell1, cell2" in refused.detail) == (409, True)


@contextlib.contextmanager
def ends_at(region, step, before):
    """The worker ends at its write number ``step``, before the event is in the log or right after it."""
    counter = itertools.count(1)

    def dying(write):
        def counted(event):
            number = next(counter)
            if number == step and before:
                raise Ended
            written = write(event)
            if number == step:
                raise Ended
            return written

        return counted

    writes = {log: log.write for log in region.logs.values()}
    for log, write in writes.items():
        log.write = dying(write)
    try:
        yield
    finally:
        for log, write in writes.items():
            log.write = write


#: Events of a write in two logs: two parts, two commits, one end.
STEPS = 5


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_worker_ends_at_any_step(tmp_path, step, before):
    with region(tmp_path, count=2) as (one, other):
        client = client_of(other)
        with ends_at(one, step, before), pytest.raises(Ended):
            client_of(one).put(CONSUMER, None, BOTH)
        other.fence()
        assert used(other, P1) in (0, 2) and used(other, P2) in (0, 1)
        # Nobody else gets what may be held, and nothing is over-committed meanwhile.
        if used(other, P1):
            assert client.put(OTHER, None, {P1: {"VCPU": 3}}).status == 409
        assert several_logs.finish(other, SYSTEM.now_ns()) == 0, "a write is left to its worker for a while"
        later = SYSTEM.now_ns() + int(2e9 * several_logs.LEFT_AFTER)
        while several_logs.finish(other, later):
            pass
        assert nothing_is_under_way(other)
        is_committed = step > 3 or (step == 3 and not before)
        assert client.held(CONSUMER) == (BOTH if is_committed else {})
        assert (used(other, P1), used(other, P2)) == ((2, 1) if is_committed else (0, 0))
        # The client repeats, and meets its own write or succeeds.
        assert client.put(CONSUMER, None, BOTH).status == (409 if is_committed else 204)


def test_a_worker_that_was_taken_for_ended_goes_on(tmp_path):
    """Between the parts and the decision another worker gives the write up: the decision is refused."""
    with region(tmp_path, count=2) as (one, other):
        home = one.logs["cell1"]
        write = home.write

        def slow(event):
            if type(event).__name__ == "WriteCommitted":
                several_logs.finish(other, SYSTEM.now_ns() + int(2e9 * several_logs.LEFT_AFTER))
            return write(event)

        home.write = slow
        answer = client_of(one).put(CONSUMER, None, BOTH)
        assert (answer.status, "given up" in answer.detail) == (409, True)
        assert client_of(other).held(CONSUMER) == {}
        assert nothing_is_under_way(one) and nothing_is_under_way(other)


# --- what other clients do meanwhile, and what they see --------------------------------------------------------------


def decided_but_not_done(one):
    """A worker ends after home has committed a write: the other cell has not."""
    with ends_at(one, 4, before=True), pytest.raises(Ended):
        client_of(one).put(CONSUMER, None, BOTH)


def finished(region):
    later = SYSTEM.now_ns() + int(2e9 * several_logs.LEFT_AFTER)
    while several_logs.finish(region, later):
        pass


def test_nobody_sees_half_of_a_write(tmp_path):
    with region(tmp_path, count=2) as (one, other):
        decided_but_not_done(one)
        client = client_of(other)
        other.fence()
        assert client.held(CONSUMER) == BOTH
        for provider, amounts in BOTH.items():
            shown = client.do("GET", f"/resource_providers/{provider}/allocations")["allocations"]
            assert {uuid: one["resources"] for uuid, one in shown.items()} == {CONSUMER: amounts}
            assert shown[CONSUMER]["consumer_generation"] == client.generation(CONSUMER)
        used = client.do("GET", "/usages?project_id=project&consumer_type=all")["usages"]["all"]
        assert used["VCPU"] == 3


def test_nobody_sees_what_is_held_for_a_write(tmp_path):
    with region(tmp_path, count=2) as (one, other):
        with ends_at(one, 2, before=True), pytest.raises(Ended):
            client_of(one).put(CONSUMER, None, BOTH)
        client = client_of(other)
        other.fence()
        assert client.do("GET", f"/resource_providers/{P1}/allocations")["allocations"] == {}
        assert client.do("GET", "/usages?project_id=project")["usages"] == {}
        assert client.do("GET", f"/resource_providers/{P1}/usages")["usages"] == {"VCPU": 2}
        (write_uuid,) = {uuid for log in other.logs.values() for uuid in log.projection.prepared}
        assert client.held(write_uuid) == {}


@pytest.mark.parametrize(
    "write",
    [
        lambda client, generation: client.ask("DELETE", f"/allocations/{CONSUMER}"),
        lambda client, generation: client.put(CONSUMER, generation, {P1: {"VCPU": 1}}),
        lambda client, generation: client.put(CONSUMER, generation, {}),
    ],
)
def test_an_acknowledged_write_is_not_undone(tmp_path, write):
    """While another cell has still to commit, the consumer is locked; afterwards the write counts for good."""
    with region(tmp_path, count=2) as (one, other):
        decided_but_not_done(one)
        client = client_of(other)
        other.fence()
        assert write(client, client.generation(CONSUMER)).status == 409
        finished(other)
        assert client.held(CONSUMER) == BOTH
        assert write(client, client.generation(CONSUMER)).status == 204
        after = client.held(CONSUMER)
        finished(other)
        assert client.held(CONSUMER) == after


def test_a_new_consumer_is_new_in_all_cells(tmp_path):
    """Two workers write it into two cells at the same time: at most one of them gets it."""
    with region(tmp_path, count=2) as (one, other):
        clients = client_of(one), client_of(other)
        for number in range(20):
            consumer, answers = uuid_of(f"racer {number}"), []

            def run(client, provider, consumer=consumer, answers=answers):
                answers.append(client.put(consumer, None, {provider: {"VCPU": 1}}).status)

            threads = [threading.Thread(target=run, args=pair) for pair in zip(clients, (P1, P2), strict=True)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(answers) == [204, 409]
            one.fence()
            assert len(clients[0].held(consumer)) == answers.count(204)
            clients[0].ask("DELETE", f"/allocations/{consumer}")


def test_the_generation_of_one_cell_is_not_that_of_another(tmp_path):
    with region(tmp_path, count=2) as (one, other):
        client = client_of(one)
        client.put(CONSUMER, None, {P1: {"VCPU": 1}})
        old = client.generation(CONSUMER)
        assert client_of(other).put(CONSUMER, old, {P2: {"VCPU": 1}}).status == 204
        assert client.put(CONSUMER, old, {P1: {"VCPU": 2}}).status == 409
