"""A log that is read into a table of its own, and then moved into the table that all logs of a process share.

Reading a log again takes seconds, and moving its rows a small part of that. So the owner of the shared table can keep
the last state of the log, and go on with the other logs, until the new state is complete.
"""

from nova_sched.projection.ledger import Host, Tree
from nova_sched.projection.projection import Projection
from nova_sched.projection.snapshot_ledger import plain_trees
from nova_sched.projection.table import HostTable
from nova_sched.projection.table_rows import Rows, taken_out


class Moving:
    """A projection whose table nobody else uses. Nothing may be folded into it before :meth:`into`."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._hosts = list(projection.hosts.values())
        self._trees: list[Tree] = [*self._hosts, *plain_trees(projection)]
        self._rows = Rows(*taken_out(projection.table, self._trees, True))

    def into(self, table: HostTable) -> Projection:
        """Write all rows into a table; returns the projection, which is in that table from now on."""
        projection, before = self._projection, self._projection.table
        projection.table, projection.cell_index = table, table.cells.id_of(projection.cell)
        table.set_level(projection.cell_index, projection.level)
        names = [host.name for host in self._hosts]
        placed = self._rows.put_into(table, projection.cell_index, [*names, *[None] * (len(self._trees) - len(names))])
        for tree, rows in zip(self._trees, placed, strict=True):
            if type(tree) is Host:
                table.metrics.write(rows[0], tree.status)
                table.set_devices(rows[0], before.row_devices[tree.root])
            tree.root = rows[0]
            tree.rows = {table.uuids[row]: row for row in rows}
        table.aggregates.update(projection.aggregates)
        return projection
