"""The words of every example in the help of every command are accepted, and names may come after options."""

import re
import shlex
from importlib import metadata

import pytest

from nova_sched.cli import app, main
from nova_sched.cli.command import parsed

TOOLS = {"nova-sched": app.NovaSched, "nova-sched-replay": app.NovaSchedReplay}


def command_of(tool, words):
    """(The parser of the command that the words begin with, as the tool makes it, the words after its name)."""
    tool.options, rest = tool.parser.parse_known_args(words)
    factory, name, behind = tool.command_manager.find_command(rest if rest and rest[0][0] != "-" else words)
    parser = factory(tool, tool.options, cmd_name=name).get_parser(name)
    parser.error = pytest.fail
    return parser, behind


def examples():
    """The examples of all commands; one that goes on in the next line is one example, what is after two blanks is a
    remark."""
    for tool in TOOLS.values():
        for point in metadata.entry_points(group=tool.COMMANDS):
            parser = point.load()(tool(), None, cmd_name=point.name).get_parser(point.name)
            for part in (parser.epilog or "").split("examples:\n")[1:]:
                text = re.sub(r"\\\n\s*", "", part.partition("\n\n")[0])
                lines = (line.strip() for line in text.splitlines() if line.startswith("  nova-sched"))
                yield from (line.partition("  ")[0] for line in lines)


EXAMPLES = sorted(set(examples()))


@pytest.mark.parametrize("line", EXAMPLES)
def test_the_words_of_an_example_are_accepted(line):
    program, *words = shlex.split(line)
    if words[:1] == ["replay"]:
        program, words = "nova-sched-replay", words[1:]
    parser, behind = command_of(TOOLS[program](), words)
    assert parsed(parser, behind)


def test_the_commands_with_examples():
    assert len(EXAMPLES) > 100 and any(" authority " in line for line in EXAMPLES)


@pytest.mark.parametrize(
    "words, names, wanted",
    [
        (["diff", "first", "last", "--hosts-only", "host-1"], "hosts", ["host-1"]),
        (["diff", "-15m", "--exit-code", "now", "a", "--hosts-only", "b"], "hosts", ["a", "b"]),
        (["diff", "first", "last"], "hosts", []),
        (["state", "a", "--limit", "5", "b"], "hosts", ["a", "b"]),
    ],
)
def test_names_after_options(words, names, wanted):
    parser, behind = command_of(app.NovaSchedReplay(), words)
    assert getattr(parsed(parser, behind), names) == wanted


def test_what_is_not_optional_is_asked_for(capsys):
    assert main.replay(["diff"]) == 2
    assert "required: A, B;" in capsys.readouterr().err
