"""Counts in texts agree with their nouns: ``1 host``, never ``1 hosts``.

A number and its noun in an f-string go through :func:`rpc_api.wording.number_of`. Left alone are constants, and a
number that a sentence calls too large ("wanted at most"), as it is more than one.
"""

import ast
import re
from pathlib import Path

import pytest

from rpc_api.wording import number_of, plural

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("nova_sched", "placement_api", "conductor", "compute_agent", "rpc_api")
#: What is counted in texts.
NOUNS = """agent aggregate allocation alternate answer bit build byte call case cast cell change character check claim
    class column conflict consumer copy cpu decision device difference digest engine entry event failure fault field
    file filter gap generation group host instance inventory law level line log member message metric migration name
    network node option part place pool port position process producer project provider query question reader record
    refusal request response retry round row run scheduler second seed selection sequence server service snapshot state
    step subnet task thing thread time topic trait tree tuple update uuid value warning weigher word worker
    write""".split()
PLURALS = "|".join(sorted((plural(noun) for noun in NOUNS), key=len, reverse=True))
#: A noun after a number, with some words between that are not of another part of the sentence.
NOT_BETWEEN = "of|and|or|in|on|at|to|has|have|is|are|the|a|use|uses"
COUNTED = re.compile(rf" (?:(?!(?:{NOT_BETWEEN})\b)[A-Za-z-]+ ){{0,3}}?({PLURALS})(?![\w/-])")
#: The same in a text for a logger.
IN_LOG = re.compile(rf"%d{COUNTED.pattern}")
#: Values of which a text says that they are too many, or which are the names of something.
NOT_COUNTS = re.compile(
    r"wanted (at most|1 to|one)|^ (names|fields of|reports|runs|writes|answers|places|casts|checks) "
)
#: What a number is called in this code.
IS_NUMBER = re.compile(
    r"len\(|sum\(|\bcount|\.(count|total|events|records|size|bytes)\b|\['|suffix|lost|hosts|agents|waiting|silent"
)
#: The first line of a refusal, as records of earlier versions have it: "0/1 hosts".
OLD_FORM = ("{hosts_total} hosts",)


def texts(source: str):
    """(Line, expression, text after it) of each value in an f-string that stands before a text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            whole = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
            for value, text in zip(node.values, node.values[1:], strict=False):
                if isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant):
                    yield value.lineno, ast.unparse(value.value), text.value, whole


def wrong_counts(source: str):
    """(Line, what) of each number that does not agree with its noun if it is one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from ((node.lineno, found[0]) for found in IN_LOG.finditer(node.value))
    for line, value, text, whole in texts(source):
        found = COUNTED.match(text)
        if found is None or re.fullmatch(r"(\w+\.)*[A-Z_0-9]+", value) or not IS_NUMBER.search(value):
            continue
        if "number_of(" in value or NOT_COUNTS.search(text) or "wanted at most" in whole:
            continue
        if (what := f"{{{value}}}{found[0]}") not in OLD_FORM:
            yield line, what


@pytest.mark.parametrize("package", PACKAGES)
def test_numbers_agree_with_their_nouns(package):
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, what in wrong_counts(path.read_text())
    ]
    assert not wrong, "\n".join(["write these with number_of of rpc_api.wording:", *wrong])


@pytest.mark.parametrize(
    "source, expected",
    [
        ('f"{len(found)} hosts"', ["{len(found)} hosts"]),
        ('f"{len(found)} lost hosts were found"', ["{len(found)} lost hosts"]),
        ('f"{counts["x"]} of them"'.replace('"x"', "'x'"), []),
        ('f"{MAX} hosts"', []),
        ('LOG.info("%s has %d new hosts", cell, count)', ["%d new hosts"]),
        ('f"{len(found)} bytes, wanted at most {MAX}"', []),
        ("f\"{number_of(len(found), 'host')} in the hosts\"", []),
        ('f"{len(found)} of 5 hosts"', []),
    ],
)
def test_the_search(source, expected):
    assert [what for _, what in wrong_counts(source)] == expected


@pytest.mark.parametrize(
    "count, words, text",
    [
        (0, ("host",), "0 hosts"),
        (1, ("host",), "1 host"),
        (2, ("host",), "2 hosts"),
        (1, ("query",), "1 query"),
        (3, ("query",), "3 queries"),
        (2, ("process",), "2 processes"),
        (2, ("array",), "2 arrays"),
        (1, ("host is", "hosts are"), "1 host is"),
        (7, ("host is", "hosts are"), "7 hosts are"),
    ],
)
def test_number_of(count, words, text):
    assert number_of(count, *words) == text
    assert number_of(1000 * count, *words, form=",").startswith(f"{1000 * count:,} ")
