"""Log lines of libraries that do not help a person: they are expected, or our own log has them in a shorter form."""

import logging

#: Prefix of a logger's name -> texts of its messages.
_NOISE = {
    "oslo.messaging": ("NOT_FOUND - no exchange",),
    # This project bounds the running calls, see rpc_api.bus; oslo.messaging warns from ten on.
    "oslo_messaging": ("Number of call queues is",),
    # Logged for every cancellation during the close of a channel.
    "amqp": ("during closing channel",),
}


def is_wanted(record: logging.LogRecord) -> bool:
    """A log filter: False for noise."""
    return not any(
        record.name.startswith(prefix) and text in record.getMessage()
        for prefix, texts in _NOISE.items()
        for text in texts
    )
