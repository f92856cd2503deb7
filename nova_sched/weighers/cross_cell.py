"""CrossCellWeigher: a move that may cross cells rather stays in its own."""

import numpy as np

from nova_sched.weighers.base import Weigher


class CrossCellWeigher(Weigher):
    """Whether the host is in the cell that a move which may cross cells comes from: 1, else -1."""

    name = "CrossCellWeigher"
    option = "cross_cell_move_weight_multiplier"
    default_multiplier = 1_000_000.0
    static = True
    follows_use = False

    def seen(self, request):
        return request.preferred_cell

    def raw(self, table, rows, request, policy, scope):
        if request.preferred_cell is None:
            return None
        return np.where(table.cell.take(rows) == table.cells.get(request.preferred_cell), 1.0, -1.0)
