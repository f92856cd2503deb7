"""``nova-sched usage``: what is used, by project, flavor, zone, aggregate, cell, user or type."""

from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.numbers import add_limit
from nova_sched.cli.of_cell0 import need_cell0
from nova_sched.cli.output import Rows, add_form, in_columns
from nova_sched.cli.state import add_at, class_order, fold_lines, world_of
from nova_sched.process.text import one_line
from nova_sched.replay.state.default_zone import default_zone_of
from nova_sched.replay.statistics.usage import OF_CONSUMERS, OF_HOSTS, flavors_in, of_consumers, of_hosts
from rpc_api import errors
from rpc_api.wording import number_of

EPILOG = """\
By cell, zone or aggregate the amounts are used/capacity of the hosts; a host in several aggregates counts in each. By
project, flavor, user or type they are what the consumers hold, also claims that are not built yet. An instance that
moves holds resources twice, on both hosts, and is one instance. What is held of a provider that belongs to no host,
such as a shared disk, counts for consumers only. The flavor is that of the last recorded decision that
found a host for the instance: for servers that came before nova_sched it is not known.

examples:
  nova-sched usage --log out/demo
  nova-sched usage --by flavor --log out/demo
  nova-sched usage --by aggregate --at -1d -o csv --log out/demo

exit codes: 0 shown, 2 wrong usage, 3 a log cannot be reached, 4 the state of a cell is not known
"""
#: Groups that depend on the aggregates.
OF_AGGREGATES = ("zone", "aggregate")


class Usage(ReplayCommand):
    """Show what is used: by project, flavor, zone, aggregate, cell, user or type of consumer."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        parser.add_argument(
            "--by", choices=(*OF_CONSUMERS, *OF_HOSTS), default="project", help="the groups (default: project)"
        )
        add_at(parser)
        add_limit(parser, "only the first N groups")
        add_form(parser)

    def run_on(self, source, arguments):
        with self.history(source, arguments) as history:
            world, folds = world_of(self, source, arguments, history)
        if arguments.by in OF_AGGREGATES:
            need_cell0(source, world, f"--by {arguments.by}")
        if arguments.by in OF_HOSTS:
            default_zone = default_zone_of(source.logs, {fold.cell: fold.position for fold in folds})
            rows = of_hosts(world, arguments.by, default_zone)
        else:
            flavors = flavors_in(world, source.logs) if arguments.by == "flavor" else {}
            rows = of_consumers(world, arguments.by, flavors)
        for line in fold_lines(folds):
            self.say(one_line(line))
        classes = sorted({name for row in rows for name in row.amounts}, key=class_order)
        structured = arguments.output in ("json", "ndjson")
        # A cell of a spreadsheet is a number. Consumers have no capacity.
        split = arguments.output == "csv" and arguments.by in OF_HOSTS
        amounts = [column for name in classes for column in in_columns(name, None)] if split else classes
        shown = Rows(
            self.out,
            arguments.output,
            (arguments.by, "instances", "hosts", *amounts),
            ("instances", "hosts", *amounts),
            self.paint,
        )
        for row in rows[: arguments.limit]:
            shown.write(
                {
                    arguments.by: row.name,
                    "instances": row.instances,
                    "hosts": row.hosts,
                    **_amounts(row.amounts, classes, structured, split),
                }
            )
        shown.end()
        if arguments.limit is not None and arguments.limit < len(rows):
            self.say(f"{arguments.limit} of {number_of(len(rows), 'group')}")
        return errors.EXIT_GAP if self.unknown else errors.EXIT_OK


def _amounts(amounts, classes, structured, split):
    """Column -> amount of a row, for some resource classes."""
    if split:
        return {column: amount for name in classes for column, amount in in_columns(name, amounts.get(name)).items()}
    return {name: _amount(amounts.get(name), structured) for name in classes}


def _amount(found, structured):
    if found is None:
        return None
    used, capacity = found
    if structured:
        return {"used": used, "capacity": capacity}
    return used if capacity is None else f"{used}/{capacity}"
