"""``nova-sched-replay doctor``: what is wrong with a deployment, and what to do."""

from nova_sched.cli import output
from nova_sched.cli.command import SHOWN, ReplayCommand
from nova_sched.cli.intervals import add_intervals, configuration, intervals_of
from nova_sched.cli.output import add_form
from nova_sched.process.snapshot_store import open_store
from nova_sched.projection.ledger import AGENT
from nova_sched.projection.state import CELL0
from nova_sched.replay.health import doctor as diagnosis
from nova_sched.replay.health import twice
from nova_sched.replay.health.finding import FAIL, WARN, Finding
from rpc_api import errors
from rpc_api.clock import SYSTEM

EPILOG = """\
Checks brokers (reachable, version, rights of the account), logs (exist, bounds, last write, versions of their events),
hosts (how many are up, disabled, forced down and lost), services (the last event of each), clocks (compared with this
machine and with each other), snapshots (with --snapshots), the versions on this machine, and whether a host or provider
is in several logs. It writes nothing.
An idle scheduler or conductor publishes nothing, so only agents can be found silent; --ask asks the other services over
RPC, with the transport_url of the configuration. To check a log that cannot be reached, name its cell: --log CELL=URL.

examples:
  nova-sched-replay --log out/demo doctor
  nova-sched-replay --log cell1=rabbit://replay:secret@broker/%2F?stream=nova_sched.cell1 doctor --snapshots file:///var/lib/nova_sched

exit codes: 0 no problem found, or only warnings, 1 a check fails, such as hosts that are lost, 2 wrong usage,
3 a log cannot be reached, 4 a part of an exported file is missing
"""


class Doctor(ReplayCommand):
    """Find problems with brokers, accounts, logs, clocks, snapshots and versions, and show what to do about them."""

    EPILOG = EPILOG
    when_down = SHOWN
    when_too_new = SHOWN

    def add_arguments(self, parser):
        add_intervals(parser)
        parser.add_argument(
            "--ask",
            action="store_true",
            help="ask over RPC whether schedulers and conductors answer, with the transport_url of the services",
        )
        add_form(parser)

    def run_on(self, source, arguments):
        intervals = intervals_of(self, arguments)
        url = self.option(arguments, "snapshots")
        store = open_store(url) if url else None
        rows = output.Rows(self.out, arguments.output, Finding._fields, (), self.paint)
        states, levels, names, down = [], {}, {}, bool(source.down)
        self._agents_of = {}
        for finding in diagnosis.of_here():
            rows.write(finding._asdict())
        for cell in sorted({*source.logs, *source.down}):
            try:
                for finding in (
                    diagnosis.of_down(cell, source.down[cell])
                    if cell in source.down
                    else diagnosis.of_log(
                        cell,
                        source.logs[cell],
                        SYSTEM,
                        store,
                        intervals,
                        lambda cell=cell: self._state(source, arguments, cell, levels, names),
                    )
                ):
                    states.append(finding.state)
                    rows.write(finding._asdict())
            except errors.LogUnavailable as fault:
                down = True
                for finding in diagnosis.of_down(cell, fault):
                    states.append(finding.state)
                    rows.write(finding._asdict())
        if arguments.ask:
            from nova_sched.replay.health import asking

            for finding in asking.of_services(configuration(arguments.config_files), self._may_have_agents(source)):
                states.append(finding.state)
                rows.write(finding._asdict())
        for finding in (*diagnosis.of_levels(levels), *twice.of_names(names)):
            states.append(finding.state)
            rows.write(finding._asdict())
        rows.end()
        warns = states.count(WARN)
        fails = states.count(FAIL)
        self.say(f"{fails} fail, {warns} warn" if fails or warns or down else "no problem found")
        return errors.EXIT_UNREACHABLE if down else errors.EXIT_NEGATIVE if fails else errors.EXIT_OK

    def _state(self, source, arguments, cell, levels, names):
        """The state of a log, of which the level and the names are noted."""
        with self.history(source, arguments) as history:
            projection = history.world_at({cell: source.logs[cell].bounds().last}).projections[cell]
        levels[cell], names[cell] = projection.level, twice.names_of(projection)
        self._agents_of[cell] = not projection.hosts or any(
            host.authority == AGENT for host in projection.hosts.values()
        )
        return projection

    def _may_have_agents(self, source):
        """Whether a cell has hosts of agents, or it is not known: only their instances are built by our conductors."""
        cells = {*source.logs, *source.down} - {CELL0}
        return not cells or any(self._agents_of.get(cell, True) for cell in cells)
