"""The reference in docs/reference is what the code says today."""

import re
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
# The generator is a program, whose modules are beside it.
sys.path.insert(0, str(FOLDER))
import as_markdown  # noqa: E402
import generate as GENERATOR  # noqa: E402


@pytest.mark.parametrize("page", GENERATOR.PAGES)
def test_the_reference_is_what_the_code_says(page):
    path = FOLDER / page
    written = path.read_text() if path.exists() else ""
    is_current = written == GENERATOR.PAGES[page]().rstrip() + "\n"
    assert is_current, f"docs/reference/{page} is not what the code says; run `{as_markdown.COMMAND}` and commit it"


def test_an_option_that_there_is_not_is_named():
    with pytest.raises(SystemExit, match=r"no option \[metrics\] nothing"):
        list(GENERATOR.option_rows(["[metrics] nothing"]))


@pytest.mark.parametrize(
    "text, section, name",
    [("x", "filter_scheduler", "x"), ("[metrics] x", "metrics", "x"), ("[cell:NAME] log", "cell:NAME", "log")],
)
def test_options_are_of_the_filter_scheduler_unless_said(text, section, name):
    assert GENERATOR.named_option(text) == (section, name)


def test_an_option_is_named_with_its_section():
    """In the pages for operators and in the help of the commands; [DEFAULT] may mean Nova's."""
    sections = {
        name: set(options) for name, (_, options) in GENERATOR.options_by_section().items() if name != "DEFAULT"
    }
    known = set().union(*sections.values())
    root = FOLDER.parent.parent
    wrong = [
        (path.name, section, option)
        for path in (*(root / "docs" / "operating").rglob("*.md"), *(root / "nova_sched" / "cli").glob("*.py"))
        for section, option in re.findall(r"\[(\w+)\]\s+([a-z]+_[a-z_]+)", path.read_text())
        if option in known and section in sections and option not in sections[section]
    ]
    assert wrong == []
