"""An RPC server over RabbitMQ that stops without losing calls.

oslo.messaging (18.3) stops to poll, and cancels its consumers only when the
connection is closed at the very end. Until then the broker goes on to deliver
calls to it, also those that another server could answer. Closing reads them,
acknowledges them and drops them: they are gone, and whoever called waits for
his whole timeout. So the consumers are cancelled here as soon as nobody polls
any more, and what was delivered before that is answered.

This reaches into oslo.messaging, as it has no way of its own for it;
tests/rpc_api/test_bus.py fails when it does not work with the library's version.
"""

import logging
from typing import Any

LOG = logging.getLogger(__name__)


def cancel_consumers(server: Any) -> None:
    """Cancel the consumers of a stopped ``MessageHandlingServer``, and hand it what they were given until then.

    Does nothing for a driver that has none (``fake://``).
    """
    poller = getattr(server.listener, "_poll_style_listener", None)
    connection = getattr(poller, "conn", None)
    if poller is None or connection is None:
        return
    try:
        with connection._connection_lock:
            for consumer, tag in list(connection._consumers.items()):
                consumer.cancel(tag)
    except Exception as fault:
        # The broker is away: it gives what we did not acknowledge to others by itself.
        LOG.info("the consumers could not be cancelled: %s", fault)
    while poller.incoming:
        server._on_incoming([poller.incoming.pop(0)])
