"""What filters say of hosts in the scene of a decision: also those of deployers, and of all hosts at once."""

import pytest

from nova_sched.projection.claim_refusals import ClaimRefused
from nova_sched.projection.reason import Reason
from nova_sched.replay.decisions import verdicts
from nova_sched.replay.decisions.policies import PolicyBook
from nova_sched.replay.decisions.recorded import find, scene
from nova_sched.replay.state.history import History
from nova_sched.selection.policy import Policy
from rpc_api import errors
from tests.builders import server_group, uuid_of
from tests.engines import TinyCloud
from tests.nova_sched.replay.tiny import Logs, deciding
from tests.nova_sched.selection.test_deployers_classes import Few, Free, policy_of


def scenes(cloud, source, name):
    policies = PolicyBook(cloud.policy.catalogue)
    history = History(source.logs)
    recorded = find(source, uuid_of(name), policies)[-1]
    return history, scene(history, recorded, policies)


def test_a_class_of_a_deployer_is_asked_again_and_explained_by_its_reason():
    cloud = TinyCloud(policy=policy_of([Few(1)], [Free()]))
    engine = deciding(cloud)
    for host in ("a", "b"):
        cloud.host(host, vcpus=8)
    cloud.settle()
    for name in ("first", "second", "vm"):
        cloud.ask(engine, name)
        cloud.settle()
    with Logs(cloud) as logs, logs.source() as source:
        history, made = scenes(cloud, source, "vm")
        said = verdicts.of_host(history, made, made.table.row_of_host["a"])
        few = next(one for one in said if one.filter.endswith("Few"))
        assert (few.verdict, few.reason, few.finding.text) == (verdicts.REFUSE, "Few", "Few")
        assert few.finding.find().producer == "compute_agent/a"


def test_hosts_by_reason_are_those_that_the_decision_counted():
    cloud = TinyCloud()
    for number in range(6):
        cloud.host(f"host-{number}", vcpus=1 + number)
    engine = deciding(cloud)
    for name in ("first", "second", "vm"):
        cloud.ask(engine, name, vcpus=3, group=server_group("anti-affinity"))
        cloud.settle()
    with Logs(cloud) as logs, logs.source() as source:
        _, made = scenes(cloud, source, "vm")
        found = verdicts.hosts_by_reason(made)
    counted = {(refusal.filter, refusal.reason): refusal.hosts for refusal in made.recorded.evidence.refusals}
    survivors = found.pop(None)
    found = {(name, str(reason)): rows for (name, reason), rows in found.items()}
    assert {key: len(rows) for key, rows in found.items()} == counted
    assert len(survivors) == made.recorded.evidence.survivors
    assert sorted(made.table.host_names[row] for row in found["ResourceFilter", "VCPU"]) == [
        "host-0",
        "host-1",
        "host-4",
    ]


def test_hosts_that_the_log_would_refuse_are_explained():
    cloud = TinyCloud(policy=Policy(enabled_filters=("AllHostsFilter",)))
    cloud.host("down", forced_down=True)
    cloud.host("full")
    engine = deciding(cloud)
    group = server_group("anti-affinity")
    cloud.ask(engine, "first", group=group)
    cloud.settle()
    cloud.ask(engine, "vm", group=group)
    cloud.settle()
    with Logs(cloud) as logs, logs.source() as source:
        history, made = scenes(cloud, source, "vm")
        found = {(name, str(reason)): rows for (name, reason), rows in verdicts.hosts_by_reason(made).items()}
        down = made.table.row_of_host["down"]
        assert found["ClaimRules", "down"] == [down]
        key = next(key for key in verdicts.hosts_by_reason(made) if key and key[0] == "ClaimRules")
        assert verdicts.nearest(history, made, key, [down])[0] == "down"
        last = verdicts.of_host(history, made, down)[-1]
        assert (last.filter, last.verdict, last.reason) == ("ClaimRules", verdicts.REFUSE, "down")
        assert last.finding.text == "forced down" and last.finding.find().producer == "compute_agent/down"


@pytest.mark.parametrize("fields", [{"force_hosts": ("b",)}, {"vcpus": 5}], ids=["forced", "no filter looks"])
def test_hosts_of_closed_cells_are_explained(fields, capsys):
    cloud = TinyCloud(("cell1", "cell2"), policy=Policy(enabled_filters=("AllHostsFilter",)))
    cloud.host("a", vcpus=4)
    cloud.host("b", "cell2", vcpus=64)
    engine = deciding(cloud)
    engine.on_fault("cell2", errors.LogUnavailable("down"))
    cloud.clock.seconds += 10
    engine.on_tick()
    cloud.ask(engine, "vm", **fields)
    cloud.settle()
    with Logs(cloud) as logs:
        with logs.source() as source:
            history, made = scenes(cloud, source, "vm")
            row = made.table.row_of_host["b"]
            found = {(name, str(reason)): rows for (name, reason), rows in verdicts.hosts_by_reason(made).items()}
            assert found["ClaimRules", "cell unreachable"] == [row]
            last = verdicts.of_host(history, made, row)[-1]
        text = "the log of cell2 could not be read by the scheduler then"
        assert (last.filter, last.reason, last.finding.text) == ("ClaimRules", "cell unreachable", text)
        logs.run("explain", uuid_of("vm"))
        said = capsys.readouterr().out
        assert "cells-unreachable" in said and "cell2: the log could not be read" in said
        logs.run("why-not", uuid_of("vm"), "b")
        assert text in capsys.readouterr().out


@pytest.mark.parametrize("code", ClaimRefused)
def test_each_reason_of_the_log_is_explained(code):
    cloud = TinyCloud()
    cloud.host("a")
    engine = deciding(cloud)
    cloud.ask(engine, "vm", group=server_group("affinity"))
    cloud.settle()
    with Logs(cloud) as logs, logs.source() as source:
        history, made = scenes(cloud, source, "vm")
        look = verdicts.look_at(made, made.table.row_of_host["a"], made.request)
        reason = Reason(code, tuple(range(code.value.count("{"))))
        assert verdicts.explain(history, made, look, "ClaimRules", reason).text


def test_the_nearest_of_the_refused():
    cloud = TinyCloud()
    for number in range(3):
        cloud.host(f"host-{number}", vcpus=1 + number)
    engine = deciding(cloud)
    cloud.ask(engine, "vm", vcpus=4)
    with Logs(cloud) as logs, logs.source() as source:
        history, made = scenes(cloud, source, "vm")
        key, rows = next(iter(verdicts.hosts_by_reason(made).items()))
        name, finding = verdicts.nearest(history, made, key, rows)
    assert name == "host-2" and finding.values["free"] == 3 and finding.near == 0.75
