"""The hosts that a filter or weigher looks at."""

import numpy as np

from nova_sched.hosts.aggregates import host_aggregates
from nova_sched.hosts.device_groups import DeviceStates
from nova_sched.projection.rules import SINCE

#: Up to how many hosts are looked at one by one, which is faster than column by column.
FEW = 16


class HostView:
    """The hosts that a filter looks at: all of a table, or only those that the log has touched.

    ``rows`` are their root rows. ``column(name)`` gives one fact of each, without a copy where the rows are all rows.
    """

    def __init__(self, table, rows: np.ndarray):
        self.table = table
        self.rows = rows
        self.index = slice(0, table.count) if len(rows) == table.count else rows

    def __len__(self):
        return len(self.rows)

    def column(self, name: str) -> np.ndarray:
        """A column of :data:`nova_sched.projection.table.FACTS`, shape [hosts in view]."""
        return getattr(self.table, name)[self.index]

    def by_value(self, name: str, verdict) -> np.ndarray:
        """``verdict(value)`` for each host's value of an interned column, asked once for each distinct value."""
        column = self.column(name)
        if len(column) <= FEW:
            values = column.tolist()
            verdicts = {value: value >= 0 and verdict(value) for value in set(values)}
            return np.array([verdicts[value] for value in values], bool)
        # The last place is that of no value: -1.
        occurs = np.zeros(int(column.max(initial=-1)) + 2, bool)
        occurs[column] = True
        verdicts = np.zeros(len(occurs), bool)
        for value in np.flatnonzero(occurs[:-1]).tolist():
            verdicts[value] = verdict(value)
        return verdicts[column]

    def by_aggregates(self, verdict) -> np.ndarray:
        """``verdict(metadata)`` for the :class:`~nova_sched.hosts.aggregates.Metadata` of each host, asked
        once for each distinct set of aggregates."""
        of_hosts = host_aggregates(self.table)
        column = of_hosts.column[self.index]
        verdicts = np.zeros(len(of_hosts.metadata), bool)
        for number in range(len(verdicts)) if len(verdicts) <= len(self) else np.unique(column).tolist():
            verdicts[number] = verdict(of_hosts.metadata[number])
        return verdicts[column]

    def aggregate_limits(self, key: str, default: int) -> np.ndarray:
        """The least whole number that aggregates of each host have under a key (int64, shape [hosts in view]); the
        default for hosts without one, and for hosts with an aggregate whose value is not a whole number."""
        return aggregate_limits(self.table, key, default)[self.index]

    def aggregate_keys(self) -> frozenset:
        """All keys that aggregates have in their metadata."""
        return host_aggregates(self.table).keys

    def by_rule(self, rule: str) -> np.ndarray | bool:
        """For which hosts in view a rule of :class:`nova_sched.projection.rules.Rules` is in force (bool, shape [hosts
        in view]); True or False if that is so for all of them. The level of their cell's log decides."""
        since, levels = SINCE[rule], self.table.levels
        if all(level >= since for level in levels.values()):
            return True
        if all(level < since for level in levels.values()):
            return False
        in_force = np.array([levels.get(cell, 1) >= since for cell in range(len(self.table.cells.values))], bool)
        return in_force[self.column("cell")]

    def metric(self, name: str) -> np.ndarray:
        """What the hosts report under a metric's name (float64, shape [hosts in view]; NaN where they do not)."""
        return self.table.metric(name)[self.index]

    def lacks_metric(self, name: str) -> np.ndarray:
        """Which hosts in view report a metric neither for the host nor for its NUMA nodes."""
        return self.table.lacks_metric(name)[self.index]

    def device_states(self):
        """(:class:`~nova_sched.hosts.device_groups.DeviceStates`, the number of each host's state in it)."""
        states = self.table.derived("device states", lambda: DeviceStates(self.table)).renewed()
        return states, states.numbers[self.index]

    def ratios(self, resource_class: str) -> np.ndarray:
        """``table.ratio_of(row, resource_class)`` of each host in view (float64, shape [hosts in view])."""
        table, index = self.table, self.table.classes.get(resource_class)
        if index < 0:
            return np.ones(len(self))
        ratios, on_root = table.ratio[index, self.index].copy(), table.total[index, self.index] != 0
        for number in np.flatnonzero(~on_root).tolist():
            ratios[number] = table.ratio_of(int(self.rows[number]), resource_class)
        return ratios

    def in_rows(self, rows) -> np.ndarray:
        """Which hosts in view have their root row among ``rows``."""
        member = np.zeros(self.table.count, bool)
        member[list(rows)] = True
        return member[self.index]


def aggregate_limits(table, key: str, default: int) -> np.ndarray:
    """As :meth:`HostView.aggregate_limits` of all rows of a table."""
    return table.derived(("aggregate limits", key, default), lambda: _aggregate_limits(table, key, default))


def _aggregate_limits(table, key, default):
    of_hosts = host_aggregates(table)
    return np.array([metadata.least(key, default) for metadata in of_hosts.metadata], np.int64)[of_hosts.column]
