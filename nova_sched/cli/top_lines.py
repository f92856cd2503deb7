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
    """Return the reasons for which decisions found no host."""
    return (
        aligned(("refused for", "decisions"), view.reasons, ("decisions",), paint)
        if view.reasons
        else ["nothing was refused"]
    )


def host_lines(view, paint=None, by_name=False) -> list[str]:
    """Return the busiest hosts, sorted by number of events or by name."""
    hosts = sorted(view.hosts, key=lambda host: (host[1], host[0])) if by_name else view.hosts
    return (
        aligned(
            ("hottest host", "cell", "claims, builds, deletes"),
            [(host, cell, count) for cell, host, count in hosts],
            ("claims, builds, deletes",),
            paint,
        )
        if hosts
        else ["no host is busy"]
    )


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
        for cell, counts in view.counts.items()
    ]
    return [one_line(line) for line in (*lines, f"last heard: {told(dict(view.heard), view.now_ns)}; {IDLE}")]
