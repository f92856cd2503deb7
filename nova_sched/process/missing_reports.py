"""Hosts whose full reports are missing, because their log may have lost what they said."""

from rpc_api.codec import Event


class MissingReports:
    """Hosts that are to report in full after a position of their log, until their reports are folded."""

    def __init__(self):
        self.hosts = set()
        #: Position after which reports count; None while none are waited for.
        self._after = None
        #: Hosts that reported before it was known which ones are to report; None once it is known.
        self._early = None

    def count_after(self, position: int) -> None:
        """Count reports after a position, from now on and until all have come that :meth:`want` names."""
        self._after, self._early = position, set()

    def want(self, hosts) -> None:
        """Wait for the reports of ``hosts``, and of no others, as far as they did not come yet."""
        self.hosts = set(hosts) - (self._early or set())
        self._early = None
        if not self.hosts:
            self._after = None

    def forget(self) -> None:
        """Wait for none: the log is another one."""
        self.__init__()

    def see(self, records) -> None:
        """Records (position, DecodedRecord) were folded."""
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
