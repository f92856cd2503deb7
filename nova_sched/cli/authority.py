"""``nova-sched authority``: who says what the consumers of hosts hold, and to pass it on."""

import argparse

from cliff.command import Command

from nova_sched.cli.create_log import user
from nova_sched.operate.publish import check_level, published
from nova_sched.projection.ledger import AUTHORITIES
from nova_sched.replay.archive.restore import state_of
from rpc_api import errors, events
from rpc_api.feed.epoch import opening_in
from rpc_api.log import open_log
from rpc_api.wording import number_of

EPILOG = """\
A host belongs to its agent, whose reports say what runs there, or to Nova, which writes allocations through Placement's
API. Before it passes to nova: stop the agent, as its reports do not count any more. Before it passes to agent: stop the
nova-compute of the host, and start the agent afterwards: its first report says what runs. What is held stays held.

examples:
  nova-sched authority cell1 rabbit://operator:secret@broker:5672/?stream=nova_sched.cell1
  nova-sched authority cell1 rabbit://operator:secret@broker:5672/?stream=nova_sched.cell1 --pass-to nova host-1 host-2

exit codes: 0 shown or passed, 1 an event does not count, 2 wrong usage, 3 the log cannot be reached, 5 it contains
something else
"""


class Authority(Command):
    """Show who says what the consumers of hosts hold, or pass it on."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument("cell", metavar="CELL", help="name of the cell")
        parser.add_argument("log", metavar="URL", help="URL of the log")
        parser.add_argument("hosts", metavar="HOST", nargs="*", default=[], help="hosts (default, to show: all)")
        parser.add_argument(
            "--pass-to", choices=sorted(AUTHORITIES), help="pass the authority over the hosts to this one"
        )
        parser.add_argument(
            "--name",
            default=user(),
            help="publish as operator/NAME (default: the name of the user who runs the command)",
        )
        return parser

    def take_action(self, arguments):
        with open_log(arguments.log, create=False) as log:
            opening_in(log, arguments.cell)
            state = state_of(arguments.cell, log)
            unknown = sorted(set(arguments.hosts) - set(state.hosts))
            if unknown:
                raise errors.UsageError(
                    f"{unknown[0]} does not report in the log of {arguments.cell}; see nova-sched-replay state"
                )
            if arguments.pass_to is None:
                for name in sorted(arguments.hosts or state.hosts):
                    self.app.stdout.write(f"{name:<32} {state.hosts[name].authority}\n")
                if not state.hosts:
                    self.app.stderr.write(f"no host reports in the log of {arguments.cell}\n")
                return errors.EXIT_OK
            if not arguments.hosts:
                raise errors.UsageError("name the hosts whose authority is to pass")
            check_level(state, "to pass the authority")
            self._pass(log, state, arguments)
        return errors.EXIT_OK

    def _pass(self, log, state, arguments):
        names = list(dict.fromkeys(arguments.hosts))
        passing = [events.AuthorityPassed(name, arguments.pass_to) for name in names]
        position = published(log, state, arguments.name, *passing)
        left = [name for name in names if state.hosts[name].authority != arguments.pass_to]
        if left:
            raise errors.NovaSchedError(
                f"the authority over {left[0]} did not pass: a write over several logs holds room there; try again"
            )
        belong = number_of(len(passing), "host belongs", "hosts belong")
        self.app.stdout.write(f"{belong} to {arguments.pass_to} from position {position} on\n")
