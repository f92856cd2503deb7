"""The state of hosts as the page shows it, read from a projection while it is folded."""

from nova_sched.page.residents import Residents
from nova_sched.page.tape import Change, Tape, absent
from nova_sched.replay.state.hosts import is_disabled


def status_number(host, table) -> int:
    """Return the index of a host's status in :data:`~nova_sched.page.frame.STATUSES`."""
    if host.lost:
        return 3
    if host.status.forced_down:
        return 2
    return 1 if is_disabled(host, table) else 0


class HostWatch:
    """Finds what changed on the hosts of one projection, for its Tape; notes the consumers in ``residents``."""

    def __init__(self, projection, tape: Tape, residents: Residents):
        self._projection, self._tape, self._residents = projection, tape, residents
        #: Root row -> the host that was there when it was looked at last.
        self._name_at = {}

    def all(self) -> list[Change]:
        """Return a Change for each host that is there."""
        position = self._projection.position
        return [self._change(host, position) for _, host in sorted(self._projection.hosts.items())]

    def moment(self) -> tuple[int, int]:
        """Return what :meth:`changes` takes, before a record is folded."""
        table = self._projection.table
        return table.touched.version, table.plain_touched.version

    def changes(self, moment: tuple[int, int]) -> list[Change]:
        """Return the Changes of the hosts of the projection since a moment, after a record was folded."""
        projection, table = self._projection, self._projection.table
        position = projection.position
        # (A row that is taken or freed is only among the second.)
        touched = table.touched.since(moment[0]), table.plain_touched.since(moment[1])
        if None in touched:
            touched = self._name_at, {host.root for host in projection.hosts.values()}
        found = []
        roots = {*touched[0], *touched[1]}
        for root in sorted(roots):
            host = projection.hosts.get(table.host_names[root]) if root < table.count else None
            if host is not None and host.root != root:
                host = None
            before = self._name_at.get(root)
            if before is not None and (host is None or host.name != before):
                del self._name_at[root]
                if before not in projection.hosts:
                    number = self._tape.number_of(before)
                    self._residents.note(number, position, {}, self._tape.first.position)
                    found.append(absent(len(table.classes.values), number))
            if host is not None:
                found.append(self._change(host, position))
        return found

    def _change(self, host, position):
        table, number = self._projection.table, self._tape.number_of(host.name)
        self._name_at[host.root] = host.name
        self._residents.note(number, position, host.entries, self._tape.first.position)
        return Change(number, status_number(host, table), len(host.entries), _amounts(table, host.root))


def _amounts(table, root):
    """Return the use of each class over the tree of a host, and then the capacity of each."""
    rows, classes = table.trees[root], range(len(table.classes.values))
    if len(rows) == 1:
        return [column.item(number, root) for column in (table.used, table.capacity) for number in classes]
    return [
        sum(column.item(number, row) for row in rows) for column in (table.used, table.capacity) for number in classes
    ]
