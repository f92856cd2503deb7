"""Messages to systemd, for services of ``Type=notify``: see sd_notify(3).

oslo.service sends ``READY=1`` only, and libraries of others are not among OpenStack's requirements.
"""

import logging
import os
import socket
from collections.abc import Iterable

from nova_sched.process.monitoring.pulse import Pulse
from rpc_api.clock import SYSTEM, Clock

LOG = logging.getLogger(__name__)

#: Seconds between two looks at the text that systemctl status shows.
STATUS_SECONDS = 5.0
STATUS_MAX = 400
#: Seconds that a message may wait while the queue of the manager is full.
SEND_SECONDS_MAX = 2.0


class Notifier:
    """Sends to the socket that ``NOTIFY_SOCKET`` names; does nothing without one."""

    def __init__(self, address: str | None = None, clock: Clock = SYSTEM) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET") if address is None else address
        self._clock = clock
        self._status = ""
        self._status_at = float("-inf")
        #: Loop -> how often it had gone round at the last WATCHDOG=1.
        self._beats: dict[str, int] = {}

    def ready(self, status: str) -> None:
        """The service is ready, after a start or a reload."""
        self._send("READY=1", status)

    def reloading(self) -> None:
        """The service reads its configuration again."""
        # systemd compares the time with that of its own request, for Type=notify-reload.
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(self._clock.monotonic() * 1e6)}", "reads its configuration again")

    def stopping(self, status: str) -> None:
        """The service ends."""
        self._send("STOPPING=1", status)

    def status(self, text: str) -> None:
        """What systemctl status shows."""
        self._send("", text)

    def is_status_due(self) -> bool:
        """Whether to look at the status again; then not for some seconds."""
        now = self._clock.monotonic()
        if not self._address or now - self._status_at < STATUS_SECONDS:
            return False
        self._status_at = now
        return True

    def alive(self, pulses: Iterable[Pulse]) -> bool:
        """Tell the watchdog that the process works, if each of its loops went round since that was last done. A loop
        that is stuck ends these messages, and systemd restarts the service."""
        if not self._address:
            return False
        beats = {pulse.name: pulse.beats for pulse in pulses}
        if any(self._beats.get(name) == number for name, number in beats.items()):
            return False
        self._beats = beats
        self._send("WATCHDOG=1")
        return True

    def _send(self, message: str, status: str | None = None) -> None:
        if status is not None and status != self._status:
            self._status = status
            line = " ".join(status.split())[:STATUS_MAX]
            message = f"{message}\nSTATUS={line}".lstrip("\n")
        if not self._address or not message:
            return
        name = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
                # A manager that does not read must not hold up the loop that tells it something.
                sending.settimeout(SEND_SECONDS_MAX)
                sending.connect(name)
                sending.sendall(message.encode())
        except OSError as fault:
            LOG.debug("systemd gets no message: %s", fault)
