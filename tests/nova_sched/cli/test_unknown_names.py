"""A name that nothing in the logs has is reported, and is not an empty success."""

import pytest

from nova_sched.cli.main import replay
from rpc_api import events
from tests.builders import report, uuid_of
from tests.nova_sched.cli.operated import Cloud


@pytest.fixture
def cloud(tmp_path, capsys):
    """Two hosts of agents, one with signs of a glob in its name, and an aggregate."""
    cloud = Cloud(tmp_path, capsys)
    cloud.say(report("a"))
    cloud.say(report("host[1]"))
    cloud.say(events.AggregateUpdated(uuid_of("rack"), "rack", ("a",), {}), cell="cell0", by="operator/before")
    return cloud


def read(cloud, capsys, *words):
    named = [word for cell, url in cloud.urls.items() for word in ("--log", f"{cell}={url}")]
    code = replay([*words, "--no-cache", *named])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


@pytest.mark.parametrize(
    "words, code, told",
    [
        (("tail", "--host", "nosuch"), 0, "no event of the range matches --host nosuch"),
        (("tail", "--instance", uuid_of("x")), 0, f"no event of the range matches --instance {uuid_of('x')}"),
        (("tail", "--since", "-1m", "--until", "-2m"), 2, "--until -2m is before --since -1m"),
        (("state", "--list", "providers", "nosuch"), 1, "--list providers has nothing of the name 'nosuch'"),
        (("state", "--list", "consumers", "nosuch"), 1, "--list consumers has nothing of the name 'nosuch'"),
        (("instances", "--cell", "nosuch"), 0, "there is no cell 'nosuch' among cell0, cell1"),
    ],
)
def test_it_is_said_by_commands_that_read(cloud, capsys, words, code, told):
    found, _, err = read(cloud, capsys, *words)
    assert found == code and told in err


@pytest.mark.parametrize(
    "words, told",
    [
        (("--cell", "nosuch"), "there is no cell 'nosuch', wanted one of cell0, cell1; fix --cell"),
        (("--zone", "nosuch"), "there is no zone 'nosuch', wanted one of nova; fix --zone"),
        (("--aggregate", "nosuch"), "there is no aggregate 'nosuch', wanted one of rack; fix --aggregate"),
    ],
)
def test_it_is_said_by_host_list(cloud, words, told):
    code, _, err = cloud.run("host", "list", *words)
    assert code == 1 and told in err


def test_the_exact_name_matches_also_if_it_could_be_a_glob(cloud, capsys):
    code, out, err = read(cloud, capsys, "tail", "--host", "host[1]")
    assert (code, err) == (0, "") and "HostReported" in out


def test_names_that_are_known_are_not_mentioned(cloud, capsys):
    for words in (("--cell", "cell1"), ("--zone", "nova"), ("--aggregate", "rack")):
        assert "there is no" not in cloud.run("host", "list", *words)[2]
    assert "no event" not in read(cloud, capsys, "tail", "--host", "a")[2]
