"""The hosts of one cell at a moment, as arrays that nobody changes."""

from typing import NamedTuple

import numpy as np

#: Statuses of hosts, by their numbers in a Frame. A host has the highest one that is true.
STATUSES = ("up", "disabled", "forced down", "lost")
#: The number of a host that is not there at that moment: not reported yet, or removed.
ABSENT = -1


class Frame(NamedTuple):
    """``status`` (an index of STATUSES, or ABSENT; int8, shape [hosts]), ``instances`` (int32, shape [hosts]), ``used``
    and ``capacity`` (int64, shape [classes, hosts])."""

    status: np.ndarray
    instances: np.ndarray
    used: np.ndarray
    capacity: np.ndarray

    @classmethod
    def empty(cls, classes: int = 0, hosts: int = 0) -> "Frame":
        """Return a frame in which no host is there."""
        return cls(
            np.full(hosts, ABSENT, np.int8),
            np.zeros(hosts, np.int32),
            np.zeros((classes, hosts), np.int64),
            np.zeros((classes, hosts), np.int64),
        )

    def grown(self, classes: int, hosts: int) -> "Frame":
        """Return a copy with room for more classes and hosts."""
        made = Frame.empty(classes, hosts)
        old_classes, old_hosts = self.used.shape
        made.status[:old_hosts] = self.status
        made.instances[:old_hosts] = self.instances
        made.used[:old_classes, :old_hosts] = self.used
        made.capacity[:old_classes, :old_hosts] = self.capacity
        return made

    def copy(self) -> "Frame":
        """Return a copy."""
        return Frame(*(part.copy() for part in self))

    def cut(self, classes: int, hosts: int) -> "Frame":
        """Return the part of the first classes and hosts, as views."""
        return Frame(
            self.status[:hosts], self.instances[:hosts], self.used[:classes, :hosts], self.capacity[:classes, :hosts]
        )
