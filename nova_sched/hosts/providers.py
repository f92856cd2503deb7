"""The providers of the hosts in view."""

import numpy as np

from nova_sched.projection.topology import aggregate_rows, pools_of, providers_of


class Providers:
    """The providers of the hosts in view: their rows, and the host (its number in the view) of each. A pool is there
    once for each host that it serves."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.table = table = hosts.table
        #: Which of them are pools; None if no host has one.
        self.are_pools = None
        pools = pools_of(table)
        if not table.nested_rows and not pools.of_host:
            self.rows, self.owner = hosts.index, None
        elif len(hosts) == len(table.roots()):
            self.rows, self.owner, self.are_pools = table.derived("providers", lambda: _all_providers(table, pools))
        else:
            trees = [providers_of(table, int(row)) for row in hosts.rows]
            self.rows = np.array([row for tree in trees for row in tree], np.int64)
            self.owner = np.repeat(np.arange(len(trees)), [len(tree) for tree in trees])
            if pools.of_host:
                self.are_pools = table.root[self.rows] != hosts.rows[self.owner]

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

    def in_aggregates(self, lists, with_root, of_pools=False):
        """Which providers are in an aggregate of each list (``with_root``: or have a root that is; of a pool that is
        the host that it serves, which counts only with ``of_pools``)."""
        own, of_root = self.all(), self.all()
        roots = self.table.root[self.rows] if self.are_pools is None else self.hosts.rows[self.owner]
        for uuids in lists:
            member = np.logical_or.reduce([aggregate_rows(self.table, uuid) for uuid in uuids])
            own &= member[self.rows]
            of_root &= member[roots]
        if self.are_pools is not None and not of_pools:
            of_root &= ~self.are_pools
        return own | of_root if with_root else own

    def in_tree(self, uuid, of_pools):
        """Which providers are in the tree of a provider; pools only with ``of_pools``."""
        row = self.table.row_of_uuid.get(uuid)
        if row is None:
            return self._none()
        found = self.table.root[self.rows] == self.table.root[row]
        return found if self.are_pools is None or of_pools else found & ~self.are_pools

    def all(self):
        """All providers, which is not all rows: some may be unused, or of trees that are no host's."""
        if isinstance(self.rows, slice):
            return self.table.derived("rows of hosts", lambda: _rows_of_hosts(self.table)).copy()
        if self.are_pools is not None and len(self.rows) >= self.table.count:
            return self.table.derived("rows of hosts", lambda: _rows_of_hosts(self.table))[self.rows] | self.are_pools
        return np.ones(len(self.rows), bool)

    def _none(self):
        return np.zeros_like(self.all())


def _rows_of_hosts(table):
    roots = table.root[: table.count]
    return (roots >= 0) & table.is_host[roots]


def _all_providers(table, pools):
    """(Rows, owners, which are pools) of all hosts; the rows are all rows of the table, and then the pools."""
    owner = np.searchsorted(table.roots(), table.root[: table.count])
    if not pools.of_host:
        return slice(0, table.count), owner, None
    pool_rows, hosts = pools.pairs
    rows = np.concatenate([np.arange(table.count), pool_rows])
    owner = np.concatenate([owner, np.searchsorted(table.roots(), hosts)])
    # The owner of a row that is no host's is never looked at, but must be one.
    return rows, np.minimum(owner, len(table.roots()) - 1), np.arange(len(rows)) >= table.count
