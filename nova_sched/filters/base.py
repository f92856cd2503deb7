"""What a filter is.

A filter is a pure function from the columns of the hosts in view and a
request to refusals: for each reason one boolean vector, true where the host
is refused. Of several reasons a host counts under the first, so that the
counts of all refusals and the survivors add up to the hosts in view.
"""

import abc
from typing import NamedTuple

import numpy as np

from nova_sched.hosts.device_groups import DeviceStates
from nova_sched.hosts.aggregates import host_aggregates

#: Up to how many hosts are looked at one by one, which is faster than column by column.
FEW = 16


class Refusal(NamedTuple):
    """``hosts`` (bool, shape [hosts in view]) are refused for ``reason``, a stable short text."""

    reason: str
    hosts: np.ndarray


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
        default for hosts without one, and where one of theirs is no whole number."""
        return aggregate_limits(self.table, key, default)[self.index]

    def aggregate_keys(self) -> frozenset:
        """All keys that aggregates have in their metadata."""
        return host_aggregates(self.table).keys

    def metric(self, name: str) -> np.ndarray:
        """What the hosts report under a metric's name (float64, shape [hosts in view]; NaN where they do not)."""
        return self.table.metric(name)[self.index]

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


class Filter(abc.ABC):
    """Base of the filters.

    ``static`` filters look at the table and at what :meth:`seen` gives of the request: their result is kept for all
    requests of which that is the same, and only renewed where the log touched a host.
    One that looks at nothing of a host that is :data:`~nova_sched.projection.table.USE` does not ``follow_use``,
    and is not asked again where a claim touched a host; :meth:`follows` says it of one request. Others may look at
    ``scope``, the :class:`nova_sched.selection.scope.Scope` of this one request. A ``costly`` filter is shown the
    hosts only that no filter before it refused. A rebuild, which stays on its host and takes nothing more of it, is
    only shown to the filters ``on_rebuild``. One with a :meth:`refusal_of` of its own is asked ``one_by_one`` about
    a few hosts.

    ``options`` are those that it looks at, of the section [filter_scheduler] unless another is said ("[metrics]
    required"); ``reasons`` all texts that it refuses with, a word in braces for what differs.
    """

    name: str = ""
    options: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    static: bool = True
    follows_use: bool = True
    costly: bool = False
    on_rebuild: bool = False
    one_by_one: bool = False

    def __init_subclass__(cls, **arguments):
        super().__init_subclass__(**arguments)
        # Who refuses otherwise than the class it is made of is not told, one by one or by use, what that one would say.
        whose = {
            name: next(number for number, one in enumerate(cls.__mro__) if name in vars(one))
            for name in ("refusals", "refusal_of", "follows")
        }
        for name in ("refusal_of", "follows"):
            if whose["refusals"] < whose[name]:
                setattr(cls, name, getattr(Filter, name))
        cls.one_by_one = cls.refusal_of is not Filter.refusal_of

    def seen(self, request):
        """All that a static filter looks at of a request, hashable."""
        return ()

    def follows(self, request) -> bool:
        """Whether a static filter looks at the use of hosts for a request; it is the same for all of which
        :meth:`seen` is."""
        return self.follows_use

    @abc.abstractmethod
    def refusals(self, hosts: HostView, request, policy, scope):
        """Yield a :class:`Refusal` for each reason; none at all where the filter does not apply to the request. A
        static filter yields the same reasons in the same order whichever hosts are in view, as those stand in what is
        kept."""

    def refusal_of(self, table, row: int, request, policy) -> str | None:
        """The first reason of a static filter to refuse one host, by its root row; None where it passes. The same as
        :meth:`refusals` say, in a fraction of the time where the filter is asked ``one_by_one``."""
        for refusal in self.refusals(HostView(table, np.array([row])), request, policy, None):
            if refusal.hosts[0]:
                return refusal.reason
        return None
