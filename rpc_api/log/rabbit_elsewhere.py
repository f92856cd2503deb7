"""The newest record of a stream on any node of a cluster, for a reader that receives nothing."""

import threading
import time
from dataclasses import replace

from rpc_api import concurrency, errors
from rpc_api.log.rabbit_address import RabbitAddress
from rpc_api.log.rabbit_bounds import newest_bounds


class Elsewhere:
    """The newest record that was found on any node of an address: its position ``last``, found at ``found_at``.

    A node that is cut off from the others accepts connections and does not report it for a minute; a node that hangs
    never does. So each node is asked over its own connection, in a thread that delays no reading.
    """

    def __init__(self) -> None:
        self.last, self.found_at = -1, 0.0
        self._looking: threading.Thread | None = None

    def look(self, address: RabbitAddress, place: tuple[str, int]) -> bool:
        """Start to look, at ``place`` last; False if there is only one node, or no thread."""
        if len(address.hosts) < 2:
            return False
        if self._looking is not None and self._looking.is_alive():
            return True
        self._looking = threading.Thread(
            target=self._look, args=(address.after(place),), daemon=True, name=f"look for {address.stream} elsewhere"
        )
        return concurrency.start_or_report(self._looking)

    def _look(self, address: RabbitAddress) -> None:
        for host in address.hosts:
            try:
                last = newest_bounds(replace(address, hosts=(host,)), "look for the end of").last
            except errors.LogUnavailable:
                continue  # skipped: the reader reports the fault of its own node
            if last >= self.last:
                self.last, self.found_at = last, time.monotonic()
