"""From where a log is folded."""

from typing import NamedTuple

from nova_sched.projection import snapshot
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable


class Beginning(NamedTuple):
    """From where a log is read: the bytes of a ``snapshot`` that fits it, or None and from its first record.

    ``first`` is its first position and ``catch_up`` the one that it ends at now. ``whole`` is False if neither
    a snapshot nor the first record tells the state before the log. ``begun_anew``: what was appended to the log that
    we knew is not in this one. ``kept`` is None, or the log lost its records after that position, keeps its
    epoch, and has perhaps grown again.
    """

    snapshot: bytes | None
    first: int
    catch_up: int
    whole: bool
    begun_anew: bool
    kept: int | None = None


def projection_of(
    cell: str, beginning: Beginning, table: HostTable | None = None, accounts_required: bool = False
) -> Projection:
    """The projection into which a log is folded on, in ``table`` if that is given; raises as ``snapshot.load``.

    ``accounts_required`` is what is configured: it holds for a log that is not whole,
    until a LogRebased tells what holds for the log.
    """
    if beginning.snapshot is not None:
        return snapshot.load(beginning.snapshot, table)
    projection = Projection(cell, table, beginning.whole)
    projection.accounts_required = accounts_required and not beginning.whole
    return projection
