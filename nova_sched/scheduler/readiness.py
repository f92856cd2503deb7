"""Whether a scheduler that starts has the logs that it needs."""

import enum

from nova_sched.projection.state import CELL0
from rpc_api import errors, faults


class Readiness(enum.Enum):
    """What a start waits for: nothing any more, logs that are being folded or will be rebased, or a log that cannot be
    read now."""

    READY = "ready"
    FOLDS = "folds"
    WAITS_FOR_A_LOG = "waits for a log"


def readiness(states, of_logs: dict, cells: int, has_store: bool) -> Readiness:
    """The Readiness by the CellStates and the faults of logs (cell -> error) of a scheduler of so many cells.

    The log of cell0 is always needed; one other log that can be read is enough. Raises a fault that lasts until the
    operator changes something.
    """
    if states.waiting_for:
        return Readiness.FOLDS
    down, unknown = states.unreadable, states.headless
    if CELL0 in unknown:
        return Readiness.FOLDS  # the log will be rebased
    if not has_store and unknown and CELL0 not in down and len({*down, *unknown}) == cells:
        return Readiness.FOLDS  # no request can be answered yet, and the logs will be rebased
    wanted = [CELL0] if CELL0 in down else down if len(down) == cells else []
    if any(faults.may_pass(of_logs[cell]) for cell in wanted):
        return Readiness.WAITS_FOR_A_LOG
    if wanted:
        fault = of_logs[wanted[0]]
        raise type(fault)(str(fault))
    wrong = next((fault for fault in of_logs.values() if isinstance(fault, errors.UsageError)), None)
    if wrong is not None:
        raise errors.UsageError(str(wrong))
    return Readiness.READY
