"""``nova-sched trim``: remove old records from a log in a file."""

import argparse

from cliff.command import Command

from nova_sched.cli.numbers import Number
from nova_sched.process.retention import trim
from rpc_api import errors
from rpc_api.log import open_log

EPILOG = """\
For logs in SQLite files; the records of a RabbitMQ stream are removed by a policy of its broker
(docs/operating/retention.md). The services may run. At level 3 no record is removed that the newest complete checkpoint
in the log does not cover. Below level 3 the state must be kept elsewhere ([snapshots] url), or the services build it
again from reports. The file keeps its size; new records use the room.

examples:
  nova-sched trim cell1 sqlite:////var/lib/nova_sched/cell1.db --keep 500000

exit codes: 0 removed, 1 not all of them, because a checkpoint does not cover them, 2 wrong usage, or the log of another
cell, 3 the log cannot be reached
"""


class Trim(Command):
    """Remove the oldest records of a log in a file, as far as a checkpoint covers them."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument("cell", metavar="CELL", help="name of the cell, or cell0")
        parser.add_argument("log", metavar="URL", help="URL of the log")
        parser.add_argument(
            "--keep", metavar="RECORDS", action=Number, required=True, help="how many of the last to keep"
        )
        return parser

    def take_action(self, arguments):
        with open_log(arguments.log, create=False) as log:
            done = trim(log, arguments.cell, log.bounds().last + 1 - arguments.keep)
            bounds = log.bounds()
        self.app.stdout.write(
            f"{arguments.cell}: {done.first - done.before} records removed, positions {bounds.first} to {bounds.last} "
            "are left\n"
        )
        if done.why_not_more is None:
            return errors.EXIT_OK
        self.app.stdout.write(f"{arguments.cell}: not more are removed, because {done.why_not_more}\n")
        return errors.EXIT_NEGATIVE
