"""The last position that any worker on this machine acknowledged, in a few bytes of memory that all of them share.

A client may write through one worker and read through another one. The reading worker waits until it has folded as far
as the other one had when it answered.
"""

import hashlib
import logging
import mmap
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from placement_api.slots import SLOTS, keep, open_file, take
from rpc_api import errors

LOG = logging.getLogger(__name__)

_BYTES = SLOTS * 16
_TAG, _POSITION = 0, 1


class SharedPositions:
    """The positions of one log. Each worker writes a slot of its own, and reads all slots. A slot is free again when
    its process has ended, as the lock on it is gone then; its position stays valid."""

    def __init__(self, directory: Path, url: str):
        name = hashlib.sha256(url.encode()).hexdigest()[:32]
        self._path = directory / f"placement-{name}.positions"
        self._file = open_file(self._path)
        self._slot = take(self._file)
        self._file.truncate(_BYTES)
        self._memory = mmap.mmap(self._file.fileno(), _BYTES)
        #: Slot -> (tag of an epoch, position), each written and read as one word.
        self._words = np.frombuffer(self._memory, np.int64).reshape(SLOTS, 2)
        #: The epoch that was asked for last, all bytes before that, and what came out.
        self._seen: tuple[str | None, bytes, int] = (None, b"", -1)

    def acknowledge(self, epoch: str, position: int) -> None:
        """Everything up to a position of a log may be known to a client from now on."""
        mine, tag = self._words[self._slot], _tag_of(epoch)
        if mine[_TAG] != tag:
            # In this order, so that no reader takes the position of one log for that of another.
            mine[_POSITION] = -1
            mine[_TAG] = tag
        if mine[_POSITION] < position:
            mine[_POSITION] = position

    def last(self, epoch: str) -> int:
        """The last position that a worker acknowledged of a log, -1 if none did."""
        known, before, last = self._seen
        now = self._memory[:]
        if now != before or epoch != known:
            # (What is written after the bytes were copied is seen now, or by the next call.)
            words = self._words
            last = int(np.where(words[:, _TAG] == _tag_of(epoch), words[:, _POSITION], -1).max())
            self._seen = epoch, now, last
        return last

    def forget_lost(self, epoch: str, position: int, fence: Callable[[], int]) -> bool:
        """A log was read to its end at a position. If more was acknowledged than ``fence()`` says that the log has, the
        log lost it: forget that, as nobody can wait for it. Returns whether it was so."""
        words = self._words
        last = self.last(epoch)
        try:
            # (In this order: what was acknowledged before a fence is in the log, unless it was lost.)
            if last <= position or last <= (end := fence()):
                return False
        except errors.NovaSchedError as fault:
            LOG.warning("whether a log lost writes that were acknowledged is not known: %s", fault)
            return False
        LOG.warning("the log of epoch %s lost writes that were acknowledged, up to position %d", epoch, last)
        words[(words[:, _TAG] == _tag_of(epoch)) & (words[:, _POSITION] > end), _POSITION] = end
        return True

    def keep(self) -> None:
        """Keep the file from being removed as an old one; NovaSchedError if it was removed."""
        keep(self._file, self._path)

    def close(self) -> None:
        """Give the slot back."""
        del self._words
        self._memory.close()
        self._file.close()


@lru_cache(64)
def _tag_of(epoch: str) -> int:
    return int.from_bytes(hashlib.blake2b(epoch.encode(), digest_size=8).digest(), "little", signed=True) or 1
