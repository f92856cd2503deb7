"""The host aggregates of each host, and their metadata.

Hosts of the same aggregates share one :class:`Metadata`, so that a filter asks once for each distinct set of
aggregates and not once for each host. A host is in an aggregate that lists its name, as in Nova; the
aggregates that providers report (Placement's) do not count here.
"""

import numpy as np

from nova_sched.projection.table import MAX_CAPACITY

#: Metadata keys that hold whole numbers.
NUMBER_KEYS = ("max_io_ops_per_host", "max_instances_per_host")


class Metadata:
    """The metadata of the aggregates of a host: ``aggregates`` are AggregateUpdated records in the order of their
    uuids, ``keys`` the keys that any of them has."""

    __slots__ = ("_words", "aggregates", "keys")

    def __init__(self, aggregates):
        self.aggregates = aggregates
        self.keys = frozenset(key for aggregate in aggregates for key in aggregate.metadata)
        self._words = {}

    def values(self, key: str) -> set[str]:
        """The values of a key, unchanged."""
        return {aggregate.metadata[key] for aggregate in self.aggregates if key in aggregate.metadata}

    def words(self, key: str) -> set[str]:
        """The values of a key, split at commas."""
        words = self._words.get(key)
        if words is None:
            words = self._words[key] = {word.strip() for value in self.values(key) for word in value.split(",")}
        return words

    def words_under(self, prefix: str) -> set[str]:
        """The words of all keys that begin with a prefix; empty if there is no such key."""
        # No key has a prefix in this form.
        words = self._words.get((prefix,))
        if words is None:
            words = self._words[prefix,] = set().union(
                *(self.words(key) for key in self.keys if key.startswith(prefix))
            )
        return words

    def least(self, key: str, default: int) -> int:
        """The lowest whole number under a key; ``default`` if there is none, or if one value is not a whole number."""
        try:
            least = min(map(int, self.values(key)), default=default)
        except ValueError:
            return default
        return max(-1, min(least, MAX_CAPACITY))


class HostAggregates:
    """``column`` has the number of each row's set of aggregates (int32, shape [rows]; 0: none), ``metadata`` the
    :class:`Metadata` of each number, ``keys`` all keys that occur."""

    def __init__(self, table):
        uuids_of = {}
        for uuid in sorted(table.aggregates):
            for host in table.aggregates[uuid].hosts:
                if host in table.row_of_host:
                    uuids_of.setdefault(table.row_of_host[host], []).append(uuid)
        self.column = np.zeros(table.count, np.int32)
        numbers = {(): 0}
        for row, uuids in uuids_of.items():
            self.column[row] = numbers.setdefault(tuple(dict.fromkeys(uuids)), len(numbers))
        self.metadata = [Metadata([table.aggregates[uuid] for uuid in uuids]) for uuids in numbers]
        self.keys = frozenset().union(*(metadata.keys for metadata in self.metadata))


def host_aggregates(table) -> HostAggregates:
    """The :class:`HostAggregates` of a table, kept until its topology changes."""
    return table.derived("aggregates of hosts", lambda: HostAggregates(table))


def _number_fault(key, value):
    try:
        int(value)
    except ValueError:
        return f"{key} is {value[:80]!r}, wanted a whole number; until that is fixed the option {key} is used there"
    return None


def metadata_faults(aggregate) -> list[str]:
    """What is wrong with the metadata of an AggregateUpdated, one sentence each."""
    faults = [_number_fault(key, aggregate.metadata[key]) for key in NUMBER_KEYS if key in aggregate.metadata]
    return [f"aggregate {aggregate.name[:80]}: {fault}" for fault in faults if fault]
