"""Every example in the help of the replay tool's commands is run on a played cloud.

It prints the form that it asks for, or a line of fixed words that the documentation shows for its command.
"""

import csv
import json
import re
import shlex
from importlib import metadata

import pytest

from nova_sched.cli import app, main
from rpc_api import errors
from tests.nova_sched.cli.shown import PAGES, examples

COMMANDS = {point.name: point.load() for point in metadata.entry_points(group="nova_sched.replay")}
#: What makes the files that others read comes first.
ORDER = sorted(COMMANDS, key=lambda name: (name != "export", name))


def examples_of(command):
    """The lines of the section "examples" of a command's help."""
    lines = command.EPILOG.split("examples:\n", 1)[1].splitlines()
    return [line.strip() for line in lines if line.startswith("  ")]


EXAMPLES = [(name, line) for name in ORDER for line in examples_of(COMMANDS[name])]


def fixed_words(line):
    """The words of a heading or of a sentence; a line with a figure differs from cloud to cloud and has none."""
    return () if re.search(r"\d", line) else tuple(line.partition("…")[0].split())


#: The fixed words of the lines that the pages show for a command.
SHOWN = {
    name: {
        words
        for page in PAGES
        for command, lines in examples(page)
        if f" {name}" in command
        for words in map(fixed_words, lines)
        if words not in ((), ("...",))
    }
    for name in COMMANDS
}
#: What no page shows: words of an example, and a pattern for what it prints.
PRINTS = {
    " tail ": r"(?m)^\S+Z cell\d +\d+\.\d+ +[A-Z]\w+ ",
    " --no-redact ": r"\d+ events in \d+ records of cell1 0:20, \d+ bytes\nnot redacted: ",
    " explain ": r"^(chosen host-\d+: )?\d+/16 hosts(.|\n)*\n  end      built: built on host-\d+\n$",
    " --by az ": r"^\d+ more of 2 VCPU, 4096 MEMORY_MB fit, on \d+ of \d+ hosts\n\naz +fits +hosts_with_room +hosts\n",
    " history ": r"(?m)^(consumer|provider) [0-9a-f-]{36} (.|\n)*Z cell\d \d+ .* by \S+",
    " import ": r"^(cell\d: \d+ records, positions 0 to \d+, in sqlite:///out/demo/again\.cell\d\.db\n){3}$",
    " --interval ": r"^time  events  decisions  selected  refused ",
    " quarantine": r"^cell  position ",
    " shadow": r"^no shadow has compared a request\n$",
}
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
    if any(word in line for word in ELSEWHERE):
        tool = app.NovaSchedReplay()
        options, rest = tool.parser.parse_known_args(arguments)
        tool.options = options
        factory, found, behind = tool.command_manager.find_command(rest)
        assert factory(tool, options, cmd_name=found).get_parser(found).parse_args(behind)
        return
    code = main.replay(arguments)
    printed = capsys.readouterr()
    assert code in (errors.EXIT_OK, errors.EXIT_NEGATIVE), printed.err
    assert "Traceback" not in printed.err
    if " -o json" in line:
        assert json.loads(printed.out) is not None
    elif " -o ndjson" in line:
        assert all(json.loads(row)["type"] for row in printed.out.splitlines())
    elif " -o csv" in line:
        header, *rows = csv.reader(printed.out.splitlines())
        assert rows and all(len(row) == len(header) for row in rows)
    elif " -o template" in line:
        assert all(len(row.split()) == 3 for row in printed.out.splitlines())
    elif pattern := next((PRINTS[words] for words in PRINTS if words in line), None):
        assert re.search(pattern, printed.out), printed.out
    else:
        lines = [tuple(line.split()) for line in (printed.out + printed.err).splitlines()]
        assert any(line[: len(words)] == words for words in SHOWN[name] for line in lines), printed
        assert printed.out or name in ("export", "import", "diff")
