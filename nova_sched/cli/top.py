"""``nova-sched-replay top``: a live view of cells, decisions, hosts and services."""

import sys

from nova_sched.cli.command import SHOWN, ReplayCommand
from nova_sched.cli.durations import duration
from nova_sched.cli.numbers import Decimal
from nova_sched.cli.top_lines import lines_of
from nova_sched.replay.health.heard import is_live, last_events
from nova_sched.replay.logs.feeds import SECOND_NS, Following, Played, first_positions, last_time
from nova_sched.replay.logs.moments import time_of
from nova_sched.replay.logs.reading import decoded_records
from nova_sched.replay.statistics.live import Live
from rpc_api import errors
from rpc_api.clock import SYSTEM

EPILOG = """\
Keys: q quit, p pause, s sort the hosts (by events, by name), c next cell. Rates are those of the last 10 s, all other
numbers those of --window. The lag of a cell is the number of records that are not read yet; the lag of a scheduler is
the number of records of the cell that it did not know at its last decision. Hosts are counted by status. Services are
those with events in the logs; an idle scheduler or conductor publishes nothing. A cell that is down is marked, with the
reason. Of Placement's API all writes of allocations count for the hosts and for the providers of no host (pools) that
they concern, if they were accepted.

exit codes: 0 ended, 2 wrong usage, or textual is not installed (pip install 'nova_sched[top]'), 3 a log cannot be
reached, 4 a cell is down (with --once)

examples:
  nova-sched-replay top --log out/demo --once
  nova-sched-replay top --log out/demo --replay 10
"""


class Top(ReplayCommand):
    """Watch cells, decisions, refusals, hosts and schedulers live, or play an old log at any speed."""

    EPILOG = EPILOG
    when_down = SHOWN

    def add_arguments(self, parser):
        parser.add_argument(
            "--once",
            action="store_true",
            help="print the present view (of exported files: that at their end), and exit",
        )
        parser.add_argument(
            "--replay",
            action=Decimal,
            most=1_000_000,
            metavar="SPEED",
            help="play the logs from their beginning, SPEED times as fast",
        )
        parser.add_argument("--window", default="5m", metavar="TIME", help="count over this time (default: 5m)")
        parser.add_argument("--refresh", default="1s", metavar="TIME", help="draw again after this time (default: 1s)")

    def run_on(self, source, arguments):
        window_s = max(1, duration(arguments.window, "--window") // SECOND_NS)
        refresh_s = duration(arguments.refresh, "--refresh") / SECOND_NS
        live = Live([*source.logs, *source.down], window_s, source.folded)
        for cell, fault in source.down.items():
            live.down(cell, str(fault))
        if arguments.once:
            return self._once(source, live, arguments)
        app = _app_class()
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise errors.UsageError("the live view needs a terminal, and this is not a terminal; use --once")
        feed, clock = self._feed(source, live, arguments)
        feed.start()
        try:
            app(live, feed, clock, refresh_s).run()
        finally:
            feed.stop()
        return errors.EXIT_OK

    def _begin(self, source, live, arguments, first):
        """Add the state before the first shown record: hosts, and the last events of services."""
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
        # An exported file has an end of its own; a second later its last second is complete, and counts.
        end_ns = None if any(map(is_live, source.logs.values())) else last_time(source.logs)
        at_ns = self.now_ns if end_ns is None else end_ns + SECOND_NS
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
        """Return (the feed of the view, its clock)."""
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
