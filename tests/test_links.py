"""Links of the documents: each file and each section to which one leads is there. Addresses elsewhere are only read."""

import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!!)\[[^\]\[]*\]\(<?([^)\s>]+)>?\)")
FENCED = re.compile(r"(?ms)^(```|~~~).*?^\1")
CODE = re.compile(r"(`+)[^`].*?\1", re.DOTALL)
#: Pages of Sphinx that take in a file from elsewhere -> that file.
TAKEN_IN = {"docs/contributor/guide.md": "CONTRIBUTING.md", "docs/contributor/architecture.md": "ARCHITECTURE.md"}


def documents() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return sorted(path for path in listed.splitlines() if (ROOT / path).is_file())


def prose(text: str) -> str:
    """A document without what is shown as it is typed."""
    return CODE.sub("", FENCED.sub("", text))


def anchors(path: Path) -> set[str]:
    """The anchors of the headings of a page, as a forge and MyST make them."""
    found: dict[str, int] = {}
    for heading in re.findall(r"(?m)^#{1,6} +(.*?) *#*$", FENCED.sub("", path.read_text())):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {f"{slug}-{number}" if number else slug for slug, count in found.items() for number in range(count + 1)}


def faults(document: str, text: str | None = None):
    """A sentence for each link of a document that leads nowhere."""
    path = ROOT / document
    for target in LINK.findall(prose(path.read_text() if text is None else text)):
        parts = urlsplit(target)
        if parts.scheme:
            if parts.scheme not in ("https", "http", "mailto") or not (parts.netloc or parts.scheme == "mailto"):
                yield f"{target} is not an address"
            continue
        file = (path.parent / parts.path).resolve() if parts.path else path
        if not file.exists():
            yield f"there is no {parts.path}"
        elif ROOT not in (file, *file.parents):
            yield f"{parts.path} is outside of the repository"
        elif parts.fragment and (file.suffix != ".md" or parts.fragment not in anchors(file)):
            yield f"{parts.path or document} has no section #{parts.fragment}"


@pytest.mark.parametrize("document", documents())
def test_links_lead_somewhere(document):
    assert not list(faults(document))


@pytest.mark.parametrize(
    "text, fault",
    [
        ("[x](nowhere.md)", "there is no nowhere.md"),
        ("[x](README.md#nowhere)", "README.md has no section #nowhere"),
        ("[x](#nowhere)", "README.md has no section #nowhere"),
        ("[x](ftp://host/file)", "ftp://host/file is not an address"),
        ("[x](https:file)", "https:file is not an address"),
        ("[x](../outside.md)", "there is no ../outside.md"),
        ("[x](README.md#two-commands) [x](docs/index.md) [x](https://docs.openstack.org/nova)", None),
        ("`[x](nowhere.md)` and\n```\n[x](nowhere.md)\n```\n", None),
    ],
)
def test_the_check_sees_a_broken_link(text, fault):
    assert list(faults("README.md", text)) == ([fault] if fault else [])


def test_pages_that_are_taken_in_are_there():
    for page, file in TAKEN_IN.items():
        assert f"../../{file}" in (ROOT / page).read_text() and (ROOT / file).exists()


def test_every_page_of_the_docs_is_in_a_table_of_contents():
    named = set()
    for page in (path for path in documents() if path.startswith("docs/")):
        for block in re.findall(r"(?ms)^```\{toctree\}\n(.*?)^```", (ROOT / page).read_text()):
            entries = [line.strip() for line in block.splitlines() if line.strip() and not line.startswith(":")]
            found = [path for entry in entries for path in (ROOT / page).parent.glob(f"{entry}.*")]
            named |= {str(path.relative_to(ROOT).with_suffix("")) for path in found}
    pages = {path.removesuffix(".md") for path in documents() if path.startswith("docs/")}
    assert pages - named == {"docs/index"}
