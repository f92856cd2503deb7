"""``nova-sched aggregate list``, ``create``, ``set`` and ``delete``."""

from nova_sched.cli.operator import OperatorCommand
from nova_sched.cli.output import Rows, add_form
from nova_sched.operate.aggregates import ZONE, Aggregates
from nova_sched.replay.dry_run.question import pairs_of
from rpc_api import errors

WHOSE = """\
Where Nova runs the aggregates (openstack aggregate), its nova-api sends each change to the schedulers, and these
commands refuse to change them. Aggregates of hosts of agents are in the log of cell0, by events of an operator.
"""
CODES = """\
exit codes: 0 done, 1 it cannot be done, or there is no such aggregate or host, 2 wrong usage, 3 a log cannot be
reached, 4 the state of a cell is not known
"""


class _AggregateCommand(OperatorCommand):
    def run_on(self, source, arguments):
        with self.history(source, arguments) as history:
            unknown = {}
            world = history.world_at({cell: log.bounds().last for cell, log in source.logs.items()}, unknown)
        for gap in unknown.values():
            self.say(f"{self.app.NAME} {self.cmd_name}: {gap}")
        code = self.run_with(Aggregates(world, source.logs, getattr(arguments, "name", "")), arguments)
        return errors.EXIT_GAP if unknown else code or errors.EXIT_OK

    def run_with(self, aggregates, arguments) -> int | None:
        """Run the command on the aggregates; return its exit code, None for 0."""
        raise NotImplementedError


class AggregateList(_AggregateCommand):
    """List host aggregates with their zone, hosts and properties, Nova's too."""

    EPILOG = f"""\
{WHOSE}
examples:
  nova-sched aggregate list --log out/demo
  nova-sched aggregate list -o json --log out/demo

{CODES}"""

    def add_arguments(self, parser):
        parser.add_argument("names", nargs="*", default=[], metavar="NAME", help="names or uuids (default: all)")
        add_form(parser)

    def run_with(self, aggregates, arguments):
        structured = arguments.output in ("json", "ndjson")
        rows = Rows(self.out, arguments.output, ("name", "uuid", "zone", "hosts", "properties"), (), self.paint)
        for one in aggregates.listed(arguments.names):
            more = {key: value for key, value in sorted(one.metadata.items()) if key != ZONE}
            rows.write(
                {
                    "name": one.name,
                    "uuid": one.uuid,
                    "zone": one.metadata.get(ZONE),
                    "hosts": list(one.hosts) if structured else ",".join(one.hosts) or None,
                    "properties": more if structured else " ".join(f"{k}={v}" for k, v in more.items()) or None,
                }
            )
        rows.end()


class AggregateCreate(_AggregateCommand):
    """Create a host aggregate, also as an availability zone."""

    EPILOG = f"""\
{WHOSE}
examples:
  nova-sched aggregate create rack7 --zone zone-b --host $HOST --property domain=rack7 --log out/demo

{CODES}"""

    def add_arguments(self, parser):
        parser.add_argument("aggregate", metavar="NAME", help="name of the aggregate")
        parser.add_argument("--host", action="append", default=[], metavar="HOST", help="a host; may be given again")
        _add_metadata(parser)
        self.add_operator(parser, with_nova=False)

    def run_with(self, aggregates, arguments):
        self.out.write(f"{aggregates.create(arguments.aggregate, arguments.host, _metadata(arguments))}\n")


class AggregateSet(_AggregateCommand):
    """Change a host aggregate: its hosts, properties, zone and name."""

    EPILOG = f"""\
{WHOSE}
examples:
  nova-sched aggregate set rack7 --add-host $HOST --zone zone-b --property ssd=true --log out/demo
  nova-sched aggregate set rack7 --remove-host $HOST --unset ssd --log out/demo

{CODES}"""

    def add_arguments(self, parser):
        parser.add_argument("aggregate", metavar="NAME", help="name or uuid of the aggregate")
        parser.add_argument("--new-name", metavar="NAME", help="its new name")
        for word in ("add", "remove"):
            parser.add_argument(
                f"--{word}-host",
                action="append",
                default=[],
                metavar="HOST",
                help=f"a host to {word}; may be given again",
            )
        _add_metadata(parser)
        parser.add_argument(
            "--unset", action="append", default=[], metavar="KEY", help="a property to remove; may be given again"
        )
        self.add_operator(parser, with_nova=False)

    def run_with(self, aggregates, arguments):
        done = aggregates.change(
            arguments.aggregate,
            arguments.new_name,
            arguments.add_host,
            arguments.remove_host,
            _metadata(arguments),
            arguments.unset,
        )
        self.out.write(f"{done}\n")


class AggregateDelete(_AggregateCommand):
    """Delete a host aggregate that has no hosts."""

    EPILOG = f"""\
{WHOSE}
examples:
  nova-sched aggregate delete rack7 --log out/demo

{CODES}"""

    def add_arguments(self, parser):
        parser.add_argument("aggregate", metavar="NAME", help="name or uuid of the aggregate")
        self.add_operator(parser, with_nova=False)

    def run_with(self, aggregates, arguments):
        self.out.write(f"{aggregates.delete(arguments.aggregate)}\n")


def _add_metadata(parser):
    parser.add_argument("--zone", metavar="NAME", help="the availability zone of its hosts")
    parser.add_argument(
        "--property", action="append", default=[], metavar="KEY=VALUE", help="a property; may be given again"
    )


def _metadata(arguments):
    found = pairs_of(arguments.property, "--property")
    return found if arguments.zone is None else {**found, ZONE: arguments.zone}
