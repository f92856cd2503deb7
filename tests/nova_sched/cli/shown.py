"""The commands that the documentation shows with their output, and the comparison of that output with the real one.

The commands of ``PAGES`` read a recorded log, ``docs/operating/demo.nslog``, so they print the same lines in every run.
A page leaves out what a run may change (versions, random pseudonyms, the size of a compressed file) in the same way as
what is too long: ``…`` is the rest of a line, and a line ``...`` is any number of lines. All other text must be equal.
"""

import contextlib
import io
import os
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from nova_sched.cli.main import main, replay

ROOT = Path(__file__).parents[3]
#: The pages whose ``console`` blocks are run.
PAGES = ("README.md", "docs/operating/replay.md", "docs/operating/daily.md")


def examples(page: str) -> list[tuple[str, list[str]]]:
    """(command, lines of output below it) of the ``console`` blocks of a page, in their order."""
    found = []
    for block in re.findall(r"(?ms)^```console\n(.*?)^```", (ROOT / page).read_text()):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def run(command: str, variables: dict[str, str]) -> tuple[int, str]:
    """Run a command of a page as a shell would; returns its exit code, and its stdout and stderr as one text.

    ``NAME=$(command)`` sets one of ``variables`` and prints nothing. ``export NAME=value`` sets one of the environment.
    """
    if setting := re.fullmatch(r"export (\w+)=(\"?)(.+)\2", command):
        os.environ[setting[1]] = setting[3]
        return 0, ""
    name, of_replay, words = re.fullmatch(r"(?:(\w+)=\$\()?nova-sched(-replay)? (.*?)\)?", command).groups()
    words = [re.sub(r"\$(\w+)", lambda found: variables[found[1]], word) for word in shlex.split(words)]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = (replay if of_replay else main)(words)
    if name:
        variables[name] = printed.getvalue().strip()
        return code, ""
    return code, printed.getvalue()


def difference(shown: Sequence[str], printed: str) -> str | None:
    """What a page shows and the command did not print, or the reverse; None if there is no difference."""
    return first_difference(shown, [line.rstrip() for line in printed.splitlines()], _is)


def first_difference(shown: Sequence[str], lines: Sequence[str], is_line: Callable[[str, str], bool]) -> str | None:
    """The first difference between the lines of a page, in which ``...`` is any lines, and those that were printed;
    ``is_line`` compares two of them."""
    position, anywhere = 0, False
    for wanted in shown:
        if wanted.strip() == "...":
            anywhere = True
            continue
        places = range(position, len(lines) if anywhere else min(position + 1, len(lines)))
        place = next((place for place in places if is_line(wanted, lines[place])), None)
        if place is None:
            return f"shows  {wanted!r}\nprints {lines[position] if position < len(lines) else 'no more lines'!r}"
        position, anywhere = place + 1, False
    if position < len(lines) and not anywhere:
        return f"shows  no more lines\nprints {lines[position]!r}"
    return None


def _is(wanted, line):
    beginning, cut, _ = wanted.partition("…")
    return line.startswith(beginning) if cut else line == wanted
