"""Publishes ``[cells] require_accounts`` in a log."""

import logging

from rpc_api import events

LOG = logging.getLogger(__name__)


class AccountRule:
    """The rule for one log. ``wanted`` is the option: True, False, or None to leave the log as it is.

    The rule is published once after each start of reading, so that services with different options do not overwrite
    each other again and again.
    """

    def __init__(self, wanted: bool | None):
        self.wanted = wanted
        self._said = self._warned = False

    def begin(self) -> None:
        """Start again: the log is read from its beginning, or was rebased."""
        self._said = self._warned = False

    def due(self, projection) -> tuple:
        """Return the events to append now. The caller calls :meth:`said` when they are appended."""
        if self.wanted is None or projection.accounts_required == self.wanted:
            return ()
        if not self._said:
            return (events.AccountsRequired(self.wanted),)
        if not self._warned and projection.counts["set-aside:not-its-account"]:
            self._warned = True
            LOG.warning(
                "[cells] require_accounts is set, but the log of %s does not prove that this service appends with its "
                "own account; give it the account ROLE.NAME of a RabbitMQ broker",
                projection.cell,
            )
        return ()

    def said(self) -> None:
        """Note that the events of :meth:`due` are appended, or will be."""
        self._said = True
