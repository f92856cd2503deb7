"""The common part of the replay tool's commands: how logs are named, shown and read."""

import abc
import argparse
import os
import re
from contextlib import contextmanager

from cliff.command import Command

from nova_sched.cli import output
from nova_sched.process.snapshot_store import open_store
from nova_sched.process.text import one_line
from nova_sched.process.tuning import prepare_memory
from nova_sched.replay.logs.source import Source
from nova_sched.replay.state.history import History, SnapshotCache
from rpc_api import errors
from rpc_api.clock import SYSTEM

#: The variable that names the logs if no option does: values as of --log, with blanks between them.
ENVIRONMENT = "NOVA_SCHED_LOG"
#: What happens if a log cannot be opened: the command leaves its cell out and reports that (SAID), the command shows
#: the cell as down (SHOWN), or the command fails (REFUSED).
SAID, SHOWN, REFUSED = "said", "shown", "refused"
TOO_NEW = "exit code 5: a log is pinned to a level that this version does not know; what is shown is not its answer\n"
_MINUS_TIME = re.compile(r"-\d.*")


def add_log_options(parser, default=None) -> None:
    """Add the options that name and show logs. They may be written before or after the command's name."""
    group = parser.add_argument_group("logs and output")
    group.add_argument(
        "--log",
        action="append",
        default=default,
        metavar="[CELL=]URL|FILE|DIR",
        dest="logs",
        help="the log of a cell, as in cell1=sqlite:///log.cell1.db or rabbit://..., once per cell; "
        f"a file of export; or the output directory of a play (default: ${ENVIRONMENT}, "
        "else the logs in the services' configuration)",
    )
    group.add_argument(
        "--snapshots",
        default=default,
        metavar="URL",
        help="the schedulers' snapshots, for a faster start: file:///DIR or redis://...",
    )
    group.add_argument(
        "--no-cache",
        action="store_const",
        const=True,
        default=default,
        dest="no_cache",
        help="do not cache folded states for the next command",
    )
    group.add_argument(
        "--color", choices=("auto", "always", "never"), default=default, help="colours (auto: on a terminal)"
    )
    group.add_argument(
        "--no-progress",
        action="store_const",
        const=True,
        default=default,
        dest="no_progress",
        help="do not draw progress bars",
    )


def add_config_file(parser, text: str) -> None:
    """Add ``--config-file``, with the help ``text``."""
    parser.add_argument("--config-file", action="append", default=[], metavar="FILE", dest="config_files", help=text)


def of_environment() -> list[str]:
    """Return the names of logs in the environment."""
    return os.environ.get(ENVIRONMENT, "").split()


def parsed(parser, words):
    """Parse the words of a command: names may come before options, between and after them. (argparse takes all names
    where the first one may be, and refuses those after an option.)"""
    kind = type(parser)
    return kind.parse_args(parser, words) if "--" in words else kind.parse_intermixed_args(parser, words)


class ReplayCommand(Command):
    """A command that reads logs. A test runs the examples in its ``EPILOG``."""

    EPILOG = ""
    #: What the command does if some logs cannot be opened: SAID, SHOWN or REFUSED.
    when_down = SAID
    #: The same for a log that is pinned to a level that this process does not know: SAID or SHOWN.
    when_too_new = SAID

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = self.EPILOG + (TOO_NEW if self.when_too_new == SAID else "")
        parser.allow_abbrev = False
        # A time may begin with a minus (-15m); no option begins with a digit.
        parser._negative_number_matcher = _MINUS_TIME
        self.add_arguments(parser)
        add_log_options(parser)
        return parser

    def add_arguments(self, parser) -> None:
        """Add the command's own arguments."""

    def option(self, arguments, name):
        """Return the value of a common option: the one after the command's name, else the one before it."""
        found = getattr(arguments, name)
        return getattr(self.app.options, name, None) if found is None else found

    def take_action(self, arguments):
        self.out, self.err = self.app.stdout, self.app.stderr
        self.paint = output.Paint(self.option(arguments, "color") or "auto", self.out)
        self.now_ns = SYSTEM.now_ns()
        self._too_new_said = set()
        with Source(self._names(arguments), self.when_down != REFUSED) as source:
            if self.when_down == SAID and source.down and not source.logs:
                raise next(iter(source.down.values()))
            try:
                code = self.run_on(source, arguments)
            except errors.NovaSchedError as fault:
                # What is not found may be in the part of a log that is not known.
                if not self.say_too_new(source):
                    raise
                self.say(f"{self.app.NAME} {self.cmd_name}: {fault}")
                return errors.EXIT_SCHEMA
            if self.when_down == SAID:
                code = self._say_down(source, arguments) or code
            # Of a damaged exported file the command has shown what can be read; the damage is reported last.
            for fault in source.faults:
                self.say(f"{self.app.NAME} {self.cmd_name}: {fault}")
            return self.say_too_new(source) or (errors.EXIT_GAP if source.faults else code)

    def say_too_new(self, source):
        """Report the logs of which this process knows only the first part, each once: what is shown is not the answer
        of the log. Return the exit code, None if there is no such log."""
        if self.when_too_new != SAID or not source.too_new:
            return None
        for cell in sorted(source.too_new.keys() - self._too_new_said):
            self._too_new_said.add(cell)
            self.say(f"{self.app.NAME} {self.cmd_name}: {source.too_new[cell]}")
        return errors.EXIT_SCHEMA

    def _say_down(self, source, arguments):
        """Report which cells are missing in the output. Return the exit code, None if no cell is missing."""
        wanted = getattr(arguments, "cell", None) or source.down
        code = None
        for cell in [cell for cell in source.down if cell in wanted]:
            self.say(f"{self.app.NAME} {self.cmd_name}: {cell} is left out: {source.down[cell]}")
            code = source.down[cell].exit_code
        return code

    def _names(self, arguments):
        names = [*(getattr(self.app.options, "logs", None) or ()), *(arguments.logs or ())]
        names = names or of_environment() or self._configured(arguments)
        if not names:
            raise errors.UsageError(
                "no log is named; name one with --log CELL=URL (or URL, a file of export, "
                f"the directory of a play), with ${ENVIRONMENT}, or in [cells] of the services' "
                "configuration (/etc/nova_sched/nova_sched.conf)"
            )
        return names

    def _configured(self, arguments):
        """Return the logs that the services' configuration names; none if there is no configuration."""
        from nova_sched.cli import command_config

        paths = getattr(arguments, "config_files", None) or ()
        if not paths and not command_config.found(self.app.NAME):
            return []
        return command_config.logs(command_config.read(paths, self.app.NAME))

    @abc.abstractmethod
    def run_on(self, source, arguments) -> int:
        """Run the command on opened logs, and return its exit code."""

    @contextmanager
    def history(self, source, arguments):
        """Give the :class:`~nova_sched.replay.state.history.History` of the logs. A long fold draws a progress bar."""
        store = self.option(arguments, "snapshots")
        prepare_memory()
        with output.progress(self.err, not self.option(arguments, "no_progress")) as update:
            yield History(
                source.logs,
                None if self.option(arguments, "no_cache") else SnapshotCache.of_user(),
                open_store(store) if store else None,
                update,
                source.folded,
            )

    def say(self, text: str) -> None:
        """Write a sentence to stderr. It may contain names of cells and errors of files, so it is made one line."""
        self.err.write(f"{one_line(text)}\n")
