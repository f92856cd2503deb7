"""What a check of a deployment finds."""

from typing import NamedTuple

OK, WARN, FAIL = "ok", "warn", "fail"
#: Number of names that a finding lists.
NAMED = 5
#: Codes of set-aside events that a newer version wrote.
NEWER = ("newer-version", "unknown-type", "unknown-format")


class Finding(NamedTuple):
    """A finding: the subject (a cell, or "here"), the check, its state, what was found, and what to do ("":
    nothing)."""

    subject: str
    check: str
    state: str
    found: str
    to_do: str = ""


def some(names):
    """The first of some texts, and how many more there are."""
    names = sorted(names)
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
