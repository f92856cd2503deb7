"""The metrics that hosts report, and columns of those that are asked for."""

import math
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rpc_api.events import HostStatus

#: Columns that are kept: a policy names a few metrics, a JsonFilter query may name any.
COLUMNS_KEPT = 64


class MetricColumn(NamedTuple):
    """One metric of all rows: its ``values`` for whole hosts (float64, NaN where there is none), and which rows are
    ``lacking`` it: there it is reported neither for the whole host nor for its NUMA nodes (bool)."""

    values: npt.NDArray[np.float64]
    lacking: npt.NDArray[np.bool_]


class HostMetrics:
    """The metrics of the hosts of a table, by root row.

    They are kept as each host reports them. The column of a metric is made when it is first asked for, and follows the
    reports from then on: an agent may report many names, and a column for each would cost memory for all rows.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        #: Root row -> the status with its metrics; no row without any.
        self._status: dict[int, HostStatus] = {}
        #: Metric -> its column, the one that was asked for last at the end.
        self._columns: OrderedDict[str, MetricColumn] = OrderedDict()

    def grow(self, rows: int) -> None:
        """The table has ``rows`` rows now."""
        self._rows = rows
        self._columns.clear()

    def write(self, root: int, status: HostStatus) -> None:
        """A host reports a status. A metric whose value is not finite counts as not reported."""
        if status.metrics or status.numa_metrics:
            self._status[root] = status
        elif self._status.pop(root, None) is None:
            return
        if self._columns:
            by_node = {metric.name for metric in status.numa_metrics}
            for name, column in self._columns.items():
                column.values[root] = value = _value(status, name)
                column.lacking[root] = math.isnan(value) and name not in by_node

    def drop(self, row: int) -> None:
        """A row is not used any more."""
        if self._status.pop(row, None) is not None:
            for column in self._columns.values():
                column.values[row] = np.nan
                column.lacking[row] = True

    def column(self, name: str) -> MetricColumn:
        """The column of a metric, to read before the table changes again."""
        column = self._columns.get(name)
        if column is not None:
            self._columns.move_to_end(name)
            return column
        column = self._columns[name] = MetricColumn(np.full(self._rows, np.nan), np.ones(self._rows, bool))
        for root, status in self._status.items():
            column.values[root] = value = _value(status, name)
            column.lacking[root] = math.isnan(value) and all(metric.name != name for metric in status.numa_metrics)
        if len(self._columns) > COLUMNS_KEPT:
            self._columns.popitem(last=False)
        return column

    def of_host(self, root: int) -> dict[str, float]:
        """Metric -> its value, of those that a host reports for itself as a whole."""
        status = self._status.get(root)
        return {} if status is None else {name: value for name, value in status.metrics.items() if math.isfinite(value)}

    def of_nodes(self, root: int) -> dict[str, dict[int, int]]:
        """Metric -> NUMA node -> value, of those that a host reports for its nodes."""
        found: dict[str, dict[int, int]] = {}
        status = self._status.get(root)
        for name, node, value in () if status is None else status.numa_metrics:
            found.setdefault(name, {})[node] = value
        return found


def _value(status: HostStatus, name: str) -> float:
    value = status.metrics.get(name, math.nan)
    return value if math.isfinite(value) else math.nan
