"""The last position that any worker on this machine acknowledged, in a small file that all of them share.

A client may write through one worker and read through another one. The reading worker waits until it has folded as far
as the other one had when it answered. The file is read and written, and not mapped into memory: a process is killed
silently when it touches a mapped page that a full file system, or a shorter file, does not have.
"""

import hashlib
import logging
import os
import struct
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from placement_api.slots import SLOTS, keep, open_file, reserve, take
from rpc_api import errors

LOG = logging.getLogger(__name__)

_SLOT_BYTES, _WORD = 16, struct.Struct("=q")
_BYTES = SLOTS * _SLOT_BYTES
_TAG, _POSITION = 0, 1


class SharedPositions:
    """The positions of one log. Each worker writes a slot of its own, and reads all slots. A slot is free again when
    its process has ended, as the lock on it is gone then; its position stays valid.

    A slot is the tag of an epoch and a position, each written as one word. UsageError if the file cannot be used."""

    def __init__(self, directory: Path, url: str):
        name = hashlib.sha256(url.encode()).hexdigest()[:32]
        self._path = directory / f"placement-{name}.positions"
        self._file = open_file(self._path)
        self._slot = take(self._file)
        reserve(self._file, self._path, _BYTES)
        # (The other one only appends.)
        self._words = open(self._path, "r+b", buffering=0)
        #: Of two positions of this worker the later one stays.
        self._lock = threading.Lock()
        #: The epoch that was asked for last, all bytes before that, and what came out.
        self._seen: tuple[str | None, bytes, int] = (None, b"", -1)

    def acknowledge(self, epoch: str, position: int) -> None:
        """Everything up to a position of a log may be known to a client from now on. NovaSchedError if the others
        cannot be told."""
        tag = _tag_of(epoch)
        try:
            with self._lock:
                known, before = struct.unpack("=qq", self._read(self._slot * _SLOT_BYTES, _SLOT_BYTES))
                if known != tag:
                    # In this order, so that no reader takes the position of one log for that of another.
                    before = -1
                    self._write(self._slot, _POSITION, before)
                    self._write(self._slot, _TAG, tag)
                if before < position:
                    self._write(self._slot, _POSITION, position)
        except OSError as fault:
            raise errors.NovaSchedError(
                f"{self._path} cannot be written ({fault.strerror}), so other workers cannot know what this one "
                "acknowledged; check its file system, or name another [placement_api] state_dir"
            ) from None

    def last(self, epoch: str) -> int:
        """The last position that a worker acknowledged of a log, -1 if none did."""
        known, before, last = self._seen
        now = self._read(0, _BYTES)
        if now != before or epoch != known:
            words = _words_in(now)
            last = int(np.where(words[:, _TAG] == _tag_of(epoch), words[:, _POSITION], -1).max())
            self._seen = epoch, now, last
        return last

    def forget_lost(self, epoch: str, position: int, fence: Callable[[], int]) -> bool:
        """A log was read to its end at a position. If more was acknowledged than ``fence()`` says that the log has, the
        log lost it: forget that, as nobody can wait for it. Returns whether it was so."""
        last = self.last(epoch)
        try:
            # (In this order: what was acknowledged before a fence is in the log, unless it was lost.)
            if last <= position or last <= (end := fence()):
                return False
        except errors.NovaSchedError as fault:
            LOG.warning("whether a log lost writes that were acknowledged is not known: %s", fault)
            return False
        LOG.warning("the log of epoch %s lost writes that were acknowledged, up to position %d", epoch, last)
        words = _words_in(self._read(0, _BYTES))
        for slot in np.flatnonzero((words[:, _TAG] == _tag_of(epoch)) & (words[:, _POSITION] > end)):
            self._write(int(slot), _POSITION, end)
        return True

    def keep(self) -> None:
        """Keep the file from being removed as an old one; NovaSchedError if it was removed or made shorter."""
        keep(self._file, self._path, _BYTES)

    def close(self) -> None:
        """Give the slot back."""
        self._words.close()
        self._file.close()

    def _read(self, start: int, size: int) -> bytes:
        """Bytes of the file; zeros where somebody made it shorter."""
        return os.pread(self._words.fileno(), size, start).ljust(size, b"\0")

    def _write(self, slot: int, word: int, value: int) -> None:
        os.pwrite(self._words.fileno(), _WORD.pack(value), slot * _SLOT_BYTES + word * _WORD.size)


def _words_in(content: bytes) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
    """(Tag of an epoch, position) of each slot."""
    return np.frombuffer(content, np.int64).reshape(SLOTS, 2)


@lru_cache(64)
def _tag_of(epoch: str) -> int:
    return int.from_bytes(hashlib.blake2b(epoch.encode(), digest_size=8).digest(), "little", signed=True) or 1
