"""What makes the checkpoints of a log, by the configuration."""

from nova_sched.process.checkpoint_duty import Limits
from nova_sched.process.checkpoint_maker import Maker


def maker_of(conf, cell: str, url: str, store) -> Maker:
    """The Maker of the log of a cell, by ``[checkpoints]``, ``[snapshots]`` and ``[cells]``."""
    options = conf.checkpoints
    limits = Limits(options.interval, options.records, options.megabytes << 20)
    return Maker(cell, url, limits, store, conf.snapshots.url, bool(conf.cells.require_accounts))
