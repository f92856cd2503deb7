"""What all pages of the reference need: texts and tables as Markdown."""

import inspect
import re

COMMAND = "make reference"
GENERATED = f"<!-- Written by `{COMMAND}` from the code: fix it there. -->"


def prose(text: str) -> str:
    """A docstring as Markdown."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", inspect.cleandoc(text or ""))
    return text.replace("``", "`").replace("|", "\\|")


def one_line(text: str) -> str:
    """The same in a cell of a table."""
    return " ".join(prose(text).split())


def table(head: tuple, rows) -> list[str]:
    """Lines of a table; none without rows."""
    rows = [*rows]
    if not rows:
        return []
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines] + [""]


def shown(value) -> str:
    """A default."""
    if value in (None, "", []):
        return "(none)" if value != "" else "(empty)"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
