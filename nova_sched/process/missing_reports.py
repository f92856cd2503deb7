"""Hosts whose full reports are missing, because their log may have lost what they said."""

from rpc_api.codec import Event


class MissingReports:
    """Hosts that are to report in full, until their reports are folded."""

    def __init__(self):
        self.hosts = set()

    def want(self, hosts) -> None:
        """Wait for reports of ``hosts``, and of no others, that come from now on."""
        self.hosts = set(hosts)

    def see(self, records) -> None:
        """Records (position, DecodedRecord) were folded."""
        if not self.hosts:
            return
        for _, record in records:
            for event in record.events:
                if type(event) is Event and event.name == "HostReported":
                    self.hosts.discard(event.data.host)
