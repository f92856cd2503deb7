"""What the pools of hosts have of a resource class, as a part of what the hosts have."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from nova_sched.projection.table import HostTable, RowNumbers
from nova_sched.projection.topology import Pools

Values = npt.NDArray[np.float64]
#: Up to so many hosts are looked at one by one.
FEW = 16


def have_class(table: HostTable, pools: Pools, index: int) -> bool:
    """Whether a pool has an inventory of class ``index``."""
    return any(table.step_size.item(index, pool) for pool in pools.rows)


def total_of_pools(table: HostTable, pools: Pools, index: int, rows: RowNumbers) -> Values:
    """How much of class ``index`` the pools of some hosts have, used or not (float64, shape [hosts])."""
    return _of_hosts(table, pools, rows, lambda pool: table.total.item(index, pool))


def free_of_pools(table: HostTable, pools: Pools, index: int, scaled: bool, rows: RowNumbers) -> Values:
    """What is not reserved and not used of class ``index`` in the pools of some hosts, by their root rows (float64,
    shape [hosts]); the total counts times the allocation ratio if it is ``scaled``."""

    def free_of(pool: int) -> float:
        total = table.total.item(index, pool) * (table.ratio.item(index, pool) if scaled else 1)
        taken = table.used.item(index, pool) + table.held.item(index, pool)
        return float(total - table.reserved.item(index, pool) - taken)

    return _of_hosts(table, pools, rows, free_of)


def _of_hosts(table: HostTable, pools: Pools, rows: RowNumbers, amount_of: Callable[[int], float]) -> Values:
    if len(rows) <= FEW:
        return np.array([sum(map(amount_of, pools.of_host.get(row, ()))) for row in rows.tolist()], float)
    amounts = np.array([amount_of(pool) for pool in pools.rows], float)
    if not amounts.any():
        return np.zeros(len(rows))
    if len(amounts) == 1 and len(pools.of_host) == len(table.roots()):
        # One pool for the whole cloud, as many have.
        return np.full(len(rows), amounts[0])
    if pools.only is not None:
        return np.append(amounts, 0.0).take(pools.only.take(rows))
    sums = np.bincount(pools.pairs[1], amounts.take(pools.places), minlength=table.count)
    found: Values = sums.take(rows)  # type: ignore[assignment]  # with weights they are floats
    return found
