"""The form of the output has the same options in all commands: ``-o``, and ``-f`` as in python-openstackclient."""

import json

import pytest

from nova_sched.cli.main import main, replay

DEMO = "docs/operating/demo.nslog"
INSTANCE = "be1747a2-5362-56ca-a2e5-189d60c8f760"
COMMANDS = {
    main: ["service list", "host list", "aggregate list", "dry-run 1:512", "conflicts", "usage", "trend"],
    replay: [
        "state",
        "instances",
        f"explain {INSTANCE}",
        f"show {INSTANCE}",
        f"why-not {INSTANCE} host-1",
        f"history {INSTANCE}",
        "capacity 1:512",
        "stats",
        "doctor",
        "quarantine",
        "diff cell1:1 cell1:2",
    ],
}


@pytest.mark.parametrize(
    "program, words", [(program, words) for program, commands in COMMANDS.items() for words in commands]
)
def test_json_by_each_name_of_the_option(capsys, program, words):
    answers = []
    for option in ("-o", "-f", "--output", "--format"):
        assert program([*words.split(), "--log", DEMO, "--no-cache", option, "json"]) in (0, 1)
        answers.append(json.loads(capsys.readouterr().out))
    assert len({json.dumps(answer) for answer in answers}) == 1


def test_tail_follows_with_f(capsys):
    assert replay(["tail", "cell1:1:2", "--log", DEMO, "--format", "ndjson"]) == 0
    assert all(json.loads(line) for line in capsys.readouterr().out.splitlines())
