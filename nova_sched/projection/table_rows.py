"""The rows of some hosts as plain values and bytes, and back into a table: the columns in a snapshot.

Only values from the log are taken: not the claims of a process (``held``), and not the layout of the table (the
numbers of rows, classes and traits).
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np
import numpy.typing as npt

from nova_sched.projection.ledger import Tree
from nova_sched.projection.provider_columns import sum_trees
from nova_sched.projection.table import ALL_BITS, NONE, HostTable, Interned, Profile, RowNumbers, Value
from rpc_api.wording import number_of

#: Columns of shape [classes, rows] and [rows], with the types that they are kept in.
KEPT_AMOUNTS = ("total", "reserved", "min_unit", "max_unit", "step_size", "capacity", "used")
KEPT_FACTS = {
    "disabled": "?",
    "down": "?",
    "profile": "<i4",
    "zone": "<i4",
    "num_io_ops": "<i4",
    "failed_builds": "<i4",
    "num_instances": "<i4",
}

#: Columns that a log has with the rule ``one_ledger``.
KEPT_OF_LEDGER = {"reported": "?", "generation": "<i8", "written_ns": "<i8"}


def taken_out(table: HostTable, trees_of: Sequence[Tree], is_ledger: bool) -> tuple[Any, ...]:
    """The rows of some trees, tree by tree in their order; with the columns of the ledger if the log is one."""
    trees = [table.trees[tree.root] for tree in trees_of]
    rows = np.fromiter(chain.from_iterable(trees), np.int64)
    place = np.full(table.count + 1, NONE, np.int64)  # the last place is for -1, no row
    place[rows] = np.arange(len(rows))
    classes = len(table.classes.values)
    return (
        [len(tree) for tree in trees],
        place[table.parent[rows]].astype("<i4").tobytes(),
        [table.uuids[row] for row in rows],
        [table.provider_names[row] for row in rows],
        [table.row_aggregates[row] for row in rows],
        [table.node_names[tree.root] for tree in trees_of],
        [table.host_ips[tree.root] for tree in trees_of],
        table.classes.values,
        [getattr(table, name)[:classes, rows].astype("<i8").tobytes() for name in KEPT_AMOUNTS],
        table.ratio[:classes, rows].astype("<f8").tobytes(),
        table.traits.values,
        table.trait_words[:, rows].astype("<u8").tobytes(),
        table.profiles.values,
        table.zones.values,
        [getattr(table, name)[rows].astype(kind).tobytes() for name, kind in KEPT_FACTS.items()],
        *(
            [getattr(table, name)[rows].astype(kind).tobytes() for name, kind in KEPT_OF_LEDGER.items()]
            if is_ledger
            else ()
        ),
    )


class Rows:
    """What :func:`taken_out` returned, read and checked; raises ValueError or TypeError if it cannot be right."""

    def __init__(
        self,
        sizes: Sequence[int],
        parents: bytes,
        uuids: Sequence[str],
        provider_names: Sequence[str],
        row_aggregates: Sequence[tuple[str, ...]],
        node_names: Sequence[str | None],
        host_ips: Sequence[str | None],
        classes: Sequence[str],
        amounts: Iterable[bytes],
        ratio: bytes,
        traits: Sequence[str],
        trait_words: bytes,
        profiles: Sequence[Iterable[Any]],
        zones: Sequence[str | None],
        facts: Iterable[bytes],
        *of_ledger: bytes,
    ) -> None:
        self.count = len(uuids)
        self.sizes = sizes
        self.uuids, self.provider_names, self.row_aggregates = uuids, provider_names, row_aggregates
        self.node_names, self.host_ips = node_names, host_ips
        self.starts = [0, *accumulate(sizes)][:-1]
        self.parents = np.frombuffer(parents, "<i4")
        self.classes, self.traits, self.zones = classes, traits, zones
        self.profiles = [Profile(*fields) for fields in profiles]
        self.amounts = {
            name: self._of_classes(packed, "<i8") for name, packed in zip(KEPT_AMOUNTS, amounts, strict=True)
        }
        self.ratio = self._of_classes(ratio, "<f8")
        words = np.frombuffer(trait_words, "<u8")
        self.trait_words = words.reshape(len(words) // self.count if self.count else 0, self.count)
        if self.count and 64 * len(self.trait_words) < len(traits):
            raise ValueError("it has fewer trait bits than traits")
        self.facts = {
            name: np.frombuffer(packed, kind) for (name, kind), packed in zip(KEPT_FACTS.items(), facts, strict=True)
        }
        if of_ledger:
            self.facts |= {
                name: np.frombuffer(packed, kind)
                for (name, kind), packed in zip(KEPT_OF_LEDGER.items(), of_ledger, strict=True)
            }
        lengths = {
            sum(sizes),
            len(self.parents),
            len(provider_names),
            len(row_aggregates),
            *map(len, self.facts.values()),
        }
        if lengths != {self.count} or not len(host_ips) == len(node_names) == len(sizes) or min(sizes, default=1) < 1:
            raise ValueError("its parts do not have the same number of rows")
        for texts in (uuids, provider_names, classes, traits):
            if any(type(text) is not str for text in texts):
                raise ValueError("a name in it is not text")
        if any(type(text) not in (str, type(None)) for text in (*zones, *host_ips, *node_names)):
            raise ValueError("a zone, an address or the name of a node in it is not text")
        if (
            len(set(uuids)) < self.count
            or len(set(classes)) < len(classes)
            or any(type(aggregates) is not tuple for aggregates in row_aggregates)
        ):
            raise ValueError("a provider or a class is there twice, or aggregates are not a list")
        if np.any(self.parents >= np.arange(self.count)) or np.any(self.parents[self.starts] != NONE):
            raise ValueError("a provider comes before its parent, or a root has a parent")
        for values, end in (
            (self.parents, self.count),
            (self.facts["profile"], len(profiles)),
            (self.facts["zone"], len(zones)),
        ):
            if self.count and not NONE <= values.min() <= values.max() < end:
                raise ValueError("a number in it is out of range")

    def _of_classes(self, packed: bytes, kind: str) -> npt.NDArray[Any]:
        return np.frombuffer(packed, kind).reshape(len(self.classes), self.count)

    def put_into(self, table: HostTable, cell_index: int, names: Sequence[str | None]) -> list[tuple[int, ...]]:
        """Take rows of a table for trees, in order, and write all of them: of the hosts ``names``, and where there is
        None of no host. Returns the rows of each tree."""
        if len(names) != len(self.sizes):
            raise ValueError(f"it has {number_of(len(names), 'tree')} and {number_of(len(self.sizes), 'tree')} of rows")
        # Before any row is taken: a value that cannot be a key must change nothing.
        facts = {
            **self.facts,
            "profile": _as_known(self.facts["profile"], self.profiles, table.profiles),
            "zone": _as_known(self.facts["zone"], self.zones, table.zones),
        }
        rows = table.take_rows(self.count)
        roots = rows[np.repeat(self.starts, self.sizes)] if self.count else rows
        self._write_amounts(table, rows)
        self._write_traits(table, rows)
        table.root[rows] = roots
        table.parent[rows] = np.where(self.parents < 0, NONE, rows[self.parents] if self.count else NONE)
        table.nested_rows += int(np.count_nonzero(self.parents >= 0))
        table.cell[roots] = cell_index
        table.children[roots] = np.repeat(np.array(self.sizes, np.int32) - 1, self.sizes)
        for name, values in facts.items():
            getattr(table, name)[rows] = values
        versions = np.array([*(min(profile.hypervisor_version, 2**63 - 1) for profile in self.profiles), 0], np.int64)
        table.hypervisor_version[rows] = versions[self.facts["profile"]]
        return self._write_names(table, rows.tolist(), names)

    def _write_amounts(self, table: HostTable, rows: RowNumbers) -> None:
        for number, resource_class in enumerate(self.classes):
            index = table.class_index(resource_class)
            for name, column in self.amounts.items():
                getattr(table, name)[index, rows] = column[number]
            table.ratio[index, rows] = self.ratio[number]
            table.free[index, rows] = self.amounts["capacity"][number] - self.amounts["used"][number]
            if self.count:
                for largest, name in ((table.largest_min_unit, "min_unit"), (table.largest_step_size, "step_size")):
                    largest[index] = max(largest[index], self.amounts[name][number].max())

    def _write_traits(self, table: HostTable, rows: RowNumbers) -> None:
        indices = [table.traits.id_of(trait) for trait in self.traits]
        table.widen_traits()
        for number, index in enumerate(indices if self.count else ()):
            has = rows[self.trait_words[number >> 6] >> np.uint64(number & 63) & np.uint64(1) != 0]
            table.trait_words[index >> 6, has] |= np.uint64(1 << (index & 63) & ALL_BITS)

    def _write_names(self, table: HostTable, rows: list[int], names: Sequence[str | None]) -> list[tuple[int, ...]]:
        trees: list[tuple[int, ...]] = []
        for row, uuid, provider_name, aggregates in zip(
            rows, self.uuids, self.provider_names, self.row_aggregates, strict=True
        ):
            table.uuids[row] = uuid
            table.provider_names[row] = provider_name
            table.row_aggregates[row] = aggregates
            table.row_of_uuid[uuid] = row
        for name, node_name, host_ip, start, size in zip(
            names, self.node_names, self.host_ips, self.starts, self.sizes, strict=True
        ):
            tree = tuple(rows[start : start + size])
            trees.append(tree)
            table.trees[tree[0]] = tree
            if name is not None and node_name is not None:
                table.is_host[tree[0]] = True
                table.host_names[tree[0]], table.node_names[tree[0]], table.host_ips[tree[0]] = name, node_name, host_ip
                table.row_of_host[name] = tree[0]
        sum_trees(table, trees)
        return trees


def _as_known(values: RowNumbers, kept: Iterable[Value], interned: Interned[Value]) -> RowNumbers:
    """Numbers into ``kept`` as numbers into ``interned``; -1 stays."""
    numbers = np.array([*(interned.id_of(value) for value in kept), NONE])
    return numbers[values]
