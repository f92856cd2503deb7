"""Zones, aggregates and the policy are in the log of cell0: a command to which it is not named says so, or refuses."""

import pytest

from rpc_api import events
from tests.builders import report, uuid_of
from tests.nova_sched.cli.operated import Cloud


@pytest.fixture
def cloud(tmp_path, capsys):
    """A host in the zone west."""
    cloud = Cloud(tmp_path, capsys)
    cloud.say(report("a"))
    west = events.AggregateUpdated(uuid_of("west"), "west", ("a",), {"availability_zone": "west"})
    cloud.say(west, cell="cell0", by="operator/before")
    return cloud


@pytest.mark.parametrize(
    "words",
    [
        ("usage", "--by", "zone"),
        ("usage", "--by", "aggregate"),
        ("dry-run", "1:1", "--availability-zone", "west"),
        ("host", "list", "--zone", "west"),
        ("host", "list", "--aggregate", "west"),
    ],
)
def test_an_answer_that_depends_on_it_is_refused(cloud, words):
    assert cloud.run(*words)[0] == 0
    code, out, err = cloud.run(*words, logs=("cell1",))
    assert (code, out) == (2, "") and "in the log of cell0, and that is not named; name it with --log cell0=URL" in err


@pytest.mark.parametrize("words", [("host", "list"), ("dry-run", "1:1"), ("fragmentation", "1:1")])
def test_what_is_not_known_is_said(cloud, words):
    said = "aggregates are in the log of cell0, which is not named: "
    assert said not in cloud.run(*words)[2]
    code, out, err = cloud.run(*words, logs=("cell1",))
    assert code == 0 and out and said in err


def test_usage_by_project_does_not_need_it(cloud):
    assert cloud.run("usage", logs=("cell1",))[0] == 0
