"""Check a snapshot that comes in parts, without keeping most of its bytes."""

from hashlib import blake2b
from typing import Any

import msgpack

from nova_sched.projection.snapshot import MAX_HEAD_BYTES, PROOF_BYTES_MAX, Head, damaged, head_in, split
from rpc_api import errors


class Received:
    """A snapshot that comes in parts, of which only the two ends are kept, and whether they are the bytes that were
    made."""

    def __init__(self) -> None:
        self._begin = b""
        #: The end of what came, which has the proof.
        self._end = b""
        self._parts: tuple[Any, ...] | None = None
        self._hash: Any = None

    def add(self, content: bytes) -> None:
        """The next part comes. Raises nothing: :meth:`head` does."""
        if self._hash is not None:
            self._hash.update(content)
            self._end = (self._end + content)[-PROOF_BYTES_MAX:]
            return
        self._begin += content
        if len(self._begin) >= MAX_HEAD_BYTES:
            self._open()

    def _open(self) -> None:
        """Read the head."""
        try:
            self._parts, body = split(self._begin)
        except errors.UnknownSchema:
            self._parts, body = None, b""
        self._hash = blake2b(b"" if self._parts is None else msgpack.packb(self._parts[2:6]), digest_size=16)
        self._hash.update(body)
        self._end = body[-PROOF_BYTES_MAX:]

    def head(self) -> Head:
        """The head, when all parts came: raises as :func:`nova_sched.projection.snapshot.check`."""
        if self._hash is None:
            self._open()
        if self._parts is None:
            self._parts, _ = split(self._begin)  # raises
        if self._hash.hexdigest() != self._parts[6]:
            raise damaged(head_in(self._parts, b""))
        return head_in(self._parts, self._end)
