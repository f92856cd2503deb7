"""Answers that are the same for several browsers, made once."""

import threading
from collections import OrderedDict


class Bodies:
    """The last ``most`` results by their keys. A request for one that is being made waits for it."""

    def __init__(self, most: int):
        self._most = most
        self._kept = OrderedDict()
        self._lock = threading.Lock()
        self._making = threading.Lock()

    def get(self, key, make):
        """Return the result of a key, made by ``make()`` if it is not kept."""
        found = self._look(key)
        if found is None:
            # One at a time: several would only share the processor.
            with self._making:
                found = self._look(key)
                if found is None:
                    found = make()
                    with self._lock:
                        self._kept[key] = found
                        while len(self._kept) > self._most:
                            self._kept.popitem(last=False)
        return found

    def _look(self, key):
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found
