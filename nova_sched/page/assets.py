"""The files of the page, read once."""

from hashlib import blake2b
from importlib import resources
from typing import NamedTuple

KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
INDEX = "index.html"


class Asset(NamedTuple):
    """A file: its bytes, its type, and an ETag that follows from the bytes."""

    body: bytes
    kind: str
    etag: str


def load() -> dict[str, Asset]:
    """Return name -> Asset of all files in ``static``."""
    found = {}
    for path in resources.files("nova_sched.page").joinpath("static").iterdir():
        ending = path.name.rpartition(".")[2]
        if ending in KINDS:
            body = path.read_bytes()
            found[path.name] = Asset(body, KINDS[ending], f'"{blake2b(body, digest_size=8).hexdigest()}"')
    return found
