"""A deployer's classes in a scheduler: their faults are those of one request,
and decisions by them can be made again."""

import json
import logging
from hashlib import blake2b

import pytest

from nova_sched.replay.decisions.policies import PolicyBook
from nova_sched.replay.verify.decisions import replay
from nova_sched.scheduler.engine import CELL0
from nova_sched.selection.catalogue import BUILT_IN
from rpc_api import errors, events
from rpc_api.log import open_log
from rpc_api.packing import pack
from tests.builders import uuid_of
from tests.engines import TinyCloud, hosts_of
from tests.nova_sched.selection.test_deployers_classes import Few, Free, policy_of


class Moody:
    """Falls over the requests of one project."""

    def host_passes(self, host_state, spec_obj):
        if spec_obj.project_id == "unlucky":
            raise ValueError("bad luck")
        return True


class Second:
    """Falls over the second instance of a request."""

    def host_passes(self, host_state, spec_obj):
        return {uuid_of("vm-1"): True}[spec_obj.instance_uuid]


class Crowded:
    """Prefers hosts with few instances, be they in flight."""

    def _weigh_object(self, host_state, weight_properties):
        assert host_state.cell == "cell1"
        return -len(host_state.instances)


def cloud_of(filters=(), weighers=()):
    cloud = TinyCloud(policy=policy_of(filters, weighers))
    for name in ("a", "b", "c"):
        cloud.host(name, vcpus=8)
    return cloud


def test_only_the_request_that_it_falls_over_fails(caplog):
    cloud = cloud_of([Moody()])
    engine = cloud.engine("one")
    with caplog.at_level(logging.DEBUG):
        unlucky, lucky = cloud.ask(engine, "vm-1", project_id="unlucky"), cloud.ask(engine, "vm-2")
    cloud.settle()
    with pytest.raises(
        errors.PluginFault, match="the filter Moody raised an error for request req-vm-1 .ValueError: bad luck."
    ):
        unlucky.future.result(0)
    assert hosts_of(lucky) and engine.counts["plugin_faults"] == 1 and engine.counts["faults"] == 0
    said = [record for record in caplog.records if "Moody" in record.getMessage() or record.exc_info]
    assert [(record.levelno, bool(record.exc_info)) for record in said] == [
        (logging.ERROR, False),
        (logging.DEBUG, True),
    ]


def test_what_was_claimed_of_its_request_is_released():
    cloud = cloud_of([Second()])
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm-1", "vm-2")
    cloud.settle()
    with pytest.raises(errors.PluginFault, match="the filter Second raised an error"):
        ask.future.result(0)
    assert [event.consumer_uuid for event in cloud.events("cell1", "ClaimReleased")] == [uuid_of("vm-1")]


def replayed(cloud, catalogue=BUILT_IN):
    """All decisions of a cloud made again; and the policies of its logs."""
    logs = {cell: open_log(f"memory://deployers-{id(cloud)}-{cell}") for cell in cloud.logs}
    for cell, log in logs.items():
        log.append(cloud.logs[cell])
    policies = PolicyBook(catalogue)
    for adopted in cloud.events(CELL0, "PolicyAdopted"):
        policies.adopt(adopted)
    try:
        return list(replay(logs, catalogue)), policies
    finally:
        for log in logs.values():
            log.delete()


@pytest.fixture
def decided():
    """A cloud in which decisions were made by classes of a deployer, and its policy was recorded."""
    cloud = cloud_of([Few(9)], [Free(), Crowded()])
    engine = cloud.engine("one")
    engine.publish_policy()
    asks = [cloud.ask(engine, f"vm-{number}", f"vm-{number}b", alternates=1) for number in range(4)]
    cloud.settle()
    assert {host for ask in asks for host in hosts_of(ask)} == {"a", "b", "c"}
    return cloud


def test_decisions_are_made_again_the_same(decided):
    assert [one.difference for one in replayed(decided, decided.policy.catalogue)[0]] == [None] * 8


def test_who_knows_not_the_classes_says_so_and_loads_nothing(decided):
    made, _ = replayed(decided)
    assert len(made) == 8 and {one.again for one in made} == {None}
    assert (
        f"its policy {decided.policy.digest} is in cell0 at position 0, and names the filter Few and the weighers "
        "Free, Crowded, not loaded here; name the schedulers' configuration"
    ) in made[0].difference.text


def test_a_class_that_falls_over_in_a_replay_stops_no_other_decision(decided):
    few = Few()
    few.host_passes = Second().host_passes
    made, _ = replayed(decided, policy_of([few], [Free(), Crowded()]).catalogue)
    differences = [one.difference.text for one in made if one.recorded.decision.instance_uuid != uuid_of("vm-1")]
    assert len(differences) == 7 and all("the filter Few raised an error" in difference for difference in differences)
    assert [one.same for one in made].count(True) == 1


def test_a_forged_policy_loads_nothing(decided):
    forged = policy_of([Moody()]).to_json().replace("Moody", "os.system")
    decided.append(CELL0, "scheduler/two", events.PolicyAdopted("0" * 16, forged))
    made, policies = replayed(decided, decided.policy.catalogue)
    assert "not those of its digest" in policies.unusable["0" * 16] and len(made) == 8
    genuine = policy_of([Moody()])
    named = genuine.to_json().replace("Moody", "os.system")
    policies.adopt(events.PolicyAdopted(blake2b(pack(json.loads(named)), digest_size=8).hexdigest(), named))
    assert "os.system" not in policies.catalogue.filters
