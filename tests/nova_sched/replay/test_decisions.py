"""Decisions are found by their bytes, and made again in the scene that their scheduler knew: one by one and
in one walk."""

import json

import pytest

from nova_sched.replay.decisions.policies import PolicyBook, PolicyMissing
from nova_sched.replay.decisions.recorded import difference, find, scene
from nova_sched.replay.logs.reading import backwards, holding
from nova_sched.replay.state.history import History
from nova_sched.replay.verify.decisions import again, replay, spooled
from nova_sched.replay.verify.spool import Spool
from nova_sched.selection.policy import Policy
from rpc_api import errors, events
from tests.builders import consumer, of, rule, server_group, uuid_of
from tests.engines import TinyCloud
from tests.nova_sched.replay.tiny import Logs, deciding


@pytest.fixture
def busy():
    """Two schedulers that decide while their own claims are under way in two cells, and take each other's places."""
    cloud = TinyCloud(cells=("cell1", "cell2"))
    for number in range(4):
        cloud.host(f"host-{number}", f"cell{number % 2 + 1}", vcpus=6)
    engines = [deciding(cloud, name) for name in ("one", "two")]
    for number in range(12):
        group = server_group("anti-affinity") if number % 3 == 0 else None
        cloud.ask(engines[number % 2], f"vm-{number}", f"vm-{number}-b", vcpus=1, group=group, alternates=1)
        if number % 4 == 3:
            cloud.settle()
    cloud.settle()
    return cloud


def test_each_decision_comes_out_the_same_in_its_own_scene(busy):
    with Logs(busy) as logs, logs.source() as source:
        held = 0
        for number in range(12):
            policies = PolicyBook()
            for recorded in find(source, uuid_of(f"vm-{number}"), policies):
                made = scene(History(source.logs), recorded, policies)
                assert difference(recorded, made.again()) is None
                held += len(made.held)
        # Claims under way were put in flight: without them some would come out differently.
        assert held >= 10


def test_a_scene_without_what_was_under_way_is_another(busy):
    with Logs(busy) as logs, logs.source() as source:
        different = 0
        for number in range(12):
            policies = PolicyBook()
            for recorded in find(source, f"req-vm-{number}", policies):
                made = scene(History(source.logs), recorded, policies)
                for _, _, claim in made.held:
                    made.world.in_flight.remove(claim.claim_uuid)
                different += difference(recorded, made.again()) is not None
    assert different


def test_the_walk_gives_the_same_as_the_scenes(busy):
    with Logs(busy) as logs, logs.source() as source:
        made = list(replay(source.logs))
        assert len(made) >= 20 and all(one.same for one in made)
        found = {recorded.key for number in range(12) for recorded in find(source, f"req-vm-{number}")}
    assert found == {one.recorded.key for one in made}


def test_a_walk_goes_back_where_it_must(busy):
    """Decisions in an order that no scheduler made them in: the world starts again, and all decisions are the same."""
    with Logs(busy) as logs, logs.source() as source, Spool() as spool:
        policies = PolicyBook()
        spooled(source.logs, spool, policies)
        in_order = spool.decisions

        def backward(producer, digest):
            return reversed(list(in_order(producer, digest)))

        spool.decisions = backward
        assert all(one.same for one in again(History(source.logs), spool, policies))


def test_events_that_are_in_a_log_twice_are_one_decision(busy):
    busy.logs["cell1"] += busy.logs["cell1"][-6:]
    with Logs(busy) as logs, logs.source() as source:
        found = [find(source, f"req-vm-{number}") for number in range(12)]
        assert all(len({one.key for one in of}) == len(of) for of in found)
        assert len(list(replay(source.logs))) == sum(map(len, found))


@pytest.mark.parametrize(
    "key, fault",
    [
        ("req-vm-1", None),
        (uuid_of("vm-3"), None),
        (uuid_of("vm-3")[:10], None),
        ("short", errors.UsageError),
        ("req-vm-none", errors.NovaSchedError),
        ("req-vm-", errors.NovaSchedError),
    ],
)
def test_names_of_requests(busy, key, fault):
    with Logs(busy) as logs, logs.source() as source:
        if fault is None:
            assert {one.decision.request_id for one in find(source, key)} in ({"req-vm-1"}, {"req-vm-3"})
        else:
            with pytest.raises(fault):
                find(source, key)


def test_records_by_bytes_and_backwards(busy):
    with Logs(busy) as logs, logs.source() as source:
        log = source.logs["cell1"]
        ahead = [position for position, _ in holding(log, [b"ClaimProposed"])]
        assert (
            ahead and ahead == [position for position, _ in backwards(log, [b"ClaimProposed"], log.bounds().last)][::-1]
        )
        assert [position for position, _ in holding(log, [b"ClaimProposed"], ahead[1], ahead[2])] == ahead[1:3]
        assert next(backwards(log, [b"ClaimProposed"], ahead[2] - 1))[0] == ahead[1]


def test_a_policy_that_is_not_what_its_digest_says_is_told_of():
    book = PolicyBook()
    genuine = Policy()
    book.adopt(events.PolicyAdopted(genuine.digest, Policy(max_attempts=9).to_json()))
    with pytest.raises(PolicyMissing, match="with options that are not those of its digest"):
        book.get(genuine.digest)
    book.adopt(events.PolicyAdopted(genuine.digest, genuine.to_json()))
    assert book.get(genuine.digest) == genuine


def test_decisions_of_older_schedulers_are_made_again_as_they_were_made():
    """Their policies do not say that claims are checked; a split group shows the difference."""
    older = Policy.from_json(json.dumps({"enabled_filters": ["ComputeFilter", "ServerGroupAffinityFilter"]}))
    assert not older.check_claims and Policy.from_json(Policy().to_json()).check_claims
    refused = []
    for policy in (older, Policy()):
        cloud = TinyCloud(policy=policy)
        for host in ("a", "b"):
            member = consumer(f"on-{host}", of(host, 1), rule=rule("group", "together", host, uuid_of(f"on-{host}"), 0))
            cloud.host(host, vcpus=8, consumers=(member,))
        engine = deciding(cloud)
        cloud.ask(engine, "vm", group=server_group("affinity", members=("on-a", "on-b"), hosts=("a", "b")))
        cloud.ask(engine, "other", group=server_group("anti-affinity", name="other"))
        cloud.settle()
        with Logs(cloud) as logs, logs.source() as source:
            made = list(replay(source.logs))
            assert [each.difference for each in made] == [None] * len(made)
        refused.append((engine.counts["conflicts"], len(made), sum(each.now is not None for each in made)))
    # Today the first four decisions of the older scheduler would not choose a host that the log refuses.
    assert refused == [(4, 6, 4), (0, 2, 0)]


def test_a_scheduler_that_did_not_know_the_level_cannot_be_followed():
    """It cannot read what the others wrote after the pin: its decisions are listed as not made again."""
    cloud = TinyCloud()
    cloud.host("a", vcpus=8)
    engine = deciding(cloud)
    cloud.ask(engine, "before")
    cloud.pin(2)
    cloud.settle()
    cloud.levels = dict.fromkeys(cloud.levels, 1)
    cloud.ask(engine, "older")
    cloud.levels = dict.fromkeys(cloud.levels, 2)
    cloud.settle()
    with Logs(cloud) as logs, logs.source() as source:
        codes = [each.difference and each.difference.code for each in replay(source.logs)]
    # The refused claim is decided again, by then with the level.
    assert codes == [None, "level", None]
