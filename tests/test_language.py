"""Plain English: no text of the project contains a phrase that docs/language.md forbids."""

import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = "docs/language.md"
DOCUMENTS = (".md", ".rst", ".yaml", ".yml", ".txt", ".sh", ".toml", ".conf", ".sample", ".gabbi")
#: Files that quote forbidden phrases: the list itself, and this test.
QUOTING = (PAGE, "tests/test_language.py")


def forbidden() -> dict[str, str]:
    """Each phrase of the page's list, with what to write instead."""
    listed = (ROOT / PAGE).read_text().partition("<!-- searched: begin -->")[2].partition("<!-- searched: end -->")[0]
    found = {}
    for item in re.findall(r"^- (.*(?:\n  .*)*)", listed, re.MULTILINE):
        phrases, instead = re.fullmatch(r"((?:`[^`]+`(?:,\s+)?)+):\s+(.*)", item, re.DOTALL).groups()
        for phrase in re.findall(r"`([^`]+)`", phrases):
            assert phrase.lower() not in found, f"{PAGE} lists {phrase!r} twice"
            found[phrase.lower()] = " ".join(instead.split())
    return found


FORBIDDEN = forbidden()
WORDS = "|".join(re.escape(phrase).replace(r"\ ", r"[\s#]+") for phrase in sorted(FORBIDDEN, key=len, reverse=True))
PATTERN = re.compile(rf"(?<![\w-])(?:{WORDS})(?![\w-])", re.IGNORECASE)


def texts_of(source: str) -> str:
    """The source of a module with the code blanked out: what is left are its comments and strings, at their places."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    # Code separates two texts, a line break between two comments or two parts of a string does not.
    kept = [character if character.isspace() else "\0" for character in source]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (tokenize.COMMENT, tokenize.STRING):
            continue
        begin, end = (starts[line - 1] + column for line, column in (token.start, token.end))
        text = source[begin:end]
        if token.type == tokenize.STRING:
            opening = re.match(r"[a-zA-Z]*('''|\"\"\"|'|\")", text)
            quote = len(opening[1])
            inner = text[opening.end() : -quote]
            if "f" in opening[0].lower():
                inner = re.sub(r"\{[^{}]*\}", lambda field: "\0" * len(field[0]), inner)
            # "\n" in a string is two characters; neither is part of a word.
            inner = re.sub(r"\\.", "  ", inner)
            text = " " * opening.end() + inner + " " * quote
        kept[begin:end] = text
    return "".join(kept)


def findings(path: str, text: str):
    """(line, phrase) of each forbidden phrase in a text; of a Python module only its comments and strings count."""
    if path.endswith(".py"):
        text = texts_of(text)
    for match in PATTERN.finditer(text):
        phrase = " ".join(match[0].replace("#", " ").split()).lower()
        if phrase.startswith(("is no ", "are no ")) and re.search(
            r"\bthere[\s#]+$", text[: match.start()], re.IGNORECASE
        ):
            continue  # "there is no file" is plain English, "it is no file" is not.
        yield text.count("\n", 0, match.start()) + 1, phrase


def searched() -> list[str]:
    """Every file of the project that a person reads."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return sorted(
        path
        for path in listed.splitlines()
        if (path.endswith((".py", *DOCUMENTS)) or path.startswith("devstack/") or path == "Makefile")
        and path not in QUOTING
        and (ROOT / path).is_file()
    )


@pytest.mark.parametrize("path", searched())
def test_a_file_is_plain_english(path):
    wrong = [
        f"{path}:{line}: {phrase!r}; write: {FORBIDDEN[phrase]}"
        for line, phrase in findings(path, (ROOT / path).read_text())
    ]
    assert not wrong, "\n".join([f"phrases that {PAGE} forbids:", *wrong])


@pytest.mark.parametrize(
    "text, expected",
    [
        ("# Mend it.\n", [(1, "mend")]),
        ('"""It is\n    told."""\n', [(1, "is told")]),
        ("# It is no\n# number.\n", [(1, "is no number")]),
        ('x = ("it is "\n     "told")\n', [(1, "is told")]),
        ('x = f"{mend} stands\\nin"\n', [(1, "stands in")]),
        # No false alarms: names in the code, parts of words, texts that are apart.
        ("mend = speaks(anew)\n", []),
        ("# There is\n# no file\n", []),
        ("# amends, commend, re-anew, is not told\n", []),
        ('x = ["it is", "told"]\n', []),
        ('x = f"{mend(1)}"\n', []),
    ],
)
def test_the_search(text, expected):
    assert list(findings("module.py", text)) == expected


def test_the_list_is_read_from_the_page():
    assert FORBIDDEN["mend"] == "fix" and len(FORBIDDEN) > 50
