"""``nova-sched-replay import``: write an exported file into new logs."""

import re

from nova_sched.cli import output
from nova_sched.cli.command import REFUSED, ReplayCommand
from nova_sched.process.text import one_line
from nova_sched.replay.archive.export import import_log, needs_accounts, verify
from nova_sched.replay.archive.log import ArchiveLog
from rpc_api import errors
from rpc_api.log import open_log
from rpc_api.log.checks import mask_password
from rpc_api.wording import number_of

EPILOG = """\
All checksums are verified before anything is written. SQLite keeps the positions of records. A RabbitMQ stream assigns
positions itself, so only a log from position 0 on and without holes can be written there.
{cell} in the URL is replaced by the name of each cell.

examples:
  nova-sched-replay --log out/demo/incident.nslog import --to 'sqlite:///out/demo/again.{cell}.db'

exit codes: 0 written, 2 wrong usage, or the new log is not empty, 3 a log cannot be reached, 4 the file is damaged
(nothing is written), 5 a file of a newer version
"""
#: Names of cells that a URL may contain as they are. The file comes from elsewhere: its names must not choose a place
#: on the disk.
_PLAIN_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


class Import(ReplayCommand):
    """Write the records of an exported file into new logs."""

    EPILOG = EPILOG
    when_down = REFUSED

    def add_arguments(self, parser):
        parser.add_argument(
            "--to",
            required=True,
            metavar="URL",
            help="the new log: sqlite:///FILE or rabbit://...; with {cell} if the file has several cells",
        )
        parser.add_argument("--cell", action="append", metavar="NAME", help="only this cell's log")

    def run_on(self, source, arguments):
        logs = dict(source.one(cell, "--cell") for cell in arguments.cell) if arguments.cell else source.logs
        for log in logs.values():
            if not isinstance(log, ArchiveLog):
                raise errors.UsageError(
                    f"{log.url} is not an exported file; name one with --log, or read the log itself"
                )
        if len(logs) > 1 and "{cell}" not in arguments.to:
            raise errors.UsageError(
                f"--to {mask_password(arguments.to)} is one log, and the file contains "
                f"{', '.join(sorted(logs))}; "
                "write {cell} in place of the cell's name, or choose one with --cell"
            )
        for cell in logs if "{cell}" in arguments.to else ():
            if not _PLAIN_NAME.fullmatch(cell):
                raise errors.UsageError(
                    f"the name of the cell {cell!r} cannot be part of a URL, wanted letters, digits, "
                    "_ . and -; choose it with --cell, and write --to without {cell}"
                )
        with output.progress(self.err, not self.option(arguments, "no_progress")) as update:
            for log in logs.values():
                verify(log, update)
                self._check_accounts(log)
            for cell, log in sorted(logs.items()):
                with open_log(arguments.to.replace("{cell}", cell)) as target:
                    count = import_log(log, target, update)
                    bounds = log.bounds()
                    self.out.write(
                        f"{one_line(cell)}: {number_of(count, 'record')}, positions {bounds.first} to {bounds.last}, "
                        f"in {target.url}\n"
                    )
        return errors.EXIT_OK

    def _check_accounts(self, log):
        position = needs_accounts(log)
        if position is not None:
            raise errors.UsageError(
                f"the log of {log.cell} requires accounts from position {position} on, and a copy cannot prove them; "
                "read the file itself (--log FILE)"
            )
