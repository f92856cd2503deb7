"""``nova-sched replay``: make all recorded decisions again, and say whether they come out the same."""

import argparse

from cliff.command import Command

from nova_sched.cli import catalogue, logs
from nova_sched.cli.text import one_line
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.replay.decisions import LogBook
from nova_sched.replay.decisions import replay as replayed
from rpc_api import errors

EPILOG = """\
examples:
  nova-sched replay --log out/demo
  nova-sched replay --log cell0=sqlite:///log.cell0.db --log cell1=sqlite:///log.cell1.db --instance 0244cc12-...

exit codes: 0 all decisions come out the same, 1 one differs, or there is none of a named instance, 3 a log cannot be
reached, 4 a log has a gap, or a decision cannot be made again as one of its logs is not named
"""


class Replay(Command):
    """Make recorded decisions again from the logs alone; the first that differ are shown."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        logs.add_arguments(parser)
        catalogue.add_config_file(parser)
        parser.add_argument("--instance", action="append", metavar="UUID", help="only decisions of these instances")
        parser.add_argument("--show", type=int, default=10, metavar="N", help="differences to show (10)")
        return parser

    def take_action(self, arguments):
        write = self.app.stdout.write
        with logs.Logs(arguments) as opened:
            book = LogBook(opened, catalogue.catalogue(arguments))
        only = set(arguments.instance) if arguments.instance else None
        unknown = (only or set()) - {one.decision.instance_uuid for one in book.decisions}
        if unknown:
            raise errors.NovaSchedError(f"no decision for {min(unknown)} is in {', '.join(sorted(book.records))}; "
                                        "name another instance, or the logs that are missing")
        made = different = 0
        impossible = len(book.unreadable)
        for cell, position, why in book.unreadable[:arguments.show]:
            write(one_line(f"{cell} {position}: {why}") + "\n")
        for one in replayed(book, only):
            made += one.again is not None
            impossible += one.again is None
            different += one.again is not None and not one.same
            if not one.same and different + impossible <= arguments.show:
                decision = one.recorded.decision
                write(one_line(f"{one.recorded.cell} {one.recorded.position}: instance {decision.instance_uuid}, "
                               f"attempt {decision.attempt}: {one.difference}") + "\n")
        for cell, records in sorted(book.records.items()):
            projection = Projection(cell, HostTable())
            projection.fold(records)
            write(f"{cell}: {len(records)} records to position {projection.position}, digest "
                  f"{state_digest(projection)}, {projection.counts['set-aside']} events set aside\n")
        write(f"{made} decisions made again, {different} different"
              + (f", {impossible} could not be made again" if impossible else "") + "\n")
        if different:
            return errors.EXIT_NEGATIVE
        return errors.EXIT_GAP if impossible else errors.EXIT_OK
