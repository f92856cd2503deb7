"""The queue of a cell's tap, as configured."""

from __future__ import annotations

from oslo_config import cfg

from rpc_api.bus.copies import CopyQueue
from rpc_api.bus.copy_address import MIB, address_of
from rpc_api.config import Cell

PREFIX = "nova_sched.tap."


def source_of(conf: cfg.ConfigOpts, cell: Cell) -> CopyQueue | None:
    """The queue that the tap of a cell reads; None if no tap is enabled. UsageError for options that cannot be used."""
    options = conf.tap
    if not options.enabled:
        return None
    url = options.url or cell.transport_url or conf.transport_url
    return CopyQueue(
        address_of(conf, "tap", url, options.queue or PREFIX + cell.name),
        options.exchange,
        options.topic,
        options.queue_mb * MIB,
        options.queue_expires,
        options.durable,
    )
