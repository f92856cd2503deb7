"""What a weigher is, and how raw values become scores (nova's arithmetic)."""

import abc

import numpy as np


class Weigher(abc.ABC):
    """Base of the weighers: a weigher is a column, and higher is better.

    ``option`` names its multiplier in ``[filter_scheduler]`` and in the metadata of aggregates, where the least
    number of a host's aggregates wins over the option. With ``floor`` set, raw values below it count as it, and it
    is the lower end of the normalization whatever the hosts have. A ``static`` weigher looks at nothing but the table:
    its values are kept and only renewed where a host was touched. A ``costly`` one applies to every request, and is asked
    for its values once.
    """

    name: str = ""
    option: str = ""
    default_multiplier: float = 1.0
    floor: float | None = None
    static: bool = False
    costly: bool = False

    @abc.abstractmethod
    def raw(self, table, rows: np.ndarray, request, scope) -> np.ndarray | None:
        """Raw value of each host (float64, shape [hosts]), by their root ``rows``; None where all are alike."""

    def multipliers(self, table, rows: np.ndarray, configured: float, request, scope):
        """The multiplier: one number, or a vector where aggregates have numbers of their own."""
        numbers = table.aggregate_numbers(self.option) if self.option else {}
        if not numbers:
            return configured
        return np.array([numbers.get(int(row), configured) for row in rows])

    def normalized(self, raw: np.ndarray) -> np.ndarray:
        """Raw values as parts of what is to be multiplied, 0 ... 1."""
        return normalized(raw, *bounds(raw, self.floor))


def bounds(raw: np.ndarray, floor: float | None) -> tuple[float, float]:
    """The least (or ``floor``) and the greatest of raw values, between which they are normalized."""
    high = float(raw.max())
    return (float(raw.min()), high) if floor is None else (floor, max(high, floor))


def normalized(raw: np.ndarray, low: float, high: float) -> np.ndarray:
    """Bring raw values to 0 ... 1 between their :func:`bounds`; all zero where those are equal."""
    if low == high:
        return np.zeros(len(raw))
    return (np.maximum(raw, low) - low) / (high - low)
