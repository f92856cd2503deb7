"""``nova-sched service list``: the services of a cloud."""

from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.intervals import add_intervals, configuration, intervals_of
from nova_sched.cli.output import Rows, add_form, stamp
from nova_sched.process.text import one_line
from nova_sched.replay.health import services
from nova_sched.replay.health.heard import ago, end_of, is_live
from rpc_api import errors
from rpc_api.levels import LEVEL
from rpc_api.wording import number_of

EPILOG = """\
The services that have published in the logs, with the time of their last event and the level of its record. An
agent has the status heard, silent or lost; without --agents those with the status heard are counted in one line per
cell. A scheduler, conductor, shadow or worker of Placement's API publishes nothing while nothing happens ("idle?"):
--ask asks schedulers, conductors and agents over RPC (with the transport_url of the services' configuration), and shows
up or down, the installed version, and the newest level that each knows. A worker of Placement's API answers HTTP: ask
its /healthcheck.

examples:
  nova-sched service list --log out/demo
  nova-sched service list --agents -o json --log out/demo
  nova-sched service list --ask

exit codes: 0 no agent is silent or lost, and with --ask all services answer, 1 one does not, 2 wrong usage, 3 a log or
a broker cannot be reached, 4 the state of a cell is not known
"""
COLUMNS = ("service", "name", "cell", "status", "heard", "level", "knows", "version", "hosts")
#: What an operator looks for first.
_WRONG = (services.DOWN, services.LOST, services.SILENT)


class ServiceList(ReplayCommand):
    """List the services of the cloud: which published, when, and at which level."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        parser.add_argument("--agents", action="store_true", help="a line for each agent, whatever its status")
        parser.add_argument("--ask", action="store_true", help="ask schedulers, conductors and agents over RPC")
        add_intervals(parser)
        add_form(parser)

    def run_on(self, source, arguments):
        silent_ns = intervals_of(self, arguments).silent_ns
        conf = configuration(arguments.config_files) if arguments.ask else None
        with self.history(source, arguments) as history:
            unknown = {}
            world = history.world_at({cell: log.bounds().last for cell, log in source.logs.items()}, unknown)
        for gap in unknown.values():
            self.say(f"{self.app.NAME} {self.cmd_name}: {gap}")
        rows, ends = [], {}
        for cell, projection in sorted(world.projections.items()):
            log = source.logs[cell]
            # An exported file has an end of its own, a live log goes on.
            ends[cell] = self.now_ns if is_live(log) else end_of(log, projection.position)
            rows += services.services_in(projection, log, ends[cell], silent_ns)
        unasked = None
        if conf is not None:
            rows, unasked = self._asked(conf, rows)
        self._show(rows, ends, arguments)
        wrong = [row for row in rows if row.status in _WRONG]
        if wrong:
            named = ", ".join(f"{row.service}/{row.name} of {row.cell} is {row.status}" for row in wrong[:3])
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            self.say(one_line(f"{len(wrong)} of {number_of(len(rows), 'service')}: {named}{more}"))
        behind = [row for row in rows if services.is_behind(row)]
        if behind:
            know = number_of(len(behind), "service knows", "services know")
            self.say(f"{know} a level below {LEVEL}; upgrade them before nova-sched pin")
        if unasked is not None:
            return unasked.exit_code
        return errors.EXIT_GAP if unknown else errors.EXIT_NEGATIVE if wrong else errors.EXIT_OK

    def _asked(self, conf, rows):
        """(The rows with what their services answered, the last fault of a broker). Services whose broker cannot be
        reached keep what the logs say of them."""
        from nova_sched.replay.health import known_levels

        wanted, known, fault = {row: services.to_ask(row) for row in rows}, {}, None
        for cell in sorted({service.cell for service in wanted.values() if service}):
            of_cell = sorted({service for service in wanted.values() if service and service.cell == cell})
            try:
                known.update((one.service, one) for one in known_levels.ask(conf, of_cell, with_version=True))
            except errors.LogUnavailable as met:
                fault = met
                self.say(f"{self.app.NAME} {self.cmd_name}: the services of {cell} were not asked: {met}")
        return [services.answered(row, known[wanted[row]]) if wanted[row] in known else row for row in rows], fault

    def _show(self, rows, ends, arguments):
        structured = arguments.output in ("json", "ndjson")
        heard = [row for row in rows if row.service == services.AGENT and row.status == services.HEARD]
        shown = Rows(self.out, arguments.output, COLUMNS, ("level", "knows", "hosts"), self.paint)
        for row in rows:
            if row not in heard or arguments.agents or arguments.output != "table":
                when = stamp(row.heard_ns) if structured or arguments.output == "csv" else None
                shown.write({**row._asdict(), "heard": (when if row.heard_ns else None) if when else _ago(row, ends)})
        shown.end()
        if len(heard) and not arguments.agents and arguments.output == "table":
            for cell in sorted({row.cell for row in heard}):
                mine = [row for row in heard if row.cell == cell]
                hosts = sum(row.hosts for row in mine)
                agents, of = ("agent" if len(mine) == 1 else "agents"), ("host" if hosts == 1 else "hosts")
                self.say(f"{cell}: {len(mine)} {agents} of {hosts} {of} heard (--agents lists them)")


def _ago(row, ends):
    end = ends.get(row.cell)
    return "long ago" if row.heard_ns is None or end is None else ago(row.heard_ns, end)
