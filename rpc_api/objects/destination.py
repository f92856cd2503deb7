"""Destination: the hosts that a request may, or must not, use."""

from collections.abc import Iterable

from rpc_api.objects import base, fields


@base.register
class Destination(base.NovaObject):
    """The host, the node, the cell or the aggregates that the request is limited to."""

    VERSION = "1.4"
    fields = {
        "host": fields.StringField(),
        "node": fields.StringField(nullable=True),
        "cell": fields.ObjectField("CellMapping", nullable=True),
        # Each entry is a comma separated list: the host must be in one aggregate of each entry.
        "aggregates": fields.ListOfStringsField(nullable=True, default=None),
        "allow_cross_cell_move": fields.BooleanField(default=False),
        "forbidden_aggregates": fields.SetOfStringsField(nullable=True, default=None),
    }
    aggregates: list[str] | None
    forbidden_aggregates: set[str] | None
    LAZY = {"aggregates": lambda: None, "allow_cross_cell_move": lambda: False, "forbidden_aggregates": lambda: None}
    ADDED_IN = {"cell": (1, 1), "aggregates": (1, 2), "allow_cross_cell_move": (1, 3), "forbidden_aggregates": (1, 4)}

    def require_aggregates(self, aggregates: Iterable[str]) -> None:
        """Require the host to be in one of ``aggregates``, in addition to earlier requirements."""
        self.aggregates = [*(self.aggregates or ()), ",".join(aggregates)]

    def append_forbidden_aggregates(self, aggregates: Iterable[str]) -> None:
        """Require the host to be in none of ``aggregates``."""
        self.forbidden_aggregates = {*(self.forbidden_aggregates or ()), *aggregates}
