"""Every command that the page of daily work shows is run, and prints what the page shows; each command has its row."""

import re
from importlib import metadata

import pytest

from rpc_api import errors
from tests.nova_sched.cli.shown import ROOT, difference, examples, run
from tests.nova_sched.cli.test_walk import directory  # noqa: F401 (a fixture)

PAGE = "docs/operating/daily.md"
#: Words of the commands that end with a negative finding on purpose.
NEGATIVE = (
    "host drain",
    "host remove",
    "compute-9",
    "--add-host compute-2",
    "aggregate delete",
    "--count 100",
    "$NOHOST",
)


def test_the_page_shows_what_its_commands_print(directory):  # noqa: F811
    variables, found = {}, []
    for command, shown in examples(PAGE):
        code, printed = run(command, variables)
        negative = any(words in command for words in NEGATIVE)
        assert code == (errors.EXIT_NEGATIVE if negative else errors.EXIT_OK), f"{command}\n{printed}"
        if different := difference(shown, printed):
            found.append(f"{command}\n{different}")
        assert "=$(" in command or command.startswith("export ") or any(line.strip("… .") for line in shown), command
    assert not found, "\n\n".join(found)


@pytest.mark.parametrize(
    "name",
    sorted(
        point.name.replace("_", " ")
        for point in metadata.entry_points(group="openstack.scheduler.v1")
        if point.value.split(":")[1] not in ("Explain", "WhyNot", "Show", "History", "Instances", "Capacity", "Stats")
    ),
)
def test_each_command_is_on_the_page(name):
    words = name.removeprefix("scheduler ")
    page = (ROOT / PAGE).read_text()
    assert re.search(rf"nova-sched {words}\b", page) or f"`{words}`" in page or f"`{words.split()[-1]}`" in page
