"""What a weigher is, and how raw values become scores (Nova's arithmetic)."""

import abc
from collections.abc import Hashable

import numpy as np

from nova_sched.filters.options import Option
from nova_sched.projection.topology import aggregate_numbers
from rpc_api.events import SchedulingRequest


class Weigher(abc.ABC):
    """Base of the weighers: a weigher is a column, and higher is better.

    ``option`` of the section ``group`` is its multiplier, at least ``least``. Aggregates may have another one under
    ``key`` in their metadata (if it is not given, the option's name): the least number of a host's aggregates is used
    instead of the option. The configured number is multiplied with ``direction``, which is -1 if Nova's weigher turns
    it around. With ``zero_is_off`` an option of 0 turns the weigher off, whatever aggregates have.

    With ``floor`` set, raw values below it count as it, and it is the lower end of the normalization whatever the hosts
    have. A ``static`` weigher looks at nothing but the table, what is on the hosts, the policy and what :meth:`seen`
    gives of the request: its values are kept and only renewed where a host was touched; ``follows_use`` is as a
    filter's. A ``costly`` weigher has multipliers of its own, which it is asked for with each request. ``options`` are
    those that it looks at beside the multiplier, as a filter's.
    """

    name: str = ""
    options: tuple[Option, ...] = ()
    group: str = "filter_scheduler"
    option: str = ""
    key: str = ""
    default_multiplier: float = 1.0
    least: float | None = None
    direction: float = 1.0
    zero_is_off: bool = False
    floor: float | None = None
    static: bool = False
    follows_use: bool = True
    costly: bool = False

    def seen(self, request: SchedulingRequest) -> Hashable:
        """All that a static weigher looks at of a request, hashable."""
        return ()

    @abc.abstractmethod
    def raw(self, table, rows: np.ndarray, request, policy, scope) -> np.ndarray | None:
        """Raw value of each host (float64, shape [hosts]), by their root ``rows``; None if all are alike, which a
        static weigher answers for all hosts and for good. NaN for a host that may not be weighed: the request then
        finds no host, for the reason that :meth:`missing` gives."""

    def follows_pools(self, table) -> bool:
        """Whether the values of a static weigher change with the use of pools."""
        return False

    def missing(self, table, row: int, policy) -> str:
        """Why :meth:`raw` gave NaN for a host."""
        return f"{self.name} cannot weigh {table.host_names[row]}"

    def multipliers(self, table, rows: np.ndarray, configured: float, request, scope):
        """The multiplier: one number, or a vector if hosts have numbers of their own."""
        return multipliers(self, table, rows, configured)

    def bounds(self, raw: np.ndarray) -> tuple[float, float]:
        """Between what raw values are normalized."""
        return bounds(raw, self.floor)

    def normalized(self, raw: np.ndarray, low: float, high: float) -> np.ndarray:
        """Raw values as what is multiplied, given their :meth:`bounds`: an array of its own (float64)."""
        return normalized(raw, low, high, self.floor)


def bounds(raw: np.ndarray, floor: float | None) -> tuple[float, float]:
    """The least (or ``floor``) and the greatest of raw values, between which they are normalized."""
    high = float(raw.max())
    return (float(raw.min()), high) if floor is None else (floor, max(high, floor))


def normalized(raw: np.ndarray, low: float, high: float, floor: float | None) -> np.ndarray:
    """Bring raw values to 0 ... 1 between their :func:`bounds`; all zero where those are equal."""
    if low == high:
        return np.zeros(len(raw))
    scaled = (raw if floor is None else np.maximum(raw, floor)) - low
    scaled /= high - low
    return scaled


def multipliers(weigher: Weigher, table, rows: np.ndarray, configured: float):
    """The weigher's multiplier: one number, or a vector if aggregates have numbers of their own."""
    if weigher.zero_is_off and not configured:
        return 0.0
    numbers = aggregate_numbers(table, weigher.key or weigher.option)
    if not numbers:
        return weigher.direction * configured
    column = np.full(table.count, configured, float)
    column[list(numbers)] = list(numbers.values())
    return weigher.direction * column.take(rows)
