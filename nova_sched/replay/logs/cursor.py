"""A file that remembers how far the logs were shown, so that the next one goes on there."""

import json
import os
from pathlib import Path
from typing import NamedTuple

from rpc_api import errors

FORMAT = 1


class Place(NamedTuple):
    """What comes next in one log: the event ``index`` of the record ``position``, in the log of an ``epoch``."""

    epoch: str
    position: int
    index: int


class Cursor:
    """The places of several logs, kept in a file. UsageError for a file that is none; LogUnavailable for one that
    cannot be read or written."""

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
                f"{path} is no cursor file of this version; name another one, or remove it"
            ) from None
        self._saved = dict(self.places)

    def check(self, cell: str, epoch: str | None, bounds) -> None:
        """Raise LogGap where the log of a cell does not go on where the cursor stands."""
        place = self.places.get(cell)
        if place is None:
            return
        if place.epoch != epoch:
            raise errors.LogGap(
                f"the cursor {self._path} stands in the log {place.epoch} of {cell}, and the log is "
                f"now {epoch or 'empty'}: it was re-created; remove the cursor file to begin anew"
            )
        if place.position < bounds.first:
            raise errors.PositionTruncated(
                f"the cursor {self._path} stands at position {place.position} of {cell}, "
                f"and its log begins at {bounds.first}: what lay between was removed; "
                "remove the cursor file to begin anew"
            )
        if place.position > bounds.last + 1:
            raise errors.PositionAhead(
                f"the cursor {self._path} stands at position {place.position} of {cell}, "
                f"and its log ends at {bounds.last}: it lost records; "
                "remove the cursor file to begin anew"
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
                f"the cursor file {self._path} cannot be written ({fault.strerror}); see to its directory"
            ) from None
        self._saved = dict(self.places)
