"""A file with the positions up to which logs were shown, so that the next command continues there."""

import json
import os
from pathlib import Path
from typing import NamedTuple

from rpc_api import errors

FORMAT = 1


class Place(NamedTuple):
    """The next event to show: ``index`` within the record at ``position``, in the log of an ``epoch``."""

    epoch: str
    position: int
    index: int


class Cursor:
    """The places of several logs, kept in a file. Raise UsageError for another kind of file, LogUnavailable for a file
    that cannot be read or written."""

    def __init__(self, path: str):
        self._path = Path(path)
        #: Cell -> :class:`Place`.
        self.places = {}
        self._saved = None
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return
        except (OSError, ValueError) as fault:
            raise errors.UsageError(f"the cursor file {path} cannot be read ({fault}); name another one") from None
        try:
            kept = json.loads(text)
            if kept["format"] != FORMAT:
                raise ValueError
            self.places = {
                cell: Place(str(place["epoch"]), int(place["position"]), int(place["index"]))
                for cell, place in kept["cells"].items()
            }
        except (ValueError, TypeError, LookupError, AttributeError):
            raise errors.UsageError(
                f"{path} is not a cursor file of this version; name another file, or remove it"
            ) from None
        self._saved = dict(self.places)

    def check(self, cell: str, epoch: str | None, bounds) -> None:
        """Raise LogGap if the log of a cell does not continue at the cursor."""
        place = self.places.get(cell)
        if place is None:
            return
        if place.epoch != epoch:
            raise errors.LogGap(
                f"the cursor {self._path} is for the log {place.epoch} of {cell}, and the log is "
                f"now {epoch or 'empty'}: it was recreated; remove the cursor file to start again"
            )
        if place.position < bounds.first:
            raise errors.PositionTruncated(
                f"the cursor {self._path} is at position {place.position} of {cell}, "
                f"and its log begins at {bounds.first}: the records between were removed; "
                "remove the cursor file to start again"
            )
        if place.position > bounds.last + 1:
            raise errors.PositionAhead(
                f"the cursor {self._path} is at position {place.position} of {cell}, "
                f"and its log ends at {bounds.last}: it lost records; "
                "remove the cursor file to start again"
            )

    def save(self) -> None:
        """Write the file, in one step, if anything changed."""
        if self.places == self._saved:
            return
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            with open(fresh, "w") as file:
                json.dump(
                    {"format": FORMAT, "cells": {cell: place._asdict() for cell, place in sorted(self.places.items())}},
                    file,
                )
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, self._path)
        except OSError as fault:
            raise errors.LogUnavailable(
                f"the cursor file {self._path} cannot be written ({fault.strerror}); check its directory"
            ) from None
        self._saved = dict(self.places)
