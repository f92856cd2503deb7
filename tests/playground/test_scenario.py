"""Scenario files: the examples of the documents hold, and a wrong file is refused with its place."""

from pathlib import Path

import pytest

from nova_sched.playground.scenario import play_scenario
from nova_sched.playground.scenario_file import read_scenario
from rpc_api import errors
from rpc_api.log import open_log

EXAMPLES = sorted((Path(__file__).parents[2] / "docs" / "examples").glob("*.yaml"))


def play(path, name):
    with open_log(f"memory://{name}") as log:
        return play_scenario(read_scenario(str(path)), log)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_holds(path):
    played = play(path, f"scenario-{path.stem}")
    assert [each.request.name for each in played if each.fault] == []
    assert len(played) == len(read_scenario(str(path)).requests) > 1


def test_the_examples_are_those_that_were_asked_for():
    assert {path.stem for path in EXAMPLES} >= {
        "bike-shed-classes",
        "bike-shed-traits",
        "bare-metal",
        "sriov-by-network",
        "numa-nodes",
        "shared-storage",
        "accelerators",
    }


SMALL = """
hosts:
  - {name: a, inventories: {VCPU: 2}}
requests:
  - {name: one, flavor: {vcpus: 1}, host: a}
"""


@pytest.mark.parametrize(
    "before, after, fault",
    [
        ("host: a}", "host: b}", "it went to a, wanted b"),
        ("host: a}", "refused: VCPU}", "it went to a, wanted no host"),
        ("vcpus: 1", "vcpus: 3", "it found no host: 0/1 hosts: 1 VCPU"),
        ("host: a}", "allocations: {a: {VCPU: 2}}}", "it holds {'a': {'VCPU': 1}}, wanted {'a': {'VCPU': 2}}"),
    ],
)
def test_a_result_that_is_another_one(tmp_path, before, after, fault):
    path = tmp_path / "scenario.yaml"
    path.write_text(SMALL.replace(before, after))
    (played,) = play(path, f"other-{abs(hash(fault))}")
    assert played.fault == fault


@pytest.mark.parametrize(
    "text, what",
    [
        ("[", "is not YAML"),
        ("- 1", "content of the file cannot be used, wanted a map"),
        ("host: []", "key 'host' of the file cannot be used"),
        ("hosts: {}\nrequests: 7", "requests of the file cannot be used, wanted a list"),
        ("hosts: [{inventories: {VCPU: 1}}]", "name of a provider cannot be used"),
        ("hosts: [{name: a, inventories: {VCPU: many}}]", "content of VCPU of provider a cannot be used"),
        ("hosts: [{name: a, inventories: {VCPU: {max_unit: 1}}}]", "wanted a total"),
        ("hosts: [{name: a}]\nrequests: [{name: r, count: 0}]", "count of request r cannot be used"),
        ("hosts: [{name: a}, {name: a}]", "the uuid"),
        ("hosts: [{name: a, traits: [CUSTOM_X]}]", "unknown trait CUSTOM_X"),
        ("hosts: [{name: a, inventories: {CUSTOM_X: 1}}]", "unknown resource class CUSTOM_X"),
        ("hosts: [{name: a}]\nconsumers: [{name: c, allocations: {b: {VCPU: 1}}}]", "unknown provider"),
        ("hosts: [{name: a, inventories: {VCPU: {total: 1, reserved: 2}}}]", "the scenario is refused"),
    ],
)
def test_a_wrong_file(tmp_path, text, what):
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    with pytest.raises(errors.UsageError, match=what):
        play(path, f"wrong-{abs(hash(text))}")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(errors.UsageError, match="cannot be read"):
        read_scenario(str(tmp_path / "nothing.yaml"))
