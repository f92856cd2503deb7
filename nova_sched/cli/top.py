"""``nova-sched-replay top``: what goes on now, as a view that is drawn again and again."""

import sys

from nova_sched.cli.command import SHOWN, ReplayCommand
from nova_sched.cli.output import aligned, stamp
from nova_sched.cli.stats import duration
from nova_sched.cli.text import one_line
from nova_sched.replay.logs.feeds import SECOND_NS, Following, Played, first_positions, last_time
from nova_sched.replay.health.heard import IDLE, last_events, told
from nova_sched.replay.state.hosts import counted
from nova_sched.replay.statistics.live import Live
from nova_sched.replay.logs.moments import time_of
from nova_sched.replay.logs.reading import decoded_records
from rpc_api import errors
from rpc_api.clock import SYSTEM

EPILOG = """\
Keys: q quit, p pause, s sort the hosts (by events, by name), c next cell. Rates are those of the last 10 s, everything else is of
the last minutes (--window). Lag is how many records of a log were not read yet; that of a scheduler is how many records of the
cell it did not know at its last decision. Hosts are counted by what they are. Services are those that were heard in the
logs; one that is idle publishes nothing. A cell that is down is marked, with the reason.

exit codes: 0 ended, 2 usage (textual is not installed: pip install 'nova_sched[top]'), 3 a log cannot be reached, 4 a cell is
down (with --once)

examples:
  nova-sched-replay top --log out/demo --once
  nova-sched-replay top --log out/demo --replay 10
"""


class Top(ReplayCommand):
    """Watch cells, decisions, refusals, hosts and schedulers live; or an old log again, at its own or another speed."""

    EPILOG = EPILOG
    when_down = SHOWN

    def add_arguments(self, parser):
        parser.add_argument("--once", action="store_true", help="print what there is at the end of the logs, and end")
        parser.add_argument(
            "--replay", type=float, metavar="SPEED", help="play the logs from their beginning, so many times as fast"
        )
        parser.add_argument("--window", default="5m", metavar="TIME", help="count over so long (5m)")
        parser.add_argument("--refresh", default="1s", metavar="TIME", help="draw so often (1s)")

    def run_on(self, source, arguments):
        window_s = max(1, duration(arguments.window, "--window") // SECOND_NS)
        refresh_s = duration(arguments.refresh, "--refresh") / SECOND_NS
        if arguments.replay is not None and not 0 < arguments.replay <= 1e6:
            raise errors.UsageError(
                f"--replay is {arguments.replay:g}, wanted a speed above 0 and up to 1000000; mend it"
            )
        live = Live([*source.logs, *source.down], window_s)
        for cell, fault in source.down.items():
            live.down(cell, str(fault))
        if arguments.once:
            return self._once(source, live, arguments)
        app = _app_class()
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise errors.UsageError("the live view needs a terminal to draw on, and this is none; use --once")
        feed, clock = self._feed(source, live, arguments)
        feed.start()
        try:
            app(live, feed, clock, refresh_s).run()
        finally:
            feed.stop()
        return errors.EXIT_OK

    def _begin(self, source, live, arguments, first):
        """Show what there is in front of the first records that are shown: hosts, and when services were heard."""
        with self.history(source, arguments) as history:
            for cell, position in first.items():
                log = source.logs[cell]
                position = max(position, log.bounds().first)
                try:
                    projection = history.world_at({cell: position - 1}).projections[cell]
                except errors.LogGap:
                    continue  # its hosts are not counted
                services = [name for name in projection.producers if name.startswith(("scheduler/", "conductor/"))]
                found = last_events(log, position - 1, (), services, 0)[0] if services else {}
                live.begin(cell, projection, {name: found.get(name) for name in services})

    def _once(self, source, live, arguments):
        at_ns = last_time(source.logs) or self.now_ns
        # The last second of the logs is over then, and counts.
        at_ns += SECOND_NS
        positions = first_positions(source.logs, at_ns - live.window_s * SECOND_NS)
        self._begin(source, live, arguments, positions)
        for cell, first in positions.items():
            for position, record in decoded_records(source.logs[cell], max(first, source.logs[cell].bounds().first)):
                live.feed(cell, position, record, at_ns)
            last = source.logs[cell].bounds().last
            live.end(cell, last)
            live.read_to(cell, last)
        self.out.write("".join(f"{line}\n" for line in lines_of(live.view(at_ns), self.paint)))
        return errors.EXIT_GAP if source.down else errors.EXIT_OK

    def _feed(self, source, live, arguments):
        """(What feeds the view, its clock)."""
        speed, since_ns = arguments.replay, self.now_ns - live.window_s * SECOND_NS
        if speed is None:
            self._begin(source, live, arguments, first_positions(source.logs, since_ns))
            return Following(source.logs, live, since_ns), SYSTEM.now_ns
        first = {cell: log.bounds().first for cell, log in source.logs.items()}
        self._begin(source, live, arguments, first)
        times = [at_ns for cell, log in source.logs.items() if (at_ns := _first_time(log)) is not None]
        played = Played(source.logs, live, first, min(times, default=self.now_ns), speed)
        return played, lambda: played.clock(SYSTEM.now_ns())


def _first_time(log):
    for _, record in decoded_records(log):
        at_ns = time_of(record.events)
        if at_ns is not None:
            return at_ns
    return None


def _app_class():
    try:
        import textual  # noqa: F401 (whether it is there)
    except ImportError:
        raise errors.UsageError(
            "the live view needs the package textual, which is not installed; pip install "
            "'nova_sched[top]', or use --once"
        ) from None
    from nova_sched.cli.top_view import TopApp

    return TopApp


# --- what is shown, as lines -----------------------------------------------------------------------------------------


def lines_of(view, paint=None, only=None, by_name=False) -> list[str]:
    """All of a view as lines of text."""
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
    """Rates and latencies."""
    latency = view.latency
    shown = ", ".join(f"{name} {latency[name]:g}" for name in ("p50", "p95", "p99", "max")) if latency["count"] else "-"
    return [
        f"{stamp(view.now_ns)}  {only or 'all cells'}  {view.events_s:.1f} events/s  "
        f"{view.decisions_s:.1f} decisions/s",
        f"last {view.window_s} s: {view.decisions} decisions, {view.selected} selected, {view.refused} refused; "
        f"latency ms {shown}",
    ]


def cell_lines(view, paint=None) -> list[str]:
    """A line a cell; those that are down are marked."""
    return aligned(
        ("cell", "position", "lag", "events/s", "decisions/s", "state"),
        [
            (
                one.cell,
                "-" if one.position is None else one.position,
                "-" if one.down else one.lag,
                f"{one.events_s:.1f}",
                f"{one.decisions_s:.1f}",
                f"DOWN: {one.down}" if one.down else "ok",
            )
            for one in view.cells
        ],
        ("position", "lag", "events/s", "decisions/s"),
        paint,
    )


def service_lines(view) -> list[str]:
    """A line per cell with its hosts by what they are, and one of the services that were heard."""
    lines = [
        f"{cell}: {'its hosts are not known' if counts is None else counted(counts)}"
        for cell, counts in view.counts.items()
    ]
    return [one_line(line) for line in (*lines, f"last heard: {told(dict(view.heard), view.now_ns)}; {IDLE}")]


def reason_lines(view, paint=None) -> list[str]:
    """Why decisions found no host."""
    return (
        aligned(("refused for", "decisions"), view.reasons, ("decisions",), paint)
        if view.reasons
        else ["nothing was refused"]
    )


def host_lines(view, paint=None, by_name=False) -> list[str]:
    """The hosts on which most happens, by that or by name."""
    hosts = sorted(view.hosts, key=lambda one: (one[1], one[0])) if by_name else view.hosts
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
    """A line a scheduler."""
    return (
        aligned(
            ("scheduler", "decisions", "refused", "p50 ms", "lag"),
            [
                (
                    one_line(one.name),
                    one.decisions,
                    one.refused,
                    "-" if one.latency_ms is None else f"{one.latency_ms:g}",
                    "-" if one.lag is None else one.lag,
                )
                for one in view.schedulers
            ],
            ("decisions", "refused", "p50 ms", "lag"),
            paint,
        )
        if view.schedulers
        else ["no scheduler decides"]
    )
