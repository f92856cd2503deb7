"""Writes whose condition concerns all logs of an endpoint, and answers from all of them: what is written at the same
time in another log, and what a worker leaves that ends in the middle."""

import contextlib
import itertools
import threading

import pytest

from nova_sched.projection.write_outcomes import Written
from nova_sched.projection.write_refusals import WriteRefused, refused
from placement_api import several_logs
from placement_api.http_errors import Conflict, OutcomeUnknown, Unavailable
from rpc_api import events
from rpc_api.clock import SYSTEM
from tests.placement_api.client import client_of, holding, inventory
from tests.placement_api.regions import prepare, uuid_of, workers

CELLS = ("cell1", "cell2", "cell3")
P1, P2, P3 = PROVIDERS = tuple(uuid_of(f"p{number}") for number in (1, 2, 3))
CONSUMER, FRIEND = uuid_of("consumer"), uuid_of("friend")
#: Below this one a client has no generation of a consumer, and of a class it may change the name.
UNGUARDED, RENAMES = {"OpenStack-API-Version": "placement 1.27"}, {"OpenStack-API-Version": "placement 1.6"}


class Ended(BaseException):
    """The worker has ended."""


@contextlib.contextmanager
def region(tmp_path, count=2, **options):
    """Three cells with a provider of 8 VCPU each, and workers of the region over all of them."""
    urls = {cell: f"sqlite:///{tmp_path}/{cell}.db" for cell in CELLS}
    for cell, url in urls.items():
        prepare(url, cell)
    options = {"state_dir": tmp_path / "shared", **options}
    with workers(urls, count=count, **options) as found:
        one = found[0]
        for cell, provider in reversed(list(zip(CELLS, PROVIDERS, strict=True))):
            one.new_roots = one.logs[cell]
            client_of(one).provider(cell, provider, VCPU=8)
        for other in found:
            other.fence()
        yield found


@contextlib.contextmanager
def first_write(worker, before=lambda: None, after=lambda: None):
    """Something happens right before or after the first write of a worker, when it has looked at its state already."""
    numbers = itertools.count()

    def counted(write):
        def counting(*written):
            is_first = next(numbers) == 0
            if is_first:
                before()
            outcome = write(*written)
            if is_first:
                after()
            return outcome

        return counting

    with replaced(worker, counted):
        yield


@contextlib.contextmanager
def ends_at(worker, step, before):
    """The worker ends at its write number ``step``, before it is in the log or right after it. Then it writes nothing
    any more."""
    numbers = itertools.count(1)

    def dying(write):
        def counted(*written):
            number = next(numbers)
            if number > step or (number == step and before):
                raise Ended
            outcome = write(*written)
            if number == step:
                raise Ended
            return outcome

        return counted

    with replaced(worker, dying):
        yield


@contextlib.contextmanager
def replaced(worker, wrapped):
    writes = {log: log.write for log in worker.logs.values()}
    for log, write in writes.items():
        log.write = wrapped(write)
    try:
        yield
    finally:
        for log, write in writes.items():
            log.write = write


def finished(worker):
    """Another worker finishes what was left."""
    later = SYSTEM.now_ns() + int(2e9 * several_logs.LEFT_AFTER)
    worker.fence()
    while several_logs.finish(worker, later):
        pass
    assert not any(getattr(state, name) for state in worker.projections() for name in ("prepared", "locked"))


def at_once(*calls):
    """The statuses of calls that are made at the same time."""
    found = [None] * len(calls)

    def run(number):
        found[number] = calls[number]().status

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


# --- consumers -------------------------------------------------------------------------------------------------------


def put(client, *providers):
    return client.put(CONSUMER, None, {provider: {"VCPU": 1} for provider in providers})


def put_unguarded(client, *providers):
    body = holding(None, {provider: {"VCPU": 1} for provider in providers})
    del body["consumer_generation"], body["consumer_type"]
    return client.ask("PUT", f"/allocations/{CONSUMER}", body, **UNGUARDED)


def post(client, *providers):
    one = {provider: {"VCPU": 1} for provider in providers}
    return client.ask("POST", "/allocations", {CONSUMER: holding(None, one), FRIEND: holding(None, one)})


def reshape(client, provider):
    generation = client.do("GET", f"/resource_providers/{provider}")["generation"]
    inventories = {provider: {"resource_provider_generation": generation, "inventories": {"VCPU": inventory(9)}}}
    put = {CONSUMER: holding(None, {provider: {"VCPU": 1}})}
    return client.ask("POST", "/reshaper", {"inventories": inventories, "allocations": put})


WRITES = {
    "PUT": (put, [P1]),
    "PUT below 1.28": (put_unguarded, [P1]),
    "POST of two": (post, [P1]),
    "PUT in two cells": (put, [P1, P3]),
    "reshape": (reshape, [P1]),
}


@pytest.mark.parametrize("other_write", [put, put_unguarded])
@pytest.mark.parametrize("what", WRITES)
def test_a_new_consumer_is_new_in_all_logs(tmp_path, what, other_write):
    write, providers = WRITES[what]
    with region(tmp_path) as (one, other):
        answers = []
        with first_write(one, before=lambda: answers.append(other_write(client_of(other), P2))):
            refused = write(client_of(one), *providers)
        assert [answer.status for answer in answers] == [204]
        assert (refused.status, "consumer generation conflict" in refused.detail) == (409, True)
        assert client_of(one).held(CONSUMER) == {P2: {"VCPU": 1}}
        assert client_of(one).held(FRIEND) == {}


@pytest.mark.parametrize("write", [put, put_unguarded, post])
def test_of_two_at_the_same_time_one_gets_it(tmp_path, write):
    with region(tmp_path) as (one, other):
        clients = client_of(one), client_of(other)
        for _ in range(20):
            answers = at_once(*(lambda pair=pair: write(*pair) for pair in zip(clients, (P1, P2), strict=True)))
            # (Without a generation the second one may come later, and replace the first one.)
            assert sorted(answers) == [204, 409] or (write is put_unguarded and answers == [204, 204])
            assert len(clients[0].held(CONSUMER)) == 1
            for consumer in (CONSUMER, FRIEND):
                clients[0].ask("DELETE", f"/allocations/{consumer}")


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("write", [put, put_unguarded, post])
def test_what_a_worker_leaves_of_a_new_consumer(tmp_path, write, step, before):
    """It ends before or after it has locked the consumer, or decided."""
    with region(tmp_path) as (one, other):
        client = client_of(other)
        with ends_at(one, step, before), pytest.raises(Ended):
            write(client_of(one), P1)
        finished(other)
        is_done = step == 2 and not before
        assert client.held(CONSUMER) == ({P1: {"VCPU": 1}} if is_done else {})


@pytest.mark.parametrize("write", [put, put_unguarded, post])
def test_what_a_worker_leaves_of_a_consumer_that_is_not_new(tmp_path, write):
    """Another one has written it elsewhere before the worker ends, which has not looked at the other logs."""
    with region(tmp_path) as (one, other):
        client = client_of(other)
        with ends_at(one, 1, before=False), first_write(one, before=lambda: put(client, P2)), pytest.raises(Ended):
            write(client_of(one), P1)
        finished(other)
        assert client.held(CONSUMER) == {P2: {"VCPU": 1}}


def test_a_write_without_a_generation_replaces_what_is_in_other_logs(tmp_path):
    with region(tmp_path, count=1) as (one,):
        client = client_of(one)
        for provider in (P1, P2, P3, P3):
            assert put_unguarded(client, provider).status == 204
            assert client.held(CONSUMER) == {provider: {"VCPU": 1}}


def test_it_keeps_its_type_in_another_log(tmp_path):
    with region(tmp_path, count=1) as (one,):
        client = client_of(one)
        put(client, P1)
        assert put_unguarded(client, P2).status == 204
        assert client.do("GET", f"/allocations/{CONSUMER}")["consumer_type"] == "INSTANCE"


@contextlib.contextmanager
def late(worker, *cells):
    """A worker gets no records of some logs until it waits for a fence."""
    gate, fence = threading.Event(), worker.fence
    for cell in cells:
        log = worker.logs[cell]

        def records(batch, take=log._on_records):
            gate.wait()
            take(batch)

        log._on_records = records

    def opening():
        gate.set()
        return fence()

    worker.fence = opening
    try:
        yield
    finally:
        gate.set()


def test_a_consumer_is_removed_from_all_logs(tmp_path):
    """Also from one of which the worker, on another machine, does not know yet."""
    with region(tmp_path, state_dir=None, has_neighbours=True) as (one, other):
        client = client_of(one)
        put(client, P1)
        other.fence()
        with late(other, "cell2"):
            both = {P1: {"VCPU": 1}, P2: {"VCPU": 1}}
            assert client.put(CONSUMER, client.generation(CONSUMER), both).status == 204
            other.logs["cell1"].waits.fence()
            assert client_of(other).ask("DELETE", f"/allocations/{CONSUMER}").status == 204
        assert client.held(CONSUMER) == client_of(other).held(CONSUMER) == {}


def test_a_consumer_that_moves_at_the_same_time_is_removed(tmp_path):
    with region(tmp_path) as (one, other):
        client = client_of(other)
        put(client, P1)
        generation = client.generation(CONSUMER)
        both = {P1: {"VCPU": 1}, P2: {"VCPU": 1}}
        with first_write(one, before=lambda: client.put(CONSUMER, generation, both)):
            assert client_of(one).ask("DELETE", f"/allocations/{CONSUMER}").status == 204
        assert client.held(CONSUMER) == {}


@pytest.mark.parametrize(
    ("providers", "write", "rises"),
    [
        # (As in Placement.)
        ([P1], lambda client, generation: client.ask("DELETE", f"/allocations/{CONSUMER}"), 0),
        ([P1], lambda client, generation: client.put(CONSUMER, generation, {}), 1),
        # (docs/differences: its log does not know what the consumer holds elsewhere.)
        ([P1, P2], lambda client, generation: client.ask("DELETE", f"/allocations/{CONSUMER}"), 1),
        ([P1], lambda client, generation: client.put(CONSUMER, generation, {P2: {"VCPU": 1}}), 1),
    ],
)
def test_the_generation_of_a_provider_that_a_consumer_leaves(tmp_path, providers, write, rises):
    with region(tmp_path, count=1) as (one,):
        client = client_of(one)
        put(client, *providers)
        before = client.do("GET", f"/resource_providers/{P1}")["generation"]
        assert write(client, client.generation(CONSUMER)).status == 204
        assert client.do("GET", f"/resource_providers/{P1}")["generation"] == before + rises


# --- what is empty ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/usages?project_id=project",
        f"/resource_providers/{P1}/allocations",
        f"/resource_providers/{P1}/traits",
        f"/resource_providers/{P1}/aggregates",
        f"/resource_providers/{P2}/inventories",
        f"/resource_providers/{P2}/usages",
        "/traits?associated=true",
        f"/allocations/{CONSUMER}",
    ],
)
def test_that_something_is_empty_is_said_behind_a_fence(tmp_path, path):
    urls = {"cell1": f"sqlite:///{tmp_path}/cell1.db"}
    prepare(urls["cell1"])
    with workers(urls, has_neighbours=True) as (one, other):
        client = client_of(one)
        client.provider("p1", P1, VCPU=8)
        client.do("POST", "/resource_providers", {"name": "p2", "uuid": P2})
        other.fence()
        empty = client.do("GET", path)
        with late(other, "cell1"):
            traits = {"resource_provider_generation": 1, "traits": ["HW_CPU_X86_AVX2"]}
            client.do("PUT", f"/resource_providers/{P1}/traits", traits)
            aggregates = {"resource_provider_generation": 2, "aggregates": [uuid_of("pool")]}
            client.do("PUT", f"/resource_providers/{P1}/aggregates", aggregates)
            inventories = {"resource_provider_generation": 0, "inventories": {"VCPU": inventory(1)}}
            client.do("PUT", f"/resource_providers/{P2}/inventories", inventories)
            put(client, P1)
            filled = client.do("GET", path)
            assert empty != filled
            assert client_of(other).do("GET", path) == filled


# --- providers -------------------------------------------------------------------------------------------------------


def create(client, name, uuid, parent):
    body = {"name": name, "uuid": uuid, "parent_provider_uuid": parent}
    return client.ask("POST", "/resource_providers", body)


def rename(client, uuid, name):
    return client.ask("PUT", f"/resource_providers/{uuid}", {"name": name})


SAME = {
    "uuid": lambda client, parent: create(client, f"under {parent}", uuid_of("child"), parent),
    "name": lambda client, parent: create(client, "child", uuid_of(f"under {parent}"), parent),
    "new name": lambda client, parent: rename(client, parent, "child"),
}


def doubled(worker):
    """The uuids and the names that are in several logs."""
    worker.fence()
    of = [(*projection.trees, *projection.provider_names) for projection in worker.projections()]
    names = list(itertools.chain.from_iterable(of))
    return {name for name in names if names.count(name) > 1}


@pytest.mark.parametrize("what", SAME)
def test_a_provider_has_its_uuid_and_its_name_alone(tmp_path, what):
    with region(tmp_path) as (one, other):
        answers = []
        with first_write(one, before=lambda: answers.append(SAME[what](client_of(other), P2))):
            refused = SAME[what](client_of(one), P1)
        assert [answer.status for answer in answers] == [200]
        assert (refused.status, refused.body["errors"][0]["code"]) == (409, "placement.duplicate_name")
        assert doubled(one) == set()


@pytest.mark.parametrize("same_worker", [True, False])
@pytest.mark.parametrize("what", ["uuid", "name"])
def test_of_two_providers_at_the_same_time_one_is_created(tmp_path, what, same_worker):
    with region(tmp_path) as (one, other):
        clients = client_of(one), client_of(one if same_worker else other)
        for number in range(15):

            def ask(client, parent, number=number):
                uuid, name = uuid_of(f"{number} {parent}"), f"{number} {parent}"
                shared = {"uuid": uuid_of(f"child {number}")} if what == "uuid" else {"name": f"child {number}"}
                return create(client, **{"name": name, "uuid": uuid, **shared}, parent=parent)

            answers = at_once(*(lambda pair=pair: ask(*pair) for pair in zip(clients, (P1, P2), strict=True)))
            assert sorted(answers) == [200, 409]
        assert doubled(one) == set()


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("what", SAME)
def test_what_a_worker_leaves_of_a_provider(tmp_path, what, step, before):
    """It ends at its lock, at the provider, or at the end of its lock."""
    with region(tmp_path) as (one, other):
        with ends_at(one, step, before), pytest.raises(Ended):
            SAME[what](client_of(one), P1)
        finished(other)
        is_done = step == 3 or (step == 2 and not before)
        assert SAME[what](client_of(other), P2).status == (409 if is_done else 200)
        assert doubled(other) == set()


def test_a_lock_that_is_refused_for_another_reason_is_not_tried_again(tmp_path):
    """It would be refused each time."""
    locks = []

    def refusing(write):
        def written(event, *then):
            if type(event) is not events.AllocationsPrepared:
                return write(event, *then)
            locks.append(event)
            return Written(7, "placement/test", 1, 1, refused(WriteRefused.AGENT_DECIDES, "host"), None)

        return written

    with region(tmp_path, count=1) as (one,), replaced(one, refusing):
        answer = client_of(one).ask("PUT", "/traits/CUSTOM_X")
        assert (answer.status, "host belongs to its agent" in answer.detail) == (409, True)
        assert len(locks) == 1


@pytest.mark.parametrize(
    ("fault", "is_kept"),
    [(OutcomeUnknown("not read back"), True), (Unavailable("not appended"), False), (Conflict("refused"), False)],
)
def test_a_lock_is_kept_while_what_was_written_under_it_may_come(tmp_path, fault, is_kept):
    def failing(write):
        def written(event, *then):
            if type(event) is events.ProviderCreated:
                raise fault
            return write(event, *then)

        return written

    with region(tmp_path) as (one, other):
        with replaced(one, failing):
            assert SAME["name"](client_of(one), P1).status == fault.status
        other.fence()
        assert bool(other.logs["cell1"].projection.locked) is is_kept
        finished(other)
        assert SAME["name"](client_of(other), P2).status == 200


# --- classes and traits ----------------------------------------------------------------------------------------------

CLASS, TRAIT = "/resource_classes/CUSTOM_X", "/traits/CUSTOM_X"


def give(client, path):
    """Give the provider of the second cell what only the first one knows."""
    generation = client.do("GET", f"/resource_providers/{P2}")["generation"]
    if path == TRAIT:
        body = {"resource_provider_generation": generation, "traits": ["CUSTOM_X"]}
        return client.ask("PUT", f"/resource_providers/{P2}/traits", body)
    body = {"resource_provider_generation": generation, "inventories": {"VCPU": inventory(8), "CUSTOM_X": inventory(1)}}
    return client.ask("PUT", f"/resource_providers/{P2}/inventories", body)


@pytest.mark.parametrize("path", [CLASS, TRAIT])
def test_what_is_removed_is_not_used(tmp_path, path):
    with region(tmp_path) as (one, other):
        client_of(one).do("PUT", path)
        with first_write(one, before=lambda: client_of(other).do("DELETE", path)):
            refused = give(client_of(one), path)
        assert (refused.status, "No such" in refused.detail) == (400, True)
        assert client_of(other).ask("GET", path).status == 404


@pytest.mark.parametrize("path", [CLASS, TRAIT])
def test_what_is_used_is_not_removed(tmp_path, path):
    with region(tmp_path) as (one, other):
        client_of(one).do("PUT", path)
        answers = []
        with first_write(one, before=lambda: answers.append(give(client_of(other), path))):
            refused = client_of(one).ask("DELETE", path)
        assert [answer.status for answer in answers] == [200]
        assert (refused.status, "in use" in refused.detail) == (409, True)
        assert client_of(other).ask("GET", path).status in (200, 204)


@pytest.mark.parametrize("path", [CLASS, TRAIT])
def test_it_is_used_or_removed(tmp_path, path):
    with region(tmp_path) as (one, other):
        clients = client_of(one), client_of(other)
        for _ in range(15):
            clients[0].do("PUT", path)
            used, removed = at_once(lambda: give(clients[0], path), lambda: clients[1].ask("DELETE", path))
            assert (used, removed) in ((200, 409), (400, 204))
            assert clients[0].ask("GET", path).status == (404 if removed == 204 else 204 if path == TRAIT else 200)
            clients[0].ask("DELETE", f"/resource_providers/{P2}/{'traits' if path == TRAIT else 'inventories'}")
            clients[0].ask("DELETE", path)


@pytest.mark.parametrize("path", [CLASS, TRAIT])
def test_many_may_use_it_first(tmp_path, path):
    """Requests that create it in the same log, or in several logs, do not refuse each other."""
    with region(tmp_path) as (one, other):
        clients = client_of(one), client_of(other)
        for number in range(5):
            name = f"{path}{number}"
            clients[0].do("PUT", name)
            kind = "traits" if path == TRAIT else "inventories"

            def use(client, provider, name=name, kind=kind):
                generation = client.do("GET", f"/resource_providers/{provider}")["generation"]
                custom = name.rpartition("/")[2]
                what = [custom] if kind == "traits" else {custom: inventory(1)}
                body = {"resource_provider_generation": generation, kind: what}
                return client.ask("PUT", f"/resource_providers/{provider}/{kind}", body)

            pairs = [(clients[0], P2), (clients[1], P3), (clients[0], P1)]
            assert at_once(*(lambda pair=pair: use(*pair) for pair in pairs)) == [200, 200, 200]


def test_a_class_gets_a_name_that_no_log_has(tmp_path):
    """CUSTOM_C is in the second cell only, CUSTOM_X in the first one."""
    with region(tmp_path) as (one, _):
        client = client_of(one)
        client.do("PUT", CLASS)
        one.new_roots = one.logs["cell2"]
        client.do("PUT", "/resource_classes/CUSTOM_C")
        refused = client.ask("PUT", "/resource_classes/CUSTOM_C", {"name": "CUSTOM_X"}, **RENAMES)
        assert (refused.status, "already exists" in refused.body["errors"][0]["detail"]) == (409, True)
        assert client.ask("GET", "/resource_classes/CUSTOM_C").status == 200
        client.do("PUT", "/resource_classes/CUSTOM_C", {"name": "CUSTOM_D"}, **RENAMES)
        client.do("PUT", "/resource_classes/CUSTOM_D", {"name": "CUSTOM_D"}, **RENAMES)
        assert client.ask("GET", "/resource_classes/CUSTOM_D").status == 200


def test_a_class_that_only_another_log_knows(tmp_path):
    """The provider has no inventory of it: that is the fault, and not the class."""
    with region(tmp_path, count=1) as (one,):
        client = client_of(one)
        client.do("PUT", CLASS)
        refused = client.put(CONSUMER, None, {P2: {"CUSTOM_X": 1}})
        assert (refused.status, "Inventory for" in refused.detail) == (409, True)
        client.do("PUT", "/resource_classes/CUSTOM_Y")
        body = {"resource_provider_generation": 1, "total": 1}
        refused = client.ask("PUT", f"/resource_providers/{P2}/inventories/CUSTOM_Y", body)
        assert (refused.status, "No inventory record" in refused.detail) == (400, True)


# --- usages ----------------------------------------------------------------------------------------------------------


def test_a_consumer_in_two_logs_is_one(tmp_path):
    with region(tmp_path, count=1) as (one,):
        client = client_of(one)
        assert put(client, P1, P2).status == 204
        for wanted, key in (("all", "all"), ("INSTANCE", "INSTANCE")):
            shown = client.do("GET", f"/usages?project_id=project&consumer_type={wanted}")["usages"]
            assert shown == {key: {"VCPU": 2, "consumer_count": 1}}


def test_what_a_consumer_left_is_not_used(tmp_path):
    """As soon as its home log has decided, although its worker has ended before the other log has it."""
    with region(tmp_path) as (one, other):
        client = client_of(other)
        assert client.put(CONSUMER, None, {P2: {"VCPU": 3}}).status == 204
        client.put(FRIEND, None, {P2: {"VCPU": 1}})
        generation = client.generation(CONSUMER)
        with ends_at(one, 3, before=False), pytest.raises(Ended):
            client_of(one).put(CONSUMER, generation, {P1: {"VCPU": 3}, P2: {"VCPU": 1}})
        other.fence()
        shown = client.do("GET", "/allocation_candidates?resources=VCPU:1")["provider_summaries"]
        for provider, used in ((P1, 3), (P2, 2), (P3, 0)):
            assert client.do("GET", f"/resource_providers/{provider}/usages")["usages"] == {"VCPU": used}
            assert shown[provider]["resources"]["VCPU"] == {"capacity": 8, "used": used}
        finished(other)
        assert client.do("GET", "/allocation_candidates?resources=VCPU:1")["provider_summaries"] == shown
