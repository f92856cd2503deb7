"""``openstack scheduler``: the plugin in an environment with python-openstackclient, as it is typed there."""

import json
import os
import pathlib
import subprocess
from importlib import metadata

import pytest

from rpc_api import codec, errors, events
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.builders import EPOCH, Voice, consumer, of, report
from tests.clients.conftest import client_python
from tests.nova_sched.cli.operated import Cloud
from tests.nova_sched.operate.nova_api import NovaApi, flavor, server, service

pytestmark = [pytest.mark.clients, pytest.mark.long]

DEMO = pathlib.Path(__file__).parents[2] / "docs" / "operating" / "demo.nslog"
SECONDS_MAX = 120


@pytest.fixture(scope="module")
def program():
    """The ``openstack`` of the environment."""
    return str(pathlib.Path(client_python("plugin")).with_name("openstack"))


@pytest.fixture
def openstack(program, tmp_path):
    """Run a command: (exit code, output, errors). There are no credentials unless they are given."""

    def run(*words, **environment):
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        done = subprocess.run(
            [program, *words],
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            cwd=tmp_path,
            env={**kept, "HOME": str(tmp_path), **environment},
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def cloud(tmp_path, capsys):
    """A host of an agent, and one of Nova."""
    cloud = Cloud(tmp_path, capsys)
    cloud.say(report("a", consumer("vm", of("a", 2))))
    cloud.nova_host("n")
    return cloud


def logs_of(cloud):
    return [word for cell, url in cloud.urls.items() for word in ("--scheduler-log", f"{cell}={url}")]


def test_every_command_is_there(openstack):
    code, out, _ = openstack("help", "scheduler", "host", "drain")
    assert code == 0 and "openstack scheduler host drain" in out and "exit codes: 0 nothing is left" in out
    code, out, _ = openstack("command", "list", "--group", "openstack.scheduler", "-f", "json")
    listed = {name for group in json.loads(out) for name in group["Commands"]}
    known = {point.name.replace("_", " ") for point in metadata.entry_points(group="openstack.scheduler.v1")}
    assert code == 0 and listed == known and len(known) > 20


def test_questions_need_no_credentials(openstack):
    code, out, err = openstack("scheduler", "host", "list", "--limit", "2", "-f", "json", NOVA_SCHED_LOG=str(DEMO))
    assert code == 0 and [row["host"] for row in json.loads(out)] == ["host-0", "host-1"] and "2 of 120 hosts" in err
    code, out, _ = openstack("scheduler", "dry-run", "4:8192", "--scheduler-log", str(DEMO))
    assert code == 0 and out.startswith("chosen host-")
    code, out, _ = openstack("scheduler", "dry-run", "400:8192", "--scheduler-log", str(DEMO))
    assert code == errors.EXIT_NEGATIVE and "0/120 hosts" in out
    code, out, _ = openstack("scheduler", "conflicts", "--by", "pair", "-f", "csv", "--scheduler-log", str(DEMO))
    assert code == 0 and out.startswith("lost_by,won_by,conflicts\nscheduler/scheduler-1,scheduler/scheduler-2,83\n")


@pytest.mark.parametrize(
    "words, code, told",
    [
        (("host", "list"), errors.EXIT_USAGE, "no log is named; name one with --scheduler-log CELL=URL"),
        (("host", "list", "--scheduler-log", "cell1=sqlite:///none.db"), errors.EXIT_UNREACHABLE, "so run it where"),
        (
            ("host", "list", "--scheduler-log", "cell1=rabbit://u:secret@127.0.0.1:1/?stream=x"),
            errors.EXIT_UNREACHABLE,
            "the plugin reads the logs itself",
        ),
        (("host", "list", "nobody", "--scheduler-log", str(DEMO)), errors.EXIT_NEGATIVE, "there is no host 'nobody'"),
        (("dry-run", "--scheduler-log", str(DEMO)), errors.EXIT_USAGE, "a FLAVOR"),
    ],
)
def test_errors_are_one_sentence_with_our_exit_codes(openstack, words, code, told):
    found, out, err = openstack("scheduler", *words)
    assert (found, out) == (code, "") and told in err and "secret" not in err
    assert err.startswith("openstack scheduler ")


def test_log_of_openstack_itself_is_not_written_into_a_log(openstack, tmp_path):
    """--log is an abbreviation of --log-file there."""
    before = DEMO.read_bytes()
    code, _, err = openstack("scheduler", "host", "list", "--log", str(DEMO))
    assert code == 2 and "name the logs with --scheduler-log CELL=URL" in err and DEMO.read_bytes() == before
    assert openstack("--log", str(tmp_path / "own.log"), "module", "list")[0] == 0 and (tmp_path / "own.log").exists()


def test_a_host_of_an_agent_without_credentials_and_a_host_of_nova_with_them(openstack, cloud):
    code, out, err = openstack(
        "scheduler", "host", "disable", "a", "--reason", "a fan", "--name", "ada", *logs_of(cloud)
    )
    assert code == 0 and out.startswith("a of cell1 is disabled from position"), err
    assert cloud.host("a")["reason"] == "disabled by an operator: a fan"
    code, out, err = openstack("scheduler", "host", "disable", "n", *logs_of(cloud))
    assert code != 0 and out == "" and "auth" in err.lower()
    nova = NovaApi(service("n"), servers=[server(1, "n")], flavors=[flavor("m1.small")])
    try:
        code, out, err = openstack("scheduler", "host", "drain", "n", "-f", "json", *logs_of(cloud), **nova.credentials)
        assert code == errors.EXIT_NEGATIVE and [row["name"] for row in json.loads(out)] == ["server-1"], err
        assert nova.services[0]["status"] == "disabled"
        code, out, err = openstack("scheduler", "dry-run", "m1.small", "--nova", *logs_of(cloud), **nova.credentials)
        assert "m1.small: " in out, err
    finally:
        nova.close()


def test_an_old_plugin_says_that_it_is_old(openstack, cloud):
    """The log is pinned to a level that comes later than this release."""
    with open_log(cloud.urls["cell1"]) as log:
        pin = Voice("operator/later").say(events.LevelPinned(99))
        log.append([codec.encode_record(EPOCH, [pin], cloud.level)])
    code, out, err = openstack("scheduler", "host", "list", *logs_of(cloud))
    told = f"the log of cell1 is pinned to level 99, this version knows 1 to {LEVEL}"
    assert code == errors.EXIT_SCHEMA and told in err
    assert "a " in out
    code, _, err = openstack("scheduler", "host", "disable", "a", *logs_of(cloud))
    assert code == errors.EXIT_SCHEMA and "upgrade nova_sched here" in err


def test_another_version_of_the_commands_is_refused(openstack):
    code, _, err = openstack("--os-scheduler-api-version", "2", "scheduler", "host", "list")
    assert code != 0 and "the commands of nova_sched have version 1, got 2; upgrade nova_sched here" in err
