"""What the pools of hosts have of a resource class, as a part of what the hosts have."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from nova_sched.projection.table import HostTable, RowNumbers
from nova_sched.projection.topology import Pools

Values = npt.NDArray[np.float64]
#: Up to so many hosts are looked at one by one.
FEW = 16


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
    pool_rows, hosts = pools.pairs
    distinct = np.unique(pool_rows)
    amounts = np.array([amount_of(pool) for pool in distinct.tolist()], float)
    sums = np.bincount(hosts, amounts[np.searchsorted(distinct, pool_rows)], minlength=table.count)
    return sums.take(rows).astype(float)
