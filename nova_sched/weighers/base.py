"""What a weigher is, and how raw values become scores (nova's arithmetic)."""

import numpy as np


class Weigher:
    """Base of the weighers: a weigher is a column, and higher is better.

    ``option`` names its multiplier in ``[filter_scheduler]`` and in the metadata of aggregates, where the least
    number of a host's aggregates wins over the option. With ``floor`` set, raw values below it count as it, and it
    is the lower end of the normalization whatever the hosts have.
    """

    name: str = ""
    option: str = ""
    default_multiplier: float = 1.0
    floor: float | None = None

    def raw(self, table, rows: np.ndarray, request, scope) -> np.ndarray | None:
        """Raw value of each host (float64, shape [hosts]), by their root ``rows``; None where all are alike."""
        raise NotImplementedError


def normalized(raw: np.ndarray, floor: float | None) -> np.ndarray:
    """Bring raw values to 0 ... 1 between the least (or ``floor``) and the greatest; all zero where they are equal."""
    if floor is not None:
        raw = np.maximum(raw, floor)
    low = raw.min() if floor is None else floor
    high = raw.max()
    if low == high:
        return np.zeros(len(raw))
    return (raw - low) / (high - low)


def multipliers(weigher: Weigher, table, rows: np.ndarray, configured: float):
    """The weigher's multiplier: one number, or a vector where aggregates have numbers of their own."""
    numbers = table.aggregate_numbers(weigher.option) if weigher.option else {}
    if not numbers:
        return configured
    return np.array([numbers.get(int(row), configured) for row in rows])
