"""``nova-sched smoke``: a real request to the schedulers, whose claim is given back."""

from nova_sched.cli.command import REFUSED, add_config_file
from nova_sched.cli.dry_run import add_question, asked_in
from nova_sched.cli.intervals import configuration
from nova_sched.cli.numbers import Decimal, Number
from nova_sched.cli.operator import OperatorCommand
from nova_sched.cli.output import Rows, add_form
from nova_sched.operate.smoke import Smoke as Test
from nova_sched.operate.smoke import Tested
from nova_sched.replay.dry_run.question import asked_amounts, asked_of_nova
from nova_sched.replay.state.capacity_question import amounts_in
from rpc_api import config, errors

EPILOG = """\
The command sends a select_destinations call to the topic of the schedulers, as nova-conductor does, with a new instance
uuid. It then reads the claim in the log of the cell, gives it back with an event of the operator, and checks that
nothing is held. No instance is built. The decision stays in the log: explain and show know it.

FLAVOR is a list of amounts (VCPU=1,MEMORY_MB=512) or VCPUs:MiB:GiB (1:512:1), or with --nova a flavor in Nova.
The logs must be those of the configuration's cells, all of them, at level 3 or higher.

examples:
  nova-sched smoke 1:512
  nova-sched smoke 4:8192:40 --availability-zone zone-b --count 3

exit codes: 0 a host was claimed and given back, 1 no valid host, or a claim is not in the logs, 2 wrong usage, 3 a log,
the broker or the schedulers cannot be reached, 4 the state of a cell is not known
"""


class Smoke(OperatorCommand):
    """Send a real request to the schedulers, and give its claim back: a smoke test."""

    EPILOG = EPILOG
    when_down = REFUSED

    def add_arguments(self, parser):
        add_question(parser)
        parser.add_argument("--nova", action="store_true", help="FLAVOR is a flavor in Nova")
        parser.add_argument("--count", action=Number, default=1, help="number of instances (default: 1)")
        parser.add_argument(
            "--timeout",
            action=Decimal,
            default=30.0,
            metavar="SECONDS",
            help="wait so long for the answer (default: 30)",
        )
        add_config_file(parser, "configuration file of the services, for transport_url (default: their usual file)")
        add_form(parser)
        self.add_operator(parser)

    def run_on(self, source, arguments):
        if arguments.flavor is None:
            raise errors.UsageError("a FLAVOR is needed, such as 1:512; name one")
        conf = configuration(arguments.config_files)
        base = self._base(arguments)
        with self.history(source, arguments) as history:
            world = history.world_at({cell: log.bounds().last for cell, log in source.logs.items()})
        test = Test(source.logs, world.projections, arguments.name)
        buses = config.Buses(conf)
        try:
            bus = buses.top(checked=False)
            bus.check()
            tested = test.run(
                bus, conf.scheduler.rpc_topic, asked_in(arguments, base), arguments.count, arguments.timeout
            )
        finally:
            buses.close()
        rows = Rows(self.out, arguments.output, Tested._fields, ("claimed_at", "released_at", "took_ms"), self.paint)
        structured = arguments.output in ("json", "ndjson")
        for one in tested:
            alternates = list(one.alternates) if structured else ",".join(one.alternates) or None
            rows.write({**one._asdict(), "alternates": alternates})
        rows.end()
        self.say(f"{len(tested)} claimed and given back; nothing is held")
        return errors.EXIT_OK

    def _base(self, arguments):
        if arguments.nova:
            flavor = self.nova(arguments).flavor(arguments.flavor)
            if flavor is None:
                raise errors.NovaSchedError(f"Nova has no flavor {arguments.flavor!r}; see openstack flavor list --all")
            return asked_of_nova(flavor)
        amounts = amounts_in(arguments.flavor)
        if amounts is None:
            raise errors.UsageError(
                f"{arguments.flavor!r} is not a list of amounts such as 1:512 or VCPU=1,MEMORY_MB=512; name amounts, "
                "or a flavor in Nova with --nova"
            )
        return asked_amounts(amounts)
