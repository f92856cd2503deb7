"""How far the nodes of a cluster have a stream, looked at beside a reader that nothing comes to."""

import threading
import time
from dataclasses import replace

from rpc_api import concurrency, errors
from rpc_api.log.rabbit_address import RabbitAddress
from rpc_api.log.rabbit_bounds import newest_bounds


class Elsewhere:
    """The newest record that any node of an address was found to have: its position ``last``, found at ``found_at``.

    A node that is cut off from the others takes connections and says nothing of it for a minute, and one that hangs
    never does: so each node is asked, over a connection of its own, in a thread that holds up no reading.
    """

    def __init__(self) -> None:
        self.last, self.found_at = -1, 0.0
        self._looking: threading.Thread | None = None

    def look(self, address: RabbitAddress, place: tuple[str, int]) -> bool:
        """Begin to look, ``place`` last; False where there is but one node, or no thread."""
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
                continue  # that one cannot help; the reader says what is wrong with its own
            if last >= self.last:
                self.last, self.found_at = last, time.monotonic()
