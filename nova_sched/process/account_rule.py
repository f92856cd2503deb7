"""Brings a log in line with ``[cells] require_accounts``."""

import logging

from rpc_api import events

LOG = logging.getLogger(__name__)


class AccountRule:
    """``wanted`` is what is configured: True, False, or None to leave each log as it is.

    It is said once after each beginning of the log, so that services that are configured differently do not argue.
    """

    def __init__(self, wanted: bool | None):
        self.wanted = wanted
        self._said = self._warned = False

    def begin(self) -> None:
        """The log is read anew, or was rebased."""
        self._said = self._warned = False

    def due(self, projection) -> tuple:
        """The events to append now; :meth:`said` is called when they were."""
        if self.wanted is None or projection.accounts_required == self.wanted:
            return ()
        if not self._said:
            return (events.AccountsRequired(self.wanted),)
        if not self._warned and projection.counts["set-aside:not-its-account"]:
            self._warned = True
            LOG.warning(
                "[cells] require_accounts is set, and the log of %s does not say that we append with an "
                "account that may speak for us; give this service the account ROLE.NAME of a RabbitMQ broker",
                projection.cell,
            )
        return ()

    def said(self) -> None:
        """What was due was appended, or will be."""
        self._said = True
