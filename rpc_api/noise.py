"""What libraries log that tells a person nothing: it is expected, or said by us as well, once and shorter."""

import logging

#: Prefix of a logger's name -> texts of its messages.
_NOISE = {
    "oslo.messaging": ("NOT_FOUND - no exchange",),
    # The bound of calls under way is ours, see rpc_api.bus; oslo.messaging warns from ten on.
    "oslo_messaging": ("Number of call queues is",),
    # Of every cancellation that crosses the closing of a channel.
    "amqp": ("during closing channel",),
}


def is_wanted(record: logging.LogRecord) -> bool:
    """A log filter: False for noise."""
    return not any(
        record.name.startswith(prefix) and text in record.getMessage()
        for prefix, texts in _NOISE.items()
        for text in texts
    )
