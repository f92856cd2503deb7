"""Whole worlds of the past, for what the tapes do not have: everything of one host, and the instances of a project."""

import threading

from nova_sched.page.cloud import NotReady
from nova_sched.projection.world import World
from nova_sched.replay.state.history import History

#: Worlds that are kept.
KEPT = 2
#: Records from a kept world to a wanted one, at most: beyond that a snapshot is nearer.
FAR = 20_000
#: Seconds that a request waits for others that fold.
WAIT_SECONDS = 10.0
#: Requests that wait or fold at most.
WAITING = 4


class Past:
    """The worlds of some logs at earlier positions. One request folds at a time."""

    def __init__(self, source, cache=None, store=None):
        self.source = source
        self._history = History(source.logs, cache, store)
        #: [(cell -> position, World)], the last one used first.
        self._kept = []
        self._lock = threading.Lock()
        self._room = threading.Semaphore(WAITING)

    def ask(self, positions: dict, question):
        """Return ``question(world)`` of the World at a position of each cell. LogGap if that state is not known."""
        if not self._room.acquire(blocking=False):
            raise NotReady("several requests about the past are answered already; try again in some seconds")
        try:
            if not self._lock.acquire(timeout=WAIT_SECONDS):
                raise NotReady("another request about the past takes long; try again in some seconds")
            try:
                return question(self._world(dict(positions)))
            finally:
                self._lock.release()
        finally:
            self._room.release()

    def _world(self, wanted) -> World:
        for kept in self._kept:
            at, world = kept
            ahead = [wanted[cell] - at[cell] for cell in wanted] if at.keys() == wanted.keys() else [-1]
            if min(ahead, default=0) >= 0 and sum(ahead) <= FAR:
                self._kept.remove(kept)
                for cell, position in wanted.items():
                    self._history.forward(world, cell, position)
                break
        else:
            world = self._history.world_at(wanted)
        self._kept = [(wanted, world), *self._kept][:KEPT]
        return world
