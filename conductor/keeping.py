"""How a conductor keeps the state of its log in the log, and what it does if the log has lost its beginning."""

import logging

from nova_sched.process.checkpoint_duty import Limits
from nova_sched.process.checkpoint_keeper import CheckpointKeeper
from nova_sched.process.write_gate import WriteGate

LOG = logging.getLogger(__name__)


class Keeping:
    """``log`` is a CellLog, ``engine()`` the CellEngine that folds it, and ``maker`` a Maker of checkpoints (None: none
    are written)."""

    def __init__(self, log, engine, clock, maker=None):
        self._log, self._engine = log, engine
        limits = Limits() if maker is None else maker.limits
        #: Whether API writes may be taken.
        self.gate = WriteGate(log, self._state, clock, limits)
        #: Writes the checkpoints; None without a maker.
        self.keeper = None if maker is None else CheckpointKeeper(log, maker, self.gate, clock)
        self._is_said = False

    def start(self) -> None:
        """Start to write."""
        if self.keeper is not None:
            self.keeper.start()

    def tick(self) -> None:
        """Write now what is due, without waiting for the thread."""
        self.keeper.tick()

    def close(self) -> None:
        """End the thread and its process."""
        if self.keeper is not None:
            self.keeper.close()

    def keep_snapshot(self) -> bool:
        """Have a snapshot made by a process of its own, so that nothing waits for it; False if there is none for this
        log."""
        if self.keeper is None or not self._engine().projection.rules.one_ledger:
            return False
        self.keeper.keep_snapshot()
        return True

    def store(self, packed: bytes | None) -> None:
        """Keep the bytes of a snapshot, if they are known and there is a store."""
        if packed is not None and self._log.has_store:
            self._log.keep(packed)

    def look_at_beginning(self) -> None:
        """Look for a checkpoint or snapshot if the log has lost its beginning, and log that once."""
        lost = self._engine().beginning_is_lost
        if lost is not None:
            self._log.look_for_snapshot()
        if lost is not None and not self._is_said:
            LOG.error("%s", lost)
        self._is_said = lost is not None

    def _state(self):
        """As a WriteGate wants it. Without the engine's lock: it reads single attributes."""
        engine = self._engine()
        projection, why = engine.projection, None
        if projection.is_too_new:
            why = str(projection.unknown_level())
        elif not engine.is_current:
            why = str(engine.beginning_is_lost or "its records are being read")
        elif engine.log_state.is_down():
            why = engine.log_state.why
        return why, projection.level, projection.position
