"""Hosts whose full reports are awaited, because their log may have lost their events."""

from rpc_api.codec import Event


class MissingReports:
    """The hosts that must report in full after a position of their log, until their reports are folded."""

    def __init__(self):
        self.hosts = set()
        #: Position after which reports count; None if no report is awaited.
        self._after = None
        #: Hosts that reported before :meth:`want` named the hosts; None after it.
        self._early = None

    def count_after(self, position: int) -> None:
        """Count reports after a position, until the hosts that :meth:`want` names have all reported."""
        self._after, self._early = position, set()

    def want(self, hosts) -> None:
        """Wait for the reports of ``hosts`` that have not arrived yet, and for no others."""
        self.hosts = set(hosts) - (self._early or set())
        self._early = None
        if not self.hosts:
            self._after = None

    def forget(self) -> None:
        """Wait for no report: the log is another one."""
        self.__init__()

    def see(self, records) -> None:
        """Note folded records (position, DecodedRecord)."""
        if self._after is None:
            return
        reported = {
            event.data.host
            for position, record in records
            if position > self._after
            for event in record.events
            if type(event) is Event and event.name == "HostReported"
        }
        if self._early is not None:
            self._early |= reported
            return
        self.hosts -= reported
        if not self.hosts:
            self._after = None
