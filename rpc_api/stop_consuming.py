"""An RPC server over RabbitMQ that stops without losing calls.

oslo.messaging (18.3) stops polling first, and cancels its consumers only at the very end, when the connection is
closed. Until then the broker still delivers calls to it, also calls that another server could answer. The close reads,
acknowledges and drops them, and the callers wait for their whole timeout. So this module cancels the consumers as soon
as polling has stopped, and answers the calls that were delivered before.

It uses private attributes of oslo.messaging, which has no public way; tests/rpc_api/test_bus.py fails if it does not
work with the installed version.
"""

import logging
from typing import Any

LOG = logging.getLogger(__name__)


def cancel_consumers(server: Any) -> None:
    """Cancel the consumers of a stopped ``MessageHandlingServer``, and let it answer the calls that they received.

    Does nothing for a driver without consumers (``fake://``).
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
        # The broker is unreachable: it delivers unacknowledged calls to other servers without our help.
        LOG.info("the consumers could not be cancelled: %s", fault)
    while poller.incoming:
        server._on_incoming([poller.incoming.pop(0)])
