"""What ``GET /allocation_candidates`` says of providers: JSON that is kept for each tree until the tree changes."""

import json
from collections.abc import Collection, Iterable

from nova_sched.projection.allocations import Amounts
from nova_sched.projection.inventory import CUSTOM
from nova_sched.projection.provider_rows import parent_of, traits_of
from nova_sched.projection.table import HostTable

HAS_TRAITS = (1, 17)
HAS_ALL_CLASSES = (1, 27)
HAS_TREES = (1, 29)
#: What nobody gave back.
NOTHING: Amounts = {}


class Summaries:
    """The summaries of the trees of a table. Hold the lock of the table during each call."""

    def __init__(self, table: HostTable):
        self._table = table
        #: Root row -> the members of a JSON object, one for each provider of the tree; None if it is not made.
        self._pieces: list[bytes | None] = []
        #: Bits of traits -> the JSON of their names: most hosts have the same traits.
        self._traits: dict[bytes, str] = {}
        self._seen = self._versions()

    def of(self, roots: Iterable[int], given_back: Amounts = NOTHING) -> list[bytes]:
        """The summaries of all providers of some trees, by their root rows, as they are from microversion 1.29 on:
        members of a JSON object, to be joined with commas. What was ``given_back`` is not used any more, although the
        table counts it."""
        self._forget_changed()
        pieces, make = self._pieces, self._make
        if given_back:
            row_of, root_of = self._table.row_of_uuid, self._table.root.item
            # (A provider that was removed from its log may be named by what another log gives back.)
            other = {root_of(row_of[uuid]) for uuid, _ in given_back if uuid in row_of}
            return [self._text(root, given_back) if root in other else pieces[root] or make(root) for root in roots]
        return [pieces[root] or make(root) for root in roots]

    def _versions(self) -> tuple[int, int]:
        return self._table.touched.version, self._table.plain_touched.version

    def _forget_changed(self) -> None:
        table, pieces = self._table, self._pieces
        now = self._versions()
        if now != self._seen:
            hosts, others = table.touched.since(self._seen[0]), table.plain_touched.since(self._seen[1])
            self._seen = now
            if hosts is None or others is None or len(self._traits) > table.count:
                pieces.clear()
                self._traits.clear()
            else:
                for root in hosts | others:
                    if 0 <= root < len(pieces):
                        pieces[root] = None
        pieces += [None] * (table.count - len(pieces))

    def _make(self, root: int) -> bytes:
        made = self._pieces[root] = self._text(root, NOTHING)
        return made

    def _text(self, root: int, given_back: Amounts) -> bytes:
        return ", ".join([self._of_provider(row, given_back) for row in self._table.trees[root]]).encode()

    def _of_provider(self, row: int, given_back: Amounts) -> str:
        table = self._table
        names, uuid = table.classes.values, table.uuids[row]
        used = [
            (index, table.used.item(index, row) - given_back.get((uuid, names[index]), 0))
            for index in table.step_size[: len(names), row].nonzero()[0].tolist()
        ]
        resources = ", ".join(
            f'"{names[index]}": {{"capacity": {_capacity(table, row, index)}, "used": {amount}}}'
            for index, amount in used
        )
        words = table.trait_words[:, row].tobytes()
        traits = self._traits.get(words)
        if traits is None:
            # As in Placement, those of the cloud's own come last.
            names = sorted(traits_of(table, row), key=lambda name: (name.startswith(CUSTOM), name))
            traits = self._traits[words] = json.dumps(names)
        return (
            f'"{uuid}": {{"resources": {{{resources}}}, "traits": {traits}, '
            f'"parent_provider_uuid": {json.dumps(parent_of(table, row))}, '
            f'"root_provider_uuid": "{table.uuids[table.root.item(row)]}"}}'
        )


def _capacity(table: HostTable, row: int, index: int) -> int:
    """The capacity as Placement shows it, which is not bounded as that of the column is."""
    free: float = (table.total.item(index, row) - table.reserved.item(index, row)) * table.ratio.item(index, row)
    return int(free)


def in_older_form(members: bytes, version, classes: Collection[str], providers: Collection[str] | None) -> bytes:
    """Members of the newest form as a microversion before 1.29 has them.

    ``classes`` are those that are asked for; ``providers`` are those that are shown, None for all of them.
    """
    shown = {}
    for uuid, summary in json.loads(b"{%b}" % members).items():
        if providers is not None and uuid not in providers:
            continue
        if version < HAS_ALL_CLASSES:
            summary["resources"] = {name: of for name, of in summary["resources"].items() if name in classes}
        if version < HAS_TRAITS:
            del summary["traits"]
        del summary["parent_provider_uuid"], summary["root_provider_uuid"]
        shown[uuid] = summary
    return json.dumps(shown).encode()[1:-1]
