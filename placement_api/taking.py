"""Whether a log takes API writes now, and why not: for clients and for operators."""

import logging
from typing import NamedTuple

from nova_sched.projection.write_outcomes import Written
from placement_api.http_errors import Unavailable
from rpc_api.codec import SetAside
from rpc_api.config import wrong_account

LOG = logging.getLogger(__name__)

#: Seconds after which it is logged that no writes are taken: at a start it is so for a moment.
LASTS_SECONDS = 10.0
#: Codes of events that are set aside for who wrote them, or for the level of the record.
OF_THE_WRITER = frozenset({"not-allowed", "not-its-account", "newer-level"})


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
        self._not_ours = f"The log of {log.cell} takes no writes of this service; its operator can see why."
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

    def check_outcome(self, written: Written) -> None:
        """Unavailable if the log set an event aside for who wrote it, whatever was asked."""
        reason = written.reason
        if isinstance(reason, SetAside) and reason.code in OF_THE_WRITER:
            LOG.error("the log of %s does not take what this service writes: %s", self._log.cell, reason.reason)
            self.look()
            raise Unavailable(self._not_ours)

    def look(self, may_read: bool = False) -> None:
        """Look again whether writes are taken. It is logged that none are when this lasts, and when it is over. Only
        with ``may_read`` it asks the log itself, which may take long: no request waits for that."""
        refused = self._refused = self._find(may_read)
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

    def _find(self, may_read: bool) -> Refusal | None:
        log, why = self._log, self._gate.refusal(may_read)
        fault = log.fault or log.why_down or log.cell_log.fault or self._gate.fault
        if fault is not None:
            # (A fault has the address of a broker, or a path.)
            return Refusal(str(fault), f"The log of {log.cell} takes no writes now; try again later.")
        if log.projection.accounts_required:
            wrong = wrong_account(log.cell_log.url, log.cell_log.producer_name)
            if wrong is not None:
                why = (
                    f"the log of {log.cell} requires accounts, and this service appends to it with {wrong}; fix the "
                    "user in the URL of the log, and set [cells] require_accounts"
                )
                return Refusal(why, self._not_ours)
        return None if why is None else for_all(why)
