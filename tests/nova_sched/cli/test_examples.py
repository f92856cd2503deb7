"""Every worked example in the help of the replay tool's commands is run, on a played cloud, as it stands there."""

import shlex
from importlib import metadata

import pytest

from nova_sched.cli import app, main
from rpc_api import errors

COMMANDS = {one.name: one.load() for one in metadata.entry_points(group="nova_sched.replay")}
#: What makes the files that others read comes first.
ORDER = sorted(COMMANDS, key=lambda name: (name != "export", name))


def examples_of(command):
    """The lines of the section "examples" of a command's help."""
    lines = command.EPILOG.split("examples:\n", 1)[1].splitlines()
    return [line.strip() for line in lines if line.startswith("  ")]


EXAMPLES = [(name, line) for name in ORDER for line in examples_of(COMMANDS[name])]
#: Needs a broker, or a terminal of its own: its arguments are parsed.
ELSEWHERE = ("rabbit://", "redis://", "--replay 10", " -f")


@pytest.fixture(scope="module")
def directory(tmp_path_factory, played_cloud):
    """A directory in which ``out/demo`` is the output of a play; gives the variables that the examples name."""
    where, built = tmp_path_factory.mktemp("examples"), played_cloud.instance("built", attempts="2")
    (where / "out").mkdir()
    played_cloud.copy(where / "out" / "demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        patch.setenv("XDG_CACHE_HOME", str(where / "cache"))
        yield {
            "INSTANCE": built,
            "REQUEST": f"req-{built}",
            "HOST": next(row["host"] for row in played_cloud.rows if row["instance"] == built),
        }


def test_every_command_has_examples():
    assert {name for name, _ in EXAMPLES} == set(COMMANDS)
    assert all(line.startswith("nova-sched-replay ") for _, line in EXAMPLES)


@pytest.mark.parametrize("name, line", EXAMPLES)
def test_an_example_does_what_it_says(directory, name, line, capsys):
    for variable, value in directory.items():
        line = line.replace(f"${variable}", value)
    arguments = shlex.split(line)[1:]
    if any(one in line for one in ELSEWHERE):
        tool = app.NovaSchedReplay()
        options, rest = tool.parser.parse_known_args(arguments)
        tool.options = options
        factory, found, behind = tool.command_manager.find_command(rest)
        assert factory(tool, options, cmd_name=found).get_parser(found).parse_args(behind)
        return
    code = main.replay(arguments)
    said = capsys.readouterr()
    assert code in (errors.EXIT_OK, errors.EXIT_NEGATIVE), said.err
    assert said.out or name in ("export", "import", "diff")
    assert "Traceback" not in said.err
