"""The rows of a table by the uuids of their providers."""


class RowsByUuid(dict[str, int]):
    """Uuid -> row. Logs know only their own providers, so two of them may have one uuid: then it leads to the row that
    came last, and to the other one again when that is removed."""

    __slots__ = ("_others",)

    def __init__(self) -> None:
        super().__init__()
        #: Uuid -> further rows that have it, the last one last.
        self._others: dict[str, list[int]] = {}

    def __setitem__(self, uuid: str, row: int) -> None:
        before = self.get(uuid)
        if before is not None and before != row:
            self._others.setdefault(uuid, []).append(before)
        super().__setitem__(uuid, row)

    def drop(self, uuid: str, row: int) -> None:
        """A row has the uuid no more."""
        others = self._others.get(uuid)
        if others is None:
            if self.get(uuid) == row:
                del self[uuid]
            return
        if self[uuid] == row:
            super().__setitem__(uuid, others.pop())
        elif row in others:
            others.remove(row)
        if not others:
            del self._others[uuid]
