"""``nova-sched aggregate``: aggregates of a cloud in which Nova does not run them."""

import pytest

from rpc_api import events
from tests.builders import report, uuid_of
from tests.nova_sched.cli.operated import Cloud


@pytest.fixture
def cloud(tmp_path, capsys):
    """Two hosts of agents, one of Nova, an aggregate of ours and one that Nova published."""
    cloud = Cloud(tmp_path, capsys)
    for name in ("a", "b"):
        cloud.say(report(name))
    cloud.nova_host("n")
    mine = events.AggregateUpdated(uuid_of("rack"), "rack", ("a",), {"availability_zone": "east", "ssd": "true"})
    cloud.say(mine, cell="cell0", by="operator/before")
    cloud.say(events.AggregateUpdated(uuid_of("nova's"), "nova's", ("n",), {}), cell="cell0", by="scheduler/one")
    return cloud


def listed(cloud):
    """Name -> (zone, hosts, properties) of all aggregates."""
    return {row["name"]: (row["zone"], row["hosts"], row["properties"]) for row in cloud.rows("aggregate", "list")}


def test_aggregates_are_listed(cloud):
    assert listed(cloud) == {"nova's": (None, ["n"], {}), "rack": ("east", ["a"], {"ssd": "true"})}
    assert [row["name"] for row in cloud.rows("aggregate", "list", "rack")] == ["rack"]
    code, out, _ = cloud.run("aggregate", "list")
    assert code == 0 and out.splitlines()[2].split() == ["rack", uuid_of("rack"), "east", "a", "ssd=true"]


def test_an_aggregate_is_created_changed_and_deleted(cloud):
    words = ("--zone", "west", "--host", "b", "--property", "nvme=true")
    code, out, err = cloud.run("aggregate", "create", "fast", *words)
    assert (code, err) == (0, "") and out.startswith("aggregate fast ") and "is created from position" in out
    assert listed(cloud)["fast"] == ("west", ["b"], {"nvme": "true"})
    assert cloud.host("b")["zone"] == "west"
    words = ("--new-name", "faster", "--remove-host", "b", "--unset", "nvme", "--property", "gen=5", "--zone", "north")
    code, out, err = cloud.run("aggregate", "set", "fast", *words)
    assert (code, err) == (0, "") and "is changed from position" in out
    assert listed(cloud)["faster"] == ("north", [], {"gen": "5"})
    assert "is so already" in cloud.run("aggregate", "set", "faster", "--property", "gen=5")[1]
    assert cloud.run("aggregate", "set", uuid_of("rack"), "--add-host", "b")[0] == 0
    assert listed(cloud)["rack"][1] == ["a", "b"]
    code, out, err = cloud.run("aggregate", "delete", "faster")
    assert (code, err) == (0, "") and "is deleted from position" in out
    assert "faster" not in listed(cloud)


@pytest.mark.parametrize(
    "words, code, told",
    [
        (("create", "rack"), 1, "there is an aggregate 'rack' already"),
        (("create", "x", "--host", "nobody"), 1, "there is no host 'nobody' in cell0, cell1"),
        (("create", "x", "--host", "n"), 1, "n is a host of Nova, which runs its aggregates; use openstack aggregate"),
        (("create", "x", "--host", "a", "--zone", "west"), 1, "a is in the zone east by the aggregate rack"),
        (("create", "x", "--zone", "a:b"), 2, "'a:b' cannot be the name of a zone, because Nova allows no ':' in it"),
        (("create", "x", "--property", "availability_zone=a:b"), 2, "Nova allows no ':' in it; choose another name"),
        (("set", "rack", "--zone", "a:b"), 2, "'a:b' cannot be the name of a zone"),
        (("create", "x", "--property", "ssd"), 2, "--property 'ssd' is not KEY=VALUE"),
        (("create", "x", "--property", "max_io_ops_per_host=many"), 2, "wanted a whole number"),
        (("set", "nova's", "--property", "a=b"), 1, "was published by Nova (through scheduler/one)"),
        (("set", "nobody", "--property", "a=b"), 1, "there is no aggregate 'nobody'"),
        (("set", "rack", "--remove-host", "b"), 1, "b is not a host of the aggregate rack, wanted some of a"),
        (("set", "rack", "--unset", "hdd"), 1, "has no property 'hdd', wanted some of availability_zone, ssd"),
        (("delete", "rack"), 1, "the aggregate rack has hosts, such as a; remove all 1 first"),
        (("delete", "nova's"), 1, "use openstack aggregate"),
        (("list", "nobody"), 1, "there is no aggregate 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_said(cloud, words, code, told):
    before = listed(cloud)
    found, out, err = cloud.run("aggregate", *words)
    assert (found, out) == (code, "") and told in err
    assert listed(cloud) == before


def test_without_the_log_of_cell0(cloud):
    code, _, err = cloud.run("aggregate", "list", logs=("cell1",))
    assert code == 2 and "aggregates are in the log of cell0, which is not named" in err


def test_two_of_one_name(cloud):
    cloud.say(events.AggregateUpdated(uuid_of("twin"), "rack", (), {}), cell="cell0", by="operator/twin")
    code, _, err = cloud.run("aggregate", "delete", "rack")
    assert code == 1 and "2 aggregates have the name 'rack'; name one by its uuid" in err
    assert cloud.run("aggregate", "delete", uuid_of("twin"))[0] == 0
