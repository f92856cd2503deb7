"""``nova-sched backup`` and ``nova-sched restore``: the log of a cell as a file, and a new log from that file."""

import argparse
import os
from contextlib import ExitStack

from cliff.command import Command

from nova_sched.cli import command_config
from nova_sched.cli.command import ENVIRONMENT, add_config_file, of_environment
from nova_sched.cli.create_log import user
from nova_sched.process.text import one_line
from nova_sched.projection.digest import state_digest
from nova_sched.replay.archive.export import export, verify
from nova_sched.replay.archive.log import open_archive
from nova_sched.replay.archive.restore import restore, state_of
from nova_sched.replay.logs.moments import Span
from nova_sched.replay.logs.source import Source
from rpc_api import errors
from rpc_api.clock import SYSTEM
from rpc_api.feed.epoch import opening_in
from rpc_api.log import open_log
from rpc_api.log.checks import mask_password
from rpc_api.wording import number_of

BACKUP_EPILOG = """\
The file has all records that the log has now, with private data: keep it like a database dump. Nothing has to be
stopped. Its state is folded before the command ends, so a backup that cannot be restored is an error now.

With --all each log that $NOVA_SCHED_LOG names, else the services' configuration, becomes DIRECTORY/CELL.nslog. A log
that cannot be backed up is named at the end, and the others are written.

examples:
  nova-sched backup --all -o /var/backups/nova_sched --force
  nova-sched backup cell1 sqlite:////var/lib/nova_sched/cell1.db -o cell1.nslog
  nova-sched backup cell1 rabbit://operator:secret@broker:5672/?stream=nova_sched.cell1 -o cell1.nslog --force

exit codes: 0 written, 2 wrong usage, 3 the log or the file cannot be reached, 4 the state of the log is not known
"""
RESTORE_EPILOG = """\
Stop the services of the cell first, and give them the new log when it is written. A SQLite file gets the records at
their positions. A RabbitMQ stream gets the state in a checkpoint; the records before it stay in the backup. What
happened after the backup is lost, except what agents report again.
With --configured the log that the services' configuration names for the cell is the new one: it must be empty, or not
exist yet.

examples:
  nova-sched restore /var/backups/nova_sched/cell1.nslog --configured
  nova-sched restore cell1.nslog --to sqlite:////var/lib/nova_sched/cell1.new.db
  nova-sched restore cell1.nslog --to rabbit://operator:secret@broker:5672/?stream=nova_sched.cell1.new

exit codes: 0 restored, 2 wrong usage, or the new log is not empty, 3 a log or the file cannot be reached, 4 the file is
damaged, or the state in it is not known, 5 a file of a newer version
"""


class Backup(Command):
    """Write the log of a cell into a file, from which it can be restored."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = BACKUP_EPILOG
        parser.add_argument("cell", nargs="?", metavar="CELL", help="name of the cell, or cell0")
        parser.add_argument("log", nargs="?", metavar="URL", help="URL of the log")
        parser.add_argument("--all", action="store_true", help="all logs that are named, as for nova-sched-replay")
        parser.add_argument(
            "-o", "--output", required=True, metavar="FILE", help="the file to write; with --all its directory"
        )
        parser.add_argument("--force", action="store_true", help="overwrite an existing file")
        add_config_file(parser, "configuration file of the services, for --all (default: their usual file)")
        return parser

    def take_action(self, arguments):
        if not arguments.all:
            if not arguments.cell or not arguments.log:
                raise errors.UsageError("a CELL and the URL of its log are needed, or --all; name them")
            with Source([f"{arguments.cell}={arguments.log}"]) as source:
                return self._write(source, arguments.cell, arguments.output, arguments.force)
        if arguments.cell is not None:
            raise errors.UsageError(f"--all writes all logs, and {arguments.cell!r} names one; leave one of them out")
        names = [] if arguments.config_files else of_environment()
        names = names or command_config.logs(command_config.read(arguments.config_files, self.app.NAME))
        if not names:
            raise errors.UsageError(
                f"the configuration names no log; name a file with --config-file, or the logs with ${ENVIRONMENT}"
            )
        with Source(names, tolerant=True) as source:
            return self._write_all(source, arguments)

    def _write_all(self, source, arguments):
        """Write each log into a file; those that cannot be written are named."""
        try:
            os.makedirs(arguments.output, mode=0o700, exist_ok=True)
        except OSError as fault:
            raise errors.UsageError(
                f"the directory {arguments.output!r} cannot be made ({fault.strerror}); name another one with --output"
            ) from None
        worst = errors.EXIT_OK
        for cell in (*source.logs, *source.down):
            try:
                self._write(source, cell, os.path.join(arguments.output, f"{cell}.nslog"), arguments.force)
            except errors.NovaSchedError as fault:
                self.app.stderr.write(f"{cell} is not backed up: {one_line(str(fault))}\n")
                worst = worst or fault.exit_code
        return worst

    def _write(self, source, cell, output, force):
        """Write the log of a cell into a file, and show what is in it."""
        if os.path.exists(output) and not force:
            raise errors.UsageError(f"{output} exists already; name another file, or add --force")
        fresh = f"{output}.part"
        try:
            _, log = source.one(cell, "CELL")
            bounds = log.bounds()
            if opening_in(log, cell) is None:
                raise errors.UsageError(f"{mask_password(log.url)} has no record; name another log")
            with open(fresh, "wb", opener=_private) as file:
                done = export(source, {cell: Span(*bounds)}, file, SYSTEM.now_ns(), redact=False)
                file.flush()
                os.fsync(file.fileno())
            with ExitStack() as stack:
                ((_, log),) = open_archive(fresh)
                stack.callback(log.close)
                state = state_of(cell, log)
            os.replace(fresh, output)
        except OSError as fault:
            raise errors.LogUnavailable(f"{output} cannot be written ({fault.strerror}); check its directory") from None
        finally:
            if os.path.exists(fresh):
                os.unlink(fresh)
        self.app.stdout.write(
            f"{output}: {number_of(done.records, 'record')} of {cell}, positions {bounds.first} to "
            f"{bounds.last}, {number_of(done.size, 'byte')}, digest {state_digest(state)}\n"
        )
        return errors.EXIT_OK


class Restore(Command):
    """Write the log of a backup into a new, empty log."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = RESTORE_EPILOG
        parser.add_argument("file", metavar="FILE", help="a file of nova-sched backup")
        target = parser.add_mutually_exclusive_group(required=True)
        target.add_argument("--to", metavar="URL", help="the new log: sqlite:///FILE or rabbit://...")
        target.add_argument(
            "--configured", action="store_true", help="the log of the cell in the services' configuration"
        )
        add_config_file(parser, "configuration file of the services, for --configured (default: their usual file)")
        parser.add_argument(
            "--name",
            default=user(),
            help="publish as operator/NAME (default: the name of the user who runs the command)",
        )
        return parser

    def take_action(self, arguments):
        try:
            logs = open_archive(arguments.file)
        except OSError as fault:
            raise errors.LogUnavailable(f"{arguments.file} cannot be read ({fault.strerror}); check its name") from None
        with ExitStack() as stack:
            for _, log in logs:
                stack.callback(log.close)
            if len(logs) > 1:
                raise errors.UsageError(
                    f"{arguments.file} has the logs {', '.join(cell for cell, _ in logs)}; a backup has one"
                )
            ((cell, log),) = logs
            verify(log)
            target = stack.enter_context(open_log(arguments.to or self._configured(cell, arguments.config_files)))
            done = restore(log, cell, target, f"operator/{arguments.name}")
            what = "all records" if done.records else "the state, in a checkpoint"
            self.app.stdout.write(
                f"{cell}: {what} is in {target.url}, up to position {done.position}, digest {done.digest}\n".replace(
                    "all records is", "all records are"
                )
            )
        return errors.EXIT_OK

    def _configured(self, cell, files):
        """The URL of a cell's log in the services' configuration; UsageError if it names none."""
        logs = dict(log.split("=", 1) for log in command_config.logs(command_config.read(files, self.app.NAME)))
        if cell not in logs:
            raise errors.UsageError(
                f"the backup is of {cell}, and the configuration names {', '.join(logs) or 'no log'}; name the "
                "new log with --to"
            )
        return logs[cell]


def _private(path, flags):
    """Open a file that only its owner may read."""
    return os.open(path, flags, 0o600)
