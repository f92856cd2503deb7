"""Numbers that the workers of one machine divide among themselves: each takes one by a lock on a byte of a file."""

import fcntl
import os
import struct
from pathlib import Path
from typing import IO

from rpc_api import errors

#: Workers of one machine, at most.
SLOTS = 256
#: The C struct of a lock on 64-bit Linux: type, from where, start, length, process.
_LOCK = "hhxxxxqqixxxx"


def open_file(path: Path) -> IO[bytes]:
    """Open a file in the directory that all workers of this machine share; UsageError if it cannot be used."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent.stat().st_uid not in (os.getuid(), 0):
            raise PermissionError(0, "its directory belongs to another user")
        return open(path, "a+b")
    except OSError as fault:
        raise unusable(path, fault) from None


def unusable(path: Path, fault: OSError) -> errors.UsageError:
    """The error for a file of the shared directory that cannot be created, read or written."""
    return errors.UsageError(
        f"{path} cannot be used ({fault.strerror}); name a directory that all workers of this machine may write to, "
        "with free space ([placement_api] state_dir)"
    )


def reserve(file: IO[bytes], path: Path, size: int) -> None:
    """Give a file so many bytes on the disk, so that to write them cannot fail later; UsageError if that is not
    possible."""
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as fault:
        raise unusable(path, fault) from None


def keep(file: IO[bytes], path: Path, size: int = 0) -> None:
    """Touch a file that is used, as old files are removed from directories for temporary files. NovaSchedError if it
    was removed, as workers that start now have another one, or has less than ``size`` bytes."""
    try:
        os.utime(path)
        found, ours = os.stat(path), os.fstat(file.fileno())
        is_there = found.st_ino == ours.st_ino and ours.st_size >= size
    except OSError:
        is_there = False
    if not is_there:
        raise errors.NovaSchedError(
            f"{path} was removed or made shorter while this worker used it, so others cannot know of it; "
            "start it again, and check [placement_api] state_dir"
        )


def take(file: IO[bytes]) -> int:
    """Take the lowest number that no open file has; it is free again when the file is closed, or its process ends."""
    for slot in range(SLOTS):
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, slot, 1, 0))
            return slot
        except BlockingIOError:
            continue
    raise errors.UsageError(f"{SLOTS} workers run on this machine already, which is all that may; run fewer")
