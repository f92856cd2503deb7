"""shadow shows where Nova chose otherwise, counts the causes, and why-not takes the decisions of a shadow."""

import re

import pytest

from nova_sched.projection.state import CELL0
from nova_sched.selection.policy import Policy
from rpc_api import errors
from tests.builders import uuid_of
from tests.nova_sched.replay.tiny import Logs
from tests.nova_sched.scheduler.shadow.shadowing import Shadowed


@pytest.fixture(scope="module")
def cloud():
    """One instance of each verdict but late."""
    cloud = Shadowed(policy=Policy(weighers=(("RAMWeigher", 1.0),)), has_allocations=False)
    for name, memory_mb in (("large", 4096), ("twin", 4096), ("small", 1024)):
        cloud.nova_host(name, memory_mb=memory_mb, vcpus=100)
    cloud.settle()
    cloud.engine.publish_policy()
    cloud.asks("forced", force_hosts=("large",))
    cloud.calls("forced", "large")
    cloud.asks("weighed")
    cloud.calls("weighed", "small")
    cloud.asks("zoned", availability_zone="rare")
    cloud.calls("zoned", "large")
    cloud.asks("elsewhere")
    cloud.calls("elsewhere", "new")
    cloud.asks("tied")
    (waiting,) = cloud.engine.waiting.values()
    cloud.calls("tied", "twin" if waiting.ours.hosts[0] == "large" else "large")
    cloud.asks("alone", "alone-too")
    cloud.asks("huge", vcpus=1000)
    cloud.passes(61)
    cloud.asks("missed")
    cloud.engine.on_lost()
    cloud.passes(61)
    cloud.settle()
    return cloud


@pytest.fixture
def logs(cloud):
    with Logs(cloud) as logs:
        yield logs


def test_the_numbers(logs, capsys):
    code, facts = logs.json(capsys, "shadow", "--show", "2")
    assert code == errors.EXIT_NEGATIVE
    assert facts["instances"] == 9 and facts["requests"] == 8 and facts["differences"] == 5
    assert facts["verdicts"] == {
        "same": 1,
        "tie": 1,
        "moved": 0,
        "neither": 1,
        "different": 2,
        "only-nova": 1,
        "only-ours": 2,
        "unseen": 1,
        "late": 0,
    }
    assert {(each["verdict"], each["cause"], each["part"], each["instances"]) for each in facts["causes"]} == {
        ("different", "weight", "RAMWeigher", 1),
        ("different", "unknown-host", None, 1),
        ("only-nova", "filter", "AvailabilityZoneFilter", 1),
    }
    assert facts["seen_in"] == {"build_and_run_instance": 5, "nothing": 4}
    assert facts["alternates"] == 2 and facts["shadows"] == {"shadow/s": 9}
    assert [each["instance"] for each in facts["shown"]] == [uuid_of("alone"), uuid_of("alone-too")]


def test_in_words(logs, capsys):
    assert logs.run("shadow") == errors.EXIT_NEGATIVE
    text = capsys.readouterr().out
    assert text.startswith("9 instances of 8 requests, ")
    for wanted in (
        r"same +1 +11\.1 %\n",
        r"different +weight +RAMWeigher +1\n",
        r"only-nova +filter +AvailabilityZoneFilter +1\n",
        r"2 of Nova's hosts were alternates here\n",
        rf"Z {uuid_of('weighed')} different \(weight\): small has the score \+0\.\d+ \(rank 3 of 3, alternate 2 here\)",
        rf"Z {uuid_of('alone')} only-ours: Nova chose no host within 60 s, \w+ was chosen here\n",
    ):
        assert re.search(wanted, text), (wanted, text)


def test_named_verdicts(logs, capsys):
    _, facts = logs.json(capsys, "shadow", "--verdict", "tie", "--verdict", "unseen")
    assert [each["verdict"] for each in facts["shown"]] == ["tie", "unseen"]


def test_from_a_position(cloud, logs, capsys):
    last = len(cloud.logs[CELL0]) - 1
    code, facts = logs.json(capsys, "shadow", "--from", f"cell0:{last - 1}")
    assert (code, facts["instances"], facts["verdicts"]["unseen"]) == (errors.EXIT_OK, 1, 1)


@pytest.mark.parametrize("name, instances", [("s", 9), ("other", 0)])
def test_of_one_shadow(logs, capsys, name, instances):
    _, facts = logs.json(capsys, "shadow", "--shadow", name)
    assert facts["instances"] == instances


def test_without_the_log_of_cell0(cloud, capsys):
    with Logs(cloud, without=(CELL0,)) as logs:
        assert logs.run("shadow") == errors.EXIT_USAGE
    assert "name it with --log" in capsys.readouterr().err


def test_why_not_takes_the_decision_of_a_shadow(logs, capsys):
    code, facts = logs.json(capsys, "why-not", uuid_of("zoned"), "large")
    assert code == errors.EXIT_NEGATIVE and facts["refused"]
    refused = [each for each in facts["verdicts"] if each["verdict"] == "refuse"]
    assert [each["filter"] for each in refused] == ["AvailabilityZoneFilter"]


def test_other_commands_do_not_count_them(logs, capsys):
    code, facts = logs.json(capsys, "stats")
    assert code == errors.EXIT_OK and facts["decisions"]["made"] == 0
