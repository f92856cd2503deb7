"""Which hosts are in one state of NUMA nodes and PCI devices: of thousands of hosts there are few,
so one verdict serves many."""

from collections import OrderedDict

import numpy as np

MAX_KNOWN = 64
#: States that no host is in any more, beside two for each host, before they are forgotten.
MAX_LEFT = 1024


class DeviceStates:
    """``numbers`` has the number of each row's state (int32, shape [rows]; -1 for a row without devices), ``values``
    its HostDevices. Claims in flight count as in :meth:`HostTable.devices`."""

    def __init__(self, table):
        self.table = table
        self._begin()

    def _begin(self):
        table = self.table
        self.numbers = np.full(table.count, -1, np.int32)
        self.values = []
        self._number_of = {}
        self._known = OrderedDict()
        self._version = table.touched.version
        self._read([row for row, devices in enumerate(table.row_devices) if devices is not None])

    def renewed(self) -> "DeviceStates":
        """The same after looking again at hosts that were touched."""
        touched = self.table.touched.since(self._version)
        if touched is None or len(self.values) > 2 * self.table.count + MAX_LEFT:
            self._begin()
        elif touched:
            self._version = self.table.touched.version
            self._read(touched)
        return self

    def _read(self, rows):
        numbers, number_of = self.numbers, self._number_of
        for row in rows:
            devices = self.table.devices(row)
            if devices is None:
                numbers[row] = -1
                continue
            number = number_of.setdefault(devices.key, len(self.values))
            if number == len(self.values):
                self.values.append(devices)
            numbers[row] = number

    def verdicts(self, question, numbers: np.ndarray, verdict) -> dict:
        """State number -> ``verdict(HostDevices)`` (None for -1) for all states among ``numbers``. The verdicts on
        a question are kept, so the question must name everything that a verdict depends on."""
        known = self._known.setdefault(question, {})
        self._known.move_to_end(question)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        for number in distinct(numbers):
            if number not in known:
                known[number] = verdict(self.values[number] if number >= 0 else None)
        return known


def distinct(numbers: np.ndarray) -> list[int]:
    """The different ones of some numbers of -1 or more."""
    if len(numbers) < 16:
        return sorted(set(numbers.tolist()))
    return (np.flatnonzero(np.bincount(numbers + 1)) - 1).tolist()


def told(verdicts: dict, numbers: np.ndarray) -> np.ndarray:
    """The verdict (an integer) on the state of each of some numbers (int64)."""
    if len(numbers) < 16:
        return np.array([verdicts[number] for number in numbers.tolist()], np.int64)
    found = distinct(numbers)
    table = np.zeros(found[-1] + 2, np.int64)
    table[np.array(found) + 1] = [verdicts[number] for number in found]
    return table.take(numbers + 1)
