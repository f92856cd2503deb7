"""Checkpoints and snapshots of cell0's log: no conductor folds it, so the schedulers write them."""

from nova_sched.process.checkpoint_keeper import CheckpointKeeper
from nova_sched.process.write_gate import WriteGate
from nova_sched.projection import snapshot
from nova_sched.projection.state import CELL0


class Cell0Keeping:
    """``maker`` is a Maker of checkpoints; None if a scheduler writes none."""

    def __init__(self, maker=None):
        self._maker = maker
        #: The CheckpointKeeper; None before the start, and without a maker.
        self.keeper = None

    def start(self, log, engine, faults, clock) -> None:
        """Start to write, for the CellLog of cell0, a scheduler's Engine, and its ``faults`` (cell -> error) of logs
        that cannot be read."""
        self._log, self._engine, self._faults = log, engine, faults
        if self._maker is not None:
            gate = WriteGate(log, self._state, clock, self._maker.limits)
            self.keeper = CheckpointKeeper(log, self._maker, gate, clock).start()

    def close(self) -> None:
        """End the thread and its process."""
        if self.keeper is not None:
            self.keeper.close()

    def keep_snapshot(self) -> None:
        """Save the state of cell0's log in the snapshot store, once it is known; from level 3 on by a process of its
        own. The conductors save those of the other logs."""
        projection = self._engine.world.projections[CELL0]
        if self._engine.states.is_behind(CELL0):
            return
        if self.keeper is not None and projection.rules.one_ledger:
            self.keeper.keep_snapshot()
        else:
            self._log.keep(snapshot.dump(projection))

    def _state(self):
        """As a WriteGate wants it, from any thread: it reads single attributes."""
        projection, states = self._engine.world.projections[CELL0], self._engine.states
        why = None
        if projection.is_too_new:
            why = str(projection.unknown_level())
        elif states.is_behind(CELL0):
            why = str(states.beginning_is_lost(CELL0) or "its records are being read")
        elif (fault := self._faults.get(CELL0)) is not None:
            why = str(fault)
        return why, projection.level, projection.position
