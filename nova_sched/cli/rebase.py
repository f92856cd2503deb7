"""``nova-sched rebase``: begin the state of a log again, if what it was is lost for good."""

import argparse

from cliff.command import Command

from nova_sched.cli.create_log import user
from nova_sched.process.checkpoints import newest_in
from nova_sched.projection.projection import Projection
from nova_sched.replay.logs.reading import decoded_records
from rpc_api import codec, errors, events
from rpc_api.clock import SYSTEM
from rpc_api.events.cloud import StateKept
from rpc_api.feed.epoch import opening_in
from rpc_api.log import open_log

EPILOG = """\
For a log at level 3 that has lost its first records and has no checkpoint: its cell is closed. Restore its backup
instead, if there is one (nova-sched restore). With this command the cell begins without a state: agents report their
hosts and instances again, and EVERYTHING THAT ONLY THE API WROTE IS LOST: providers without a host, their inventories,
traits and aggregates, allocations that no agent reports, generations. Below level 3 the services rebase a log by
themselves.

examples:
  nova-sched rebase cell1 rabbit://operator:secret@broker:5672/?stream=nova_sched.cell1 --lose-api-writes

exit codes: 0 rebased, 1 the event does not count, 2 wrong usage, or not confirmed, or the log needs no rebase, 3 the
log cannot be reached, 5 it contains something else
"""


class Rebase(Command):
    """Begin the state of a log again, whose first records and checkpoints are lost."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument("cell", metavar="CELL", help="name of the cell, or cell0")
        parser.add_argument("log", metavar="URL", help="URL of the log")
        parser.add_argument(
            "--lose-api-writes", action="store_true", help="confirm that what only the API wrote may be lost"
        )
        parser.add_argument(
            "--require-accounts", action="store_true", help="events count only with the accounts of their producers"
        )
        parser.add_argument(
            "--name",
            default=user(),
            help="publish as operator/NAME (default: the name of the user who runs the command)",
        )
        return parser

    def take_action(self, arguments):
        with open_log(arguments.log, create=False) as log:
            opening = opening_in(log, arguments.cell)
            if opening is None or opening.whole:
                raise errors.UsageError(f"{log.url} has all its records, so it needs no rebase")
            projection = Projection(arguments.cell, whole=False)
            projection.fold(decoded_records(log))
            self._check(log, arguments, opening, projection)
            now_ns, first = SYSTEM.now_ns(), log.bounds().first
            event = codec.make_event(
                events.LogRebased(arguments.cell, first, arguments.require_accounts),
                f"operator/{arguments.name}",
                now_ns,
                1,
                now_ns,
            )
            # (A record at a lower level would take the log back to that level.)
            log.append([codec.encode_record(opening.epoch, [event], projection.level)])
            projection.fold(decoded_records(log, projection.position + 1))
            if not projection.whole:
                why = projection.quarantine[-1].reason if projection.quarantine else "it was not read back"
                raise errors.NovaSchedError(
                    f"the rebase of {log.url} does not count: {why}; use the account operator or operator.NAME"
                )
            self.app.stdout.write(
                f"{arguments.cell} is rebased at position {projection.position}: its agents report again\n"
            )
        return errors.EXIT_OK

    def _check(self, log, arguments, opening, projection):
        """Raise UsageError unless a rebase is needed and confirmed."""
        found = newest_in(log, arguments.cell, opening.epoch, whole=False)
        if found.checkpoint is not None or projection.whole:
            raise errors.UsageError(f"the state of {arguments.cell} is known, so {log.url} needs no rebase")
        if projection.level < StateKept.LEVEL:
            raise errors.UsageError(
                f"{log.url} is at level {projection.level}, as far as its records show: its conductors rebase it by "
                "themselves"
            )
        if not arguments.lose_api_writes:
            raise errors.UsageError(
                f"what only the API wrote into the log of {arguments.cell} would be lost for good; restore a backup, "
                "or confirm with --lose-api-writes"
            )
