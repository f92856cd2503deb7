"""The file of a support bundle: a tar.gz with a manifest, bounded in size and time."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import NamedTuple

from rpc_api.clock import SYSTEM
from rpc_api.wording import number_of

MANIFEST = "manifest.json"
#: A text is cut at this size: a log keeps its end, everything else its beginning.
TEXT_MAX = 4 * 1024 * 1024
MEGABYTE = 1_000_000


class Entry(NamedTuple):
    """One file of the bundle, or one that is missing: ``problem`` says why, in one sentence."""

    name: str
    size: int
    sha256: str | None
    seconds: float
    problem: str | None


class Contents:
    """Collects files in a directory, and writes them. Texts are scrubbed of the ``secrets`` first."""

    def __init__(self, folder: Path, secrets, size_max: int, seconds_max: float, clock=SYSTEM):
        self._folder = folder
        self._secrets = secrets
        self._size_max = size_max
        self._clock = clock
        self._began = clock.monotonic()
        self._ends = self._began + seconds_max
        self.entries = []

    @property
    def seconds_left(self) -> float:
        """The time that is left for the whole bundle, at least 0."""
        return max(0.0, self._ends - self._clock.monotonic())

    @property
    def size_left(self) -> int:
        """The bytes that further files may have, at least 0."""
        return max(0, self._size_max - sum(entry.size for entry in self.entries))

    def now(self) -> float:
        """Seconds since the bundle was begun."""
        return self._clock.monotonic() - self._began

    def text(
        self, name: str, text: str, began: float | None = None, problem: str | None = None, keep_end: bool = False
    ) -> None:
        """Add a text. ``began``: when the work for it began, as :meth:`now`."""
        text = self._secrets.scrubbed(text)
        limit = min(TEXT_MAX, self.size_left)
        packed = text.encode(errors="backslashreplace")
        if len(packed) > limit:
            cut = f"cut: it had {number_of(len(packed), 'byte')}, of which {limit} are here"
            packed = packed[-limit:] if keep_end and limit else packed[:limit]
            problem = f"{problem}; {cut}" if problem else cut
        self._add(name, packed, began, problem)

    def json(self, name: str, value, began: float | None = None, problem: str | None = None) -> None:
        """Add a value as JSON."""
        self.text(name, json.dumps(value, indent=2, default=str) + "\n", began, problem)

    def file(self, name: str, path: Path, began: float | None = None, problem: str | None = None) -> None:
        """Add a file as it is: one without secrets, such as an export. It is left out if it is too large."""
        size = path.stat().st_size
        if size > self.size_left:
            self.missing(
                name, f"it has {number_of(size, 'byte')}, and {self.size_left} are left; raise --megabytes", began
            )
            return
        self._add(name, path.read_bytes(), began, problem)

    def missing(self, name: str, problem: str, began: float | None = None) -> None:
        """Note a file that the bundle does not have, and why."""
        self.entries.append(Entry(name, 0, None, self._since(began), self._secrets.scrubbed(problem)))

    def _add(self, name, packed, began, problem):
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(packed)
        digest = hashlib.sha256(packed).hexdigest()
        told = None if problem is None else self._secrets.scrubbed(problem)
        self.entries.append(Entry(name, len(packed), digest, self._since(began), told))

    def _since(self, began):
        return 0.0 if began is None else round(self.now() - began, 3)

    def write(self, path: Path, top: str, facts: dict) -> int:
        """Write the bundle with its manifest first, and return its size. Only its owner may read it."""
        manifest = {**facts, "seconds": round(self.now(), 3), "files": [entry._asdict() for entry in self.entries]}
        packed = self._secrets.scrubbed(json.dumps(manifest, indent=2, default=str) + "\n").encode()
        part = path.with_name(f"{path.name}.part")
        try:
            with open(part, "wb", opener=private) as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
                info = tarfile.TarInfo(f"{top}/{MANIFEST}")
                info.size, info.mode, info.mtime = len(packed), 0o600, self._clock.now_ns() // 10**9
                archive.addfile(info, io.BytesIO(packed))
                for entry in self.entries:
                    if entry.sha256 is not None:
                        archive.add(self._folder / entry.name, f"{top}/{entry.name}")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        return path.stat().st_size


def private(path, flags):
    """Open a file that only its owner may read."""
    return os.open(path, flags, 0o600)
