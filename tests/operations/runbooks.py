"""The runbooks of docs/operating/runbooks: their form, their commands, and what these should print."""

import re
from pathlib import Path
from typing import NamedTuple

from tests.nova_sched.cli.shown import first_difference

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "operating" / "runbooks"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.stem != "index")
SECTIONS = ("What is seen", "What it means", "What to type", "When it is over")
TYPED, OVER = SECTIONS[2:]
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Step(NamedTuple):
    """A command of a page, the exit codes with which it may end (None: those of its section), and the lines that it
    should print. ``…`` in a line is any text, and a line ``...`` any number of lines."""

    section: str
    command: str
    code: int | None
    shown: tuple[str, ...]


def sections_of(path: Path) -> dict[str, str]:
    """Title -> text of the sections of a page, in their order."""
    _, *parts = re.split(r"(?m)^## (.*)$", path.read_text())
    return dict(zip(parts[::2], parts[1::2], strict=True))


def steps_of(path: Path) -> list[Step]:
    """The commands of a page."""
    found = []
    for section, text in sections_of(path).items():
        for block in re.findall(r"(?ms)^```console\n(.*?)^```", text):
            for line in block.splitlines():
                if line.startswith("$ "):
                    command, _, code = line[2:].partition("  # exit code ")
                    found.append(Step(section, command, int(code) if code else None, ()))
                else:
                    found[-1] = found[-1]._replace(shown=(*found[-1].shown, line))
    return found


def difference(shown: tuple[str, ...], printed: str) -> str | None:
    """What a page shows and a command did not print, or the reverse; None if there is no difference. Columns may have
    another width."""
    lines = [line for line in COLOURS.sub("", printed).splitlines() if line.strip()]
    return first_difference([line.strip() for line in shown], lines, _is)


def _is(wanted, line):
    pattern = r"\s+".join(re.escape(word).replace("…", ".*") for word in wanted.split())
    return re.fullmatch(pattern, line.strip()) is not None
