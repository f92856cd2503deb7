"""Whether a log takes API writes now, and why not: for clients and for operators."""

import logging
from typing import NamedTuple

from placement_api.http_errors import Unavailable

LOG = logging.getLogger(__name__)

#: Seconds after which it is logged that no writes are taken: at a start it is so for a moment.
LASTS_SECONDS = 10.0


class Refusal(NamedTuple):
    """Why a log takes no writes: for the operator, and as a sentence for clients, which names no address and no
    account."""

    why: str
    answer: str


def for_all(why: str) -> Refusal:
    """A reason that clients may see as it is."""
    return Refusal(why, f"{why[0].upper()}{why[1:]}.")


class Taking:
    """Whether a LedgerLog takes writes. ``gate`` is its WriteGate, and ``now()`` the monotonic time in seconds."""

    def __init__(self, log, gate, now):
        self._log, self._gate, self._now = log, gate, now
        #: The Refusal; None while writes are taken.
        self._refused = None
        self._since = self._logged = None
        self.begin()

    @property
    def why_not(self) -> str | None:
        """Why no write is taken, for the operator; None if they are taken."""
        return None if (refused := self._refused) is None else refused.why

    def begin(self) -> None:
        """The log is read from now on."""
        self._refused = for_all(f"the log of {self._log.cell} is being read")

    def check(self) -> None:
        """Unavailable if no write is taken."""
        if self._refused is not None:
            self.look()
        if (refused := self._refused) is not None:
            raise Unavailable(refused.answer)

    def look(self) -> None:
        """Look again whether writes are taken. It is logged that none are when this lasts, and when it is over."""
        refused = self._refused = self._find()
        now, cell = self._now(), self._log.cell
        if refused is None:
            if self._logged is not None:
                LOG.warning("API writes are taken into the log of %s again", cell)
            self._since = self._logged = None
            return
        self._since = now if self._since is None else self._since
        if refused.why != self._logged and now - self._since >= LASTS_SECONDS:
            self._logged = refused.why
            LOG.warning("API writes are not taken: %s", refused.why)

    def _find(self) -> Refusal | None:
        log = self._log
        fault = log.fault or log.why_down or log.cell_log.fault
        if fault is not None:
            return Refusal(str(fault), f"The log of {log.cell} cannot be reached; try again later.")
        why = self._gate.refusal()
        return None if why is None else for_all(why)
