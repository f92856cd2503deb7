"""Where the fold of a log starts."""

from typing import Any, NamedTuple

from nova_sched.projection import snapshot
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable


class Beginning(NamedTuple):
    """Where a log is read from: the bytes of a ``snapshot`` that fits it, or None if it is read from its first record.

    ``first`` is its first position and ``catch_up`` its last one now. ``whole`` is False if neither a snapshot nor
    the first record gives the state before the log. ``begun_anew``: the log was recreated, so records that were
    appended before are not in it. ``kept`` is None, or the log lost its records after that position; it has the same
    epoch, and may have new records. ``found`` is what was found of checkpoints in the log (a Found of
    :mod:`nova_sched.process.checkpoints`), or None.
    """

    snapshot: bytes | None
    first: int
    catch_up: int
    whole: bool
    begun_anew: bool
    kept: int | None = None
    found: Any = None


def projection_of(
    cell: str, beginning: Beginning, table: HostTable | None = None, accounts_required: bool = False
) -> Projection:
    """The projection with which the fold of a log goes on, in ``table`` if that is given; raises as ``snapshot.load``.

    ``accounts_required`` is the configured value. It is used for a log that is not whole, until a LogRebased has the
    value of the log.
    """
    if beginning.snapshot is not None:
        return snapshot.load(beginning.snapshot, table)
    projection = Projection(cell, table, beginning.whole)
    projection.accounts_required = accounts_required and not beginning.whole
    return projection
