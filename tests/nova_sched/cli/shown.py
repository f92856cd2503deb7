"""The commands that the documentation shows with their output, and the comparison of that output with the real one.

A page shows the output on one cloud, and a test runs the command on another one. So :func:`shape` replaces what differs
from cloud to cloud by one sign for each kind, and lines that only some clouds have are listed in ``ONLY_SOMETIMES``.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
#: The pages whose ``console`` blocks are run.
PAGES = ("README.md", "docs/operating/replay.md")

#: What differs from cloud to cloud, in the order in which it is replaced.
VARYING = (
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"(req-)?\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
    (r"\b([0-9a-f]{32}|[0-9a-f]{16})\b", "DIGEST"),
    (r"sqlite:///[^\s,]+", "URL"),
    (r"\bhost-\d+(_numa\d+)?\b", "HOST"),
    (r"\bplay-\d+-\d+\b", "FLAVOR"),
    (r"\b(scheduler/)?scheduler-\d+\b", "SCHEDULER"),
    (r"\bcell\d+\b", "CELL"),
    (r"\b\w+Filter\b", "FILTER"),
    (r"FILTER(,\s+FILTER)+", "FILTER"),
    (r"\b(MEMORY_MB|VCPU|DISK_GB)\b", "CLASS"),
    (r"\bCLASS(\+CLASS)*( on (\d+|one|each of \d+) providers?)?", "CLASS"),
    (r"(?<![A-Za-z_])-?\d[\d.]*( %)?", "N"),
    (r"N(, N)+", "N"),
    (r"\b(change|host|instance|record)s\b", r"\1"),
    (r"CELL N:N(, CELL N:N)*", "CELL N:N"),
    (r"CELL: positions N to N(; CELL: positions N to N)*", "CELL: positions N to N"),
    (r"CLASS=N(,CLASS=N)*", "AMOUNTS"),
    (r": N [\w -]+(, N [\w -]+)*$", ": COUNTS"),
    (r"\bAMOUNTS|N CLASS(,? N CLASS)*", "AMOUNTS"),
    (r"-{2,}", "--"),
    (r"\s+", " "),
)

#: How lines begin that only some clouds have: a group, a race, a host with many instances, a second reason.
ONLY_SOMETIMES = re.compile(
    r"(asked|behind|so|attempt|refuse|came|member|last taken|the host reported|gone before|end built on) "
    r"|TIME (HOST UUID|CELL N) |TIME .*(claim ref|refused|not tried|CLASS)|ClaimReleased |HOST:? "
    r"|cell host fits |CELL HOST N CLASS|N fail, |N host refused |N of N instance|affinity N|CLASS N"
)


def shape(line: str) -> str:
    """A line without what differs from cloud to cloud."""
    for pattern, sign in VARYING:
        line = re.sub(pattern, sign, line)
    return line.strip()


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


def not_printed(shown: list[str], printed: str) -> list[str]:
    """The shown lines that the command did not print.

    A line is there if its shape is. Of a line that is cut (``…``) the beginning is compared, and of an indented line
    with something that varies only the first word, as the rest of it tells the story of one cloud.
    """
    shapes = {shape(line) for line in printed.splitlines()}
    return [line for line in shown if not _is_in(line, shapes)]


def _is_in(line, shapes):
    whole, cut, _ = line.partition("…")
    wanted = shape(whole.rsplit(" ", 1)[0] if cut else whole)
    if wanted in ("", "...") or wanted in shapes or ONLY_SOMETIMES.match(wanted):
        return True
    if cut and any(found.startswith(wanted) for found in shapes):
        return True
    varies = cut or wanted != re.sub(r"\s+", " ", whole.strip())
    first_words = {found.split(" ")[0] for found in shapes}
    return bool(line.startswith(" ") and varies and wanted.split(" ")[0] in first_words)
