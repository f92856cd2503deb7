"""Every example in the help of the commands for daily work is run on a played cloud. In the help of the plugin it is
typed as in python-openstackclient."""

import csv
import json
import re
import shlex
from importlib import metadata

import pytest

from nova_sched.cli import app, main
from rpc_api import errors

GROUP = "nova_sched.cli"
#: The commands that the plugin of python-openstackclient has, too: those of daily work.
PLUGIN = {
    point.name.removeprefix("scheduler_"): point.value.split(":")[1]
    for point in metadata.entry_points(group="openstack.scheduler.v1")
}
COMMANDS = {point.name: point.load() for point in metadata.entry_points(group=GROUP) if point.name in PLUGIN}
EXAMPLES = [
    (name, line.strip())
    for name, command in sorted(COMMANDS.items())
    for line in command.EPILOG.split("examples:\n", 1)[1].splitlines()
    if line.startswith("  ")
]
#: Need a service, or a policy of another cloud: their arguments are parsed.
ELSEWHERE = ("nova-sched smoke", "--ask", "$DIGEST", "rack7-*")


@pytest.fixture
def directory(tmp_path, played_cloud, monkeypatch):
    """A directory in which ``out/demo`` is a copy of a play, which may be changed; gives the variables of examples."""
    built = played_cloud.instance("built", attempts="2")
    (tmp_path / "out").mkdir()
    played_cloud.copy(tmp_path / "out" / "demo")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    host = next(row["host"] for row in played_cloud.rows if row["instance"] == built)
    return {"INSTANCE": built, "HOST": host}


def test_every_command_has_examples():
    assert {name for name, _ in EXAMPLES} == set(COMMANDS) and len(COMMANDS) == 17
    for name, line in EXAMPLES:
        assert line.startswith(f"nova-sched {name.replace('_', ' ')} "), line


@pytest.mark.parametrize("name, line", EXAMPLES)
def test_an_example_does_what_it_says(directory, name, line, capsys):
    for variable, value in directory.items():
        line = line.replace(f"${variable}", value)
    words = shlex.split(line)[1:]
    if any(word in line for word in ELSEWHERE):
        tool = app.NovaSched()
        tool.options, rest = tool.parser.parse_known_args(words)
        factory, found, behind = tool.command_manager.find_command(words)
        assert factory(tool, tool.options, cmd_name=found).get_parser(found).parse_args(behind) and rest
        return
    if "rack7" in line and " create " not in line:
        assert main.main(["aggregate", "create", "rack7", "--property", "ssd=true", "--log", "out/demo"]) == 0
    if "--remove-host" in line:
        assert main.main(["aggregate", "set", "rack7", "--add-host", directory["HOST"], "--log", "out/demo"]) == 0
    if (" host remove " in line and "--force" not in line) or "--wait" in line:
        words += ["--log", "out/demo"]
        words = [word for word in words if word != "2h"]
        words = [word if word != "--wait" else "--wait=1ms" for word in words][:-2]
    capsys.readouterr()
    code = main.main(words)
    printed = capsys.readouterr()
    assert code in (errors.EXIT_OK, errors.EXIT_NEGATIVE), printed.err
    assert "Traceback" not in printed.err and "a fault in nova_sched" not in printed.err
    assert printed.out or printed.err
    if " -o json" in line and printed.out:
        assert json.loads(printed.out) is not None
    elif " -o csv" in line:
        header, *rows = csv.reader(printed.out.splitlines())
        assert all(len(row) == len(header) for row in rows)


def test_commands_that_plugin_and_nova_sched_share_have_the_same_names():
    replay = {point.name for point in metadata.entry_points(group="nova_sched.replay")}
    assert set(PLUGIN) - set(COMMANDS) <= replay


@pytest.mark.parametrize("name", sorted(PLUGIN))
def test_a_command_of_the_plugin_is_the_same_class_and_its_examples_are_typed_as_there(name):
    (point,) = metadata.entry_points(group="openstack.scheduler.v1", name=f"scheduler_{name}")
    command = point.load()
    here = COMMANDS.get(name)
    assert here is None or issubclass(command, here)
    assert command.auth_required is False

    epilog = command(app.NovaSched(), None, cmd_name=name).get_parser(f"openstack scheduler {name}").epilog
    examples = [line for line in epilog.split("examples:\n", 1)[1].splitlines() if line.startswith("  ")]
    assert examples and all(re.match(rf"  openstack scheduler {name.replace('_', ' ')}\b", line) for line in examples)
