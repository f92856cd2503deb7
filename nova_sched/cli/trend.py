"""``nova-sched trend``: the cloud over time, one row for each interval, as CSV for a spreadsheet or a plot."""

from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.durations import duration
from nova_sched.cli.output import Rows, add_form, stamp
from nova_sched.cli.ranges import add_range, bounds_of
from nova_sched.cli.state import class_order
from nova_sched.projection.host_status import DISABLED, FORCED_DOWN, LOST, UP
from nova_sched.replay.statistics.trends import trends
from rpc_api import errors

EPILOG = """\
Each row is the end of an interval: hosts by status, instances, and used and capacity of each resource class over all
hosts; then what happened in it: decisions, those without a host, claims that lost to another one, builds that failed,
and losses of hosts.

The rows go from the interval of the first record in the range to that of the last one, whatever its cell. An interval
without a record has the state of before. Times are UTC, and intervals begin at whole multiples of their length: days at
midnight UTC. RANGE is positions (100:200, :200) or times after an @ (@-7d:).

examples:
  nova-sched trend -o csv --log out/demo
  nova-sched trend @-30d: --interval 1d -o csv --log out/demo
  nova-sched trend --interval 10m --columns time,hosts_up,VCPU_used,VCPU_capacity --log out/demo

exit codes: 0 shown, 2 wrong usage, 3 a log cannot be reached, 4 the state before the range is not known, so a cell is
left out
"""
HAPPENED = ("decisions", "no_valid_host", "conflicts", "failed_builds", "losses")
STATUSES = {"hosts_up": UP, "hosts_disabled": DISABLED, "hosts_forced_down": FORCED_DOWN, "hosts_lost": LOST}


class Trend(ReplayCommand):
    """Show the cloud over time: hosts, instances, used and free resources, refusals and conflicts in each interval."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        add_range(parser)
        parser.add_argument("--interval", metavar="TIME", default="1h", help="length of an interval (default: 1h)")
        parser.add_argument("--columns", metavar="LIST", help="the columns to show, separated by commas")
        add_form(parser)

    def run_on(self, source, arguments):
        first, last = bounds_of(self, source, arguments.range)
        unknown = {}
        with self.history(source, arguments) as history:
            found = trends(history, first, last, duration(arguments.interval, "--interval"), unknown)
        for cell, gap in unknown.items():
            self.say(f"{self.app.NAME} {self.cmd_name}: {gap}; {cell} is left out")
        classes = sorted({name for row in found for name in row.amounts}, key=class_order)
        known = (
            "time",
            *STATUSES,
            "instances",
            *(f"{name}_{what}" for name in classes for what in ("used", "capacity")),
            *HAPPENED,
        )
        columns = known if arguments.columns is None else tuple(arguments.columns.split(","))
        strange = [name for name in columns if name not in known]
        if strange and found:
            raise errors.UsageError(
                f"there is no column {strange[0]!r}, wanted some of {', '.join(known)}; fix --columns"
            )
        rows = Rows(self.out, arguments.output, columns, columns[1:], self.paint)
        for row in found:
            values = {
                "time": stamp(row.at_ns),
                **{name: row.hosts.get(status, 0) for name, status in STATUSES.items()},
                "instances": row.instances,
                **{name: getattr(row, name) for name in HAPPENED},
            }
            for name in classes:
                values[f"{name}_used"], values[f"{name}_capacity"] = row.amounts.get(name, (0, 0))
            rows.write({name: values[name] for name in columns})
        rows.end()
        if not found:
            self.say("no record is in this range")
        return errors.EXIT_GAP if unknown else errors.EXIT_OK
