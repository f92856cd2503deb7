"""What the clients of all services that answer calls have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # The bus brings oslo.messaging, which may only be imported once the concurrency mode is chosen.
    from rpc_api.bus.port import Bus


class AnsweringAPI:
    """Client side of a topic that some service of a kind must answer at any time."""

    def __init__(self, bus: Bus, topic: str, version: str) -> None:
        self._client = bus.client(topic, version)

    def ping(self, timeout: float) -> None:
        """Return when a service of the topic answers; NoAnswer or NoSuchServer when none does in time."""
        self._client.ping(timeout)

    def known_level(self, timeout: float) -> int:
        """The newest level (:mod:`rpc_api.levels`) that one of them knows; raises as :meth:`ping`."""
        return self._client.known_level(None, timeout)
