"""The view of top as lines of text."""

from nova_sched.cli.output import aligned, stamp
from nova_sched.process.text import one_line
from nova_sched.replay.health.heard import IDLE, told
from nova_sched.replay.state.hosts import counted


def lines_of(view, paint=None, only=None, by_name=False) -> list[str]:
    """Return the whole view as lines of text."""
    return [
        *head_lines(view, only),
        "",
        *cell_lines(view, paint),
        *service_lines(view),
        "",
        *reason_lines(view, paint),
        "",
        *host_lines(view, paint, by_name),
        "",
        *scheduler_lines(view, paint),
    ]


def head_lines(view, only=None) -> list[str]:
    """Return the lines with rates and latencies."""
    latency = view.latency
    shown = ", ".join(f"{name} {latency[name]:g}" for name in ("p50", "p95", "p99", "max")) if latency["count"] else "-"
    return [
        f"{stamp(view.now_ns)}  {only or 'all cells'}  {view.events_s:.1f} events/s  "
        f"{view.decisions_s:.1f} decisions/s",
        f"last {view.window_s} s: {view.decisions} decisions, {view.selected} selected, {view.refused} refused; "
        f"latency ms {shown}",
        *(
            [f"writes of Placement's API: {view.writes_accepted} accepted, {view.writes_refused} refused"]
            if any(view.summaries.values())
            else []
        ),
    ]


def cell_lines(view, paint=None) -> list[str]:
    """Return one line per cell; cells that are down are marked, and those whose logs one producer floods."""
    return aligned(
        ("cell", "position", "lag", "events/s", "decisions/s", "state"),
        [
            (
                cell.cell,
                "-" if cell.position is None else cell.position,
                "-" if cell.down else cell.lag,
                f"{cell.events_s:.1f}",
                f"{cell.decisions_s:.1f}",
                _state(cell),
            )
            for cell in view.cells
        ],
        ("position", "lag", "events/s", "decisions/s"),
        paint,
    )


def _state(cell):
    if cell.down:
        return f"DOWN: {cell.down}"
    return "ok" if cell.flooding is None else one_line(f"FLOODED: {cell.flooding}")


def reason_lines(view, paint=None) -> list[str]:
    """Return the reasons for which decisions found no host, and for which writes of Placement's API were refused."""
    tables = [
        aligned((title, what), reasons, (what,), paint)
        for title, what, reasons in (
            ("refused for", "decisions", view.reasons),
            ("write refused for", "writes", view.write_reasons),
        )
        if reasons
    ]
    return _with_blank_lines(tables) or ["nothing was refused"]


def _with_blank_lines(tables):
    return [line for number, table in enumerate(tables) for line in ([""] if number else []) + table]


def host_lines(view, paint=None, by_name=False) -> list[str]:
    """Return the busiest hosts and providers of no host, sorted by number of events or by name."""
    tables = [
        aligned(
            (title, "cell", what),
            [
                (name, cell, count)
                for cell, name, count in (sorted(places, key=lambda place: (place[1], place[0])) if by_name else places)
            ],
            (what,),
            paint,
        )
        for title, what, places in (
            ("hottest host", "claims, builds, deletes, writes", view.hosts),
            ("hottest provider of no host", "claims, writes", view.others),
        )
        if places
    ]
    return _with_blank_lines(tables) or ["no host is busy"]


def scheduler_lines(view, paint=None) -> list[str]:
    """Return one line per scheduler."""
    return (
        aligned(
            ("scheduler", "decisions", "refused", "p50 ms", "lag"),
            [
                (
                    one_line(scheduler.name),
                    scheduler.decisions,
                    scheduler.refused,
                    "-" if scheduler.latency_ms is None else f"{scheduler.latency_ms:g}",
                    "-" if scheduler.lag is None else scheduler.lag,
                )
                for scheduler in view.schedulers
            ],
            ("decisions", "refused", "p50 ms", "lag"),
            paint,
        )
        if view.schedulers
        else ["no scheduler decides"]
    )


def service_lines(view) -> list[str]:
    """Return one line per cell with its hosts by status, and one line with the last events of services."""
    lines = [
        f"{cell}: {'its hosts are not known' if counts is None else counted(counts)}"
        + (f"; {view.summaries[cell]}" if view.summaries.get(cell) else "")
        for cell, counts in view.counts.items()
    ]
    return [one_line(line) for line in (*lines, f"last heard: {told(dict(view.heard), view.now_ns)}; {IDLE}")]
