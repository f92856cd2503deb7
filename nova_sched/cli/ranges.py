"""Ranges of records, for commands that count them."""

from nova_sched.replay.logs.moments import parse_range, resolve


def add_range(parser) -> None:
    """Add RANGE."""
    parser.add_argument("range", nargs="?", metavar="RANGE", help="positions or times in UTC (all)")


def bounds_of(command, source, text: str | None) -> tuple[dict, dict]:
    """Return the first and the last position of each cell for a RANGE (None: all records), both included; UsageError
    for a wrong one."""
    bounds = {cell: log.bounds() for cell, log in source.logs.items()}
    first, last = (
        {cell: bound.first for cell, bound in bounds.items()},
        {cell: bound.last for cell, bound in bounds.items()},
    )
    if text is not None:
        begin, end = parse_range(text, command.now_ns)
        if begin is not None:
            found = resolve(begin, source)
            # The range includes a position itself; a time starts after the last record before it.
            begin_cell = (
                None
                if begin.position is None
                else source.one(begin.cell, text)[0]
                if (begin.cell or begin.position not in ("first", "last"))
                else "all"
            )
            first = {cell: position + (begin_cell not in (cell, "all")) for cell, position in found.items()}
        if end is not None:
            last = resolve(end, source, is_end=True)
    return first, last
