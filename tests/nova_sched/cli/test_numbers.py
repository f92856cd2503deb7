"""Options that are whole numbers: every command checks them in the same way."""

import pytest

from nova_sched.cli.main import main, replay
from rpc_api.levels import LEVEL

DEMO = "docs/operating/demo.nslog"
PROGRAMS = {"nova-sched": main, "nova-sched-replay": replay}
#: Each command with a number: its words, the option, and the least number or the range.
COMMANDS = [
    ("nova-sched host list", "--limit", 1),
    ("nova-sched conflicts", "--limit", 1),
    ("nova-sched usage", "--limit", 1),
    ("nova-sched fragmentation", "--limit", 1),
    ("nova-sched-replay state", "--limit", 1),
    ("nova-sched-replay instances", "--limit", 1),
    ("nova-sched dry-run 1:512", "--count", 1),
    ("nova-sched dry-run 1:512", "--alternates", 0),
    ("nova-sched dry-run 1:512", "--seed", 0),
    ("nova-sched smoke 1:512", "--count", 1),
    ("nova-sched-replay capacity 1:512", "--top", 0),
    ("nova-sched-replay stats", "--top", 1),
    ("nova-sched-replay replay", "--show", 0),
    ("nova-sched-replay shadow", "--show", 0),
    ("nova-sched-replay explain be1747a2", "--attempt", 1),
    ("nova-sched-replay show be1747a2", "--attempt", 1),
    ("nova-sched-replay why-not be1747a2 host-1", "--attempt", 1),
    ("nova-sched import", "--threads", range(1, 65)),
    ("nova-sched import", "--rounds", 1),
    ("nova-sched page", "--port", range(65536)),
    ("nova-sched support-bundle", "--records", 1),
    ("nova-sched create-log cell1 sqlite:///none.db", "--level", range(1, LEVEL + 1)),
    ("nova-sched trim cell1 sqlite:///none.db", "--keep", 1),
]

#: The same for numbers with a decimal point: the words, the option, and what is wanted.
DECIMALS = [
    ("nova-sched smoke 1:512", "--timeout", "above 0"),
    ("nova-sched support-bundle", "--seconds", "above 0"),
    ("nova-sched support-bundle", "--megabytes", "above 0"),
    ("nova-sched create-log cell1 sqlite:///none.db", "--wait", "of 0 or more"),
    ("nova-sched-replay top", "--replay", "above 0 and up to 1,000,000"),
]


def said(capsys, words, *more):
    """(Exit code, output, errors) of a command line."""
    program, *rest = words.split()
    code = PROGRAMS[program]([*rest, *more])
    return code, *capsys.readouterr()


@pytest.mark.parametrize("words, option, numbers", COMMANDS)
def test_what_is_not_a_number_in_the_range_is_refused(capsys, words, option, numbers):
    is_range = isinstance(numbers, range)
    least = numbers.start if is_range else numbers
    said_range = f"{least} to {numbers[-1]}" if is_range else f"{least} or more"
    for text, wanted in (
        (str(least - 1), f"{option} is {least - 1}, wanted {said_range}; see nova-sched"),
        ("-7", f"{option} is -7, wanted {said_range}; see nova-sched"),
        ("many", f"{option} is 'many', wanted a whole number of {said_range}; see nova-sched"),
        ("1.5", f"{option} is '1.5', wanted a whole number of {said_range}; see nova-sched"),
        ("9" * 5000, f"{option} is '{'9' * 30}...', wanted a whole number of {said_range}; see nova-sched"),
        *(
            [(str(numbers.stop), f"{option} is {numbers.stop}, wanted {said_range}; see nova-sched")]
            if is_range
            else ()
        ),
    ):
        code, out, err = said(capsys, words, option, text)
        assert (code, out) == (2, "") and wanted in err and err.count("\n") == 1, text


@pytest.mark.parametrize("words, option, wanted", DECIMALS)
def test_what_is_no_amount_is_refused(capsys, words, option, wanted):
    for text in ("-1", "nan", "inf", "many", "9" * 400, *(() if "or more" in wanted else ("0",))):
        code, out, err = said(capsys, words, f"{option}={text}")
        shown = text if len(text) <= 30 else f"{text[:30]}..."
        assert (code, out) == (2, "") and f"{option} is '{shown}', wanted a number {wanted}; see nova-sched" in err, (
            text
        )


@pytest.mark.parametrize("words", [words for words, option, _ in COMMANDS if option == "--limit"])
def test_a_limit_above_the_number_of_rows_shows_all(capsys, words):
    logs = ("--log", DEMO, "--no-cache", "-o", "csv")
    _, everything, _ = said(capsys, words, *logs)
    code, out, _ = said(capsys, words, *logs, "--limit", "9" * 18)
    assert code == 0 and out == everything
    assert len(said(capsys, words, *logs, "--limit", "1")[1].splitlines()) == 2
