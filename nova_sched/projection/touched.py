"""Which hosts changed since a moment, so that a result that was computed before is renewed for those only."""

import numpy as np
import numpy.typing as npt

#: What changes with the instances and claims on a host. Everything else changes only when the host reports.
USE = frozenset(
    {
        "used",
        "held",
        "free",
        "tree_taken",
        "num_instances",
        "held_claims",
        "pci_free",
        "row_devices",
        "held_guests",
        "image_counts",
    }
)
#: Touches that are kept at least, and how many for each row of the table.
LEAST_KEPT = 4096
KEPT_PER_ROW = 4


class TouchedRows:
    """The root rows that were touched, in order. A moment is the value that :attr:`version` had then.

    ``rows`` is the number of rows that the table has room for; :meth:`grow` follows it.
    """

    def __init__(self, rows: int) -> None:
        self._touches: list[int] = []
        #: Touches that were dropped from the front.
        self._dropped = 0
        #: The version at which something beyond USE was last touched, by root row.
        self._beyond_use_at = np.zeros(0, np.int64)
        self.grow(rows)

    def grow(self, rows: int) -> None:
        """The table has room for ``rows`` rows now."""
        self._beyond_use_at = np.concatenate([self._beyond_use_at, np.zeros(rows - len(self._beyond_use_at), np.int64)])
        self._most = max(KEPT_PER_ROW * rows, LEAST_KEPT)

    @property
    def version(self) -> int:
        """A number that rises with every touch."""
        return self._dropped + len(self._touches)

    def touch(self, root: int) -> None:
        """Note that a host changed, in whatever way."""
        self.touch_use(root)
        # (The version, without the call: each report comes here.)
        self._beyond_use_at[root] = self._dropped + len(self._touches)

    def touch_use(self, root: int) -> None:
        """Note that only :data:`USE` of a host changed."""
        touches = self._touches
        touches.append(root)
        if len(touches) > self._most:
            cut = len(touches) // 2
            del touches[:cut]
            self._dropped += cut

    def since(self, version: int) -> set[int] | None:
        """Root rows touched since a version; None when the touches of that time are no longer kept."""
        if version < self._dropped:
            return None
        return set(self._touches[version - self._dropped :])

    def beyond_use_since(self, version: int, roots: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Of which hosts more than :data:`USE` was touched since a version (bool, shape [roots])."""
        return self._beyond_use_at.take(roots) > version
