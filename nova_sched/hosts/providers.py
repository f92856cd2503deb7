"""The providers of the hosts in view."""

import numpy as np

from nova_sched.projection.topology import aggregate_rows


class Providers:
    """The providers of the hosts in view: their rows, and the host (its number in the view) of each."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.table = table = hosts.table
        if not table.nested_rows:
            self.rows, self.owner = hosts.index, None
        elif len(hosts) == len(table.roots()):
            self.rows = slice(0, table.count)
            self.owner = table.derived("owner", lambda: np.searchsorted(table.roots(), table.root[: table.count]))
        else:
            trees = [table.trees[int(row)] for row in hosts.rows]
            self.rows = np.array([row for tree in trees for row in tree], np.int64)
            self.owner = np.repeat(np.arange(len(trees)), [len(tree) for tree in trees])

    def any(self, providers: np.ndarray) -> np.ndarray:
        """Which hosts have one of these providers (bool, shape [hosts in view])."""
        if self.owner is None:
            return providers
        found = np.zeros(len(self.hosts), bool)
        found[self.owner[providers]] = True
        return found

    def count(self, providers: np.ndarray) -> np.ndarray:
        """How many of these providers each host has."""
        if self.owner is None:
            return providers.astype(np.int64)
        return np.bincount(self.owner[providers], minlength=len(self.hosts))

    def roots(self):
        """Which providers are hosts themselves."""
        return self.table.is_host[self.rows]

    def room(self, resource_class, amount):
        """Which providers have room for an amount."""
        index = self.table.classes.get(resource_class)
        if index < 0:
            return self._none()
        return self.table.room(index, amount, self.rows)

    def has_trait(self, trait):
        """Which providers have a trait."""
        return self.table.has_trait(trait, self.rows)

    def in_aggregates(self, lists, with_root):
        """Which providers are in an aggregate of each list (``with_root``: or have a root that is)."""
        own, of_root = self.all(), self.all()
        for uuids in lists:
            member = np.logical_or.reduce([aggregate_rows(self.table, uuid) for uuid in uuids])
            own &= member[self.rows]
            of_root &= member[self.table.root[self.rows]]
        return own | of_root if with_root else own

    def in_tree(self, uuid):
        """Which providers are in the tree of a provider."""
        row = self.table.row_of_uuid.get(uuid)
        return self._none() if row is None else self.table.root[self.rows] == self.table.root[row]

    def all(self):
        """All providers, which is not all rows: some may be unused."""
        if isinstance(self.rows, slice):
            return self.table.root[self.rows] >= 0
        return np.ones(len(self.rows), bool)

    def _none(self):
        return np.zeros_like(self.all())
