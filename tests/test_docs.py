"""The documents: each design decision has its date and status, and is in the index."""

import re
from pathlib import Path

import pytest

DESIGN = Path(__file__).resolve().parent.parent / "docs" / "design"
PAGES = sorted(DESIGN.glob("0*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_design_decision_has_its_date_and_status_and_is_in_the_index(path):
    title, empty, dated, *_ = path.read_text().split("\n")
    number = path.stem[:4]
    assert title.startswith(f"# {number}: ") and not empty
    found = re.fullmatch(r"Date: (\d{4}-\d\d-\d\d)\. Status: (accepted|open|proposed|replaced by \d{4})\.", dated)
    assert found, f"{path.name}: the third line is {dated!r}, wanted 'Date: YYYY-MM-DD. Status: accepted.'"
    row = f"| {number} | [{title[8:]}]({path.name}) | {found[1]} | {found[2]} |"
    assert row in (DESIGN / "index.md").read_text().split("\n"), f"docs/design/index.md lacks the row {row}"
