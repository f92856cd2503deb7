"""``nova-sched replay``: make all recorded decisions again, and say whether they come out the same."""

import argparse

from cliff.command import Command

from nova_sched.cli import logs
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.replay import LogBook
from nova_sched.replay import replay as replayed

EPILOG = """\
examples:
  nova-sched replay --log out/demo
  nova-sched replay --log cell0=sqlite:///log.cell0.db --log cell1=sqlite:///log.cell1.db --instance 0244cc12-...

exit codes: 0 all decisions come out the same, 1 one differs, 3 a log cannot be reached, 4 a log has a gap
"""


class Replay(Command):
    """Make recorded decisions again from the logs alone; the first that differ are shown."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        logs.add_arguments(parser)
        parser.add_argument("--instance", action="append", metavar="UUID", help="only decisions of these instances")
        parser.add_argument("--show", type=int, default=10, metavar="N", help="differences to show (10)")
        return parser

    def take_action(self, arguments):
        write = self.app.stdout.write
        with logs.Logs(arguments) as opened:
            book = LogBook(opened)
        made = different = 0
        for one in replayed(book, set(arguments.instance) if arguments.instance else None):
            made += 1
            if not one.same:
                different += 1
                if different <= arguments.show:
                    decision = one.recorded.decision
                    write(f"{one.recorded.cell} {one.recorded.position}: instance {decision.instance_uuid}, attempt "
                          f"{decision.attempt}: {one.difference}\n")
        for cell, records in sorted(book.records.items()):
            projection = Projection(cell, HostTable())
            projection.fold(records)
            write(f"{cell}: {len(records)} records to position {projection.position}, digest "
                  f"{state_digest(projection)}, {projection.counts['set-aside']} events set aside\n")
        write(f"{made} decisions made again, {different} different\n")
        return 1 if different else 0
