"""Counts of a log that concern an operator are logged: events that a reader cannot use, and hosts that diverged."""

import logging

from nova_sched.projection.projection import DIVERGENCE, SET_ASIDE, TOO_NEW
from rpc_api.wording import number_of

LOG = logging.getLogger(__name__)


class LogCounts:
    """Warns about the counts of one log: when they appear, and when they have doubled."""

    def __init__(self, cell: str):
        self._cell = cell
        #: Name of a count -> its value when it was logged last.
        self._logged = {}

    def look(self, counts) -> None:
        """Log what is new in the counts of a Projection."""
        for name, count in sorted(counts.items()):
            text = _text_of(name)
            logged = self._logged.get(name, 0)
            if text is not None and (count < logged or count >= 2 * logged):
                self._logged[name] = count
                LOG.warning("the log of %s: %s %s", self._cell, number_of(count, "time"), text)


def _text_of(name):
    """What is logged for a count; None for one that concerns nobody."""
    if name.startswith(f"{SET_ASIDE}:"):
        return f"{name.replace(':', ', ')}; see nova-sched-replay quarantine"
    if name == DIVERGENCE:
        return f"{name}; a host and the log did not agree, and the host was believed"
    if name == TOO_NEW:
        return "an event after a pin to a level that this service does not know; upgrade nova_sched here"
    return None
