"""The cliff applications. Their commands are entry points: group ``nova_sched.cli`` for nova-sched,
``nova_sched.replay`` for the replay tool."""

import argparse
import difflib
import errno
import logging
import sys
from importlib import metadata

from cliff.app import App
from cliff.command import Command
from cliff.commandmanager import CommandManager
from cliff.help import HelpCommand

from nova_sched.cli.command import add_log_options, parsed
from nova_sched.cli.complete import Complete
from nova_sched.process.text import one_line
from rpc_api import errors, noise

EXIT_CODES = """\
Times that are typed are UTC unless they name a zone; times that are shown are UTC.

exit codes: 0 ok, 1 negative finding, 2 wrong usage, 3 broker or log unreachable, 4 gap or partial data, 5 data of a
newer version, 130 interrupted
"""


#: How alike a word must be to a command that is named in its place (difflib's ratio).
ALIKE_MIN = 0.6
#: Faults of an output that takes nothing more: its reader has ended, its disk or quota is full, or its file too large.
OUTPUT_FAULTS = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_of_output(fault: Exception) -> bool:
    """Whether an error means that the output takes nothing more."""
    return isinstance(fault, OSError) and fault.errno in OUTPUT_FAULTS


def _wrong_usage(program, found):
    return f"the command line is wrong: {found}; see {program} --help"


def _refuse(program):
    """Return what an argument parser calls instead of printing its usage: it raises a UsageError."""

    def refuse(found):
        raise errors.UsageError(_wrong_usage(program, found))

    return refuse


class NovaSched(App):
    """The commands of nova-sched. Results go to stdout, everything else to stderr."""

    CONSOLE_MESSAGE_FORMAT = "%(levelname)s: %(message)s"
    NAME = "nova-sched"
    COMMANDS = "nova_sched.cli"
    DESCRIPTION = f"""\
The event-sourced scheduler for OpenStack Nova: play a cloud; tail, replay and explain its decisions.

{EXIT_CODES}"""

    def __init__(self):
        super().__init__(
            description=self.DESCRIPTION,
            version=metadata.version("nova_sched"),
            command_manager=CommandManager(self.COMMANDS),
            deferred_help=True,
        )
        self.command_manager.add_command("help", Help)
        self.command_manager.add_command("complete", Complete)

    def build_option_parser(self, description, version, argparse_kwargs=None):
        """As cliff's, but --log of a command is not taken for an abbreviation of --log-file."""
        parser = super().build_option_parser(
            description, version, {**(argparse_kwargs or {}), "allow_abbrev": False, "prog": self.NAME}
        )
        parser.error = self._end_with
        return parser

    def _end_with(self, found):
        """End the process with what is wrong in the options before the command."""
        sys.stderr.write(f"{self.NAME}: {one_line(_wrong_usage(self.NAME, found))}\n")
        raise SystemExit(errors.EXIT_USAGE)

    def configure_logging(self):
        """Log warnings to stderr, and more with each --verbose."""
        self.options.verbose_level = max(0, self.options.verbose_level - 1)
        try:
            super().configure_logging()
        except OSError as fault:
            self._end_with(f"--log-file {self.options.log_file} cannot be written ({fault.strerror})")
        for handler in logging.getLogger().handlers:
            handler.addFilter(noise.is_wanted)

    def interact(self):
        """Print the options if no command was named, and how to list the commands. (cliff would open its own shell.)"""
        self.parser.print_help(sys.stderr)
        sys.stderr.write(f"\n{self.NAME}: no command is named; {self.NAME} --help lists the commands\n")
        raise SystemExit(errors.EXIT_USAGE)

    def run_subcommand(self, argv):
        """Run one command. Print an error of the project as one sentence, and return its exit code."""
        try:
            found = self.command_manager.find_command(argv)
        except ValueError:
            sys.stderr.write(f"{self.NAME}: {one_line(self._without_command(argv))}\n")
            return errors.EXIT_USAGE
        factory, name, arguments = found
        command = factory(self, self.options, cmd_name=name)
        self.prepare_to_run_command(command)
        try:
            parser = command.get_parser(f"{self.NAME} {name}")
            parser.error = _refuse(parser.prog)
            return command.run(parsed(parser, arguments)) or errors.EXIT_OK
        except errors.NovaSchedError as fault:
            if self.options.debug:
                logging.getLogger(__name__).exception("%s", fault)
            sys.stderr.write(f"{self.NAME} {name}: {one_line(str(fault))}\n")
            return fault.exit_code
        except Exception as fault:
            if self.options.debug or is_of_output(fault):
                raise
            sys.stderr.write(
                f"{self.NAME} {name}: a fault in nova_sched itself ({fault!r}); "
                "run the command with --debug and report the traceback\n"
            )
            return errors.EXIT_NEGATIVE

    def _without_command(self, argv):
        """Return what is wrong with a command line that does not begin with a command, and what to type."""
        if not argv[0].startswith("-"):
            return self.unknown_command(argv[0])
        option, known = argv[0].partition("=")[0], {name for name, _ in self.command_manager}
        command = next((word for word in argv if word in known), "COMMAND")
        return (
            f"the option {option} is not known before a command; type it after the command, as in "
            f"{self.NAME} {command} {option} ..., or see {self.NAME} --help"
        )

    def unknown_command(self, word) -> str:
        """What is wrong with a word that no command begins with, or that is only the first word of some commands."""
        known = sorted(name for name, _ in self.command_manager)
        if family := [name for name in known if name.startswith(f"{word} ")]:
            return f"{word!r} is the beginning of {', '.join(family)}; type one of them"
        near = difflib.get_close_matches(word, sorted({*known, *(name.split()[0] for name in known)}), 1, ALIKE_MIN)
        meant = f", the nearest is {near[0]!r}" if near else ""
        return f"there is no command {word!r}{meant}; {self.NAME} --help lists the commands"


class Help(HelpCommand):
    """Show how to use a command."""

    def get_parser(self, prog_name):
        """As cliff's, with the exit codes."""
        parser = super().get_parser(prog_name)
        parser.epilog = "exit codes: 0 shown, 2 wrong usage, or there is no such command"
        return parser

    def take_action(self, parsed_args):
        """Print the help of a command, of the replay tool's commands too; UsageError for an unknown command."""
        try:
            if parsed_args.cmd and self.app.command_manager.find_command(parsed_args.cmd)[0] is Replay:
                return NovaSchedReplay().run(["help", *parsed_args.cmd[1:]])
            return super().take_action(parsed_args)
        except ValueError:
            raise errors.UsageError(self.app.unknown_command(parsed_args.cmd[0])) from None


class NovaSchedReplay(NovaSched):
    """The replay tool: ``nova-sched-replay --log URL COMMAND``, or ``nova-sched replay`` with the same arguments."""

    NAME = "nova-sched-replay"
    COMMANDS = "nova_sched.replay"
    DESCRIPTION = f"""\
Read the logs of nova_sched: show events, explain decisions, show the state at any moment, try another policy on the
recorded requests.

{EXIT_CODES}"""

    def build_option_parser(self, description, version, argparse_kwargs=None):
        """The options of nova-sched, and those that name logs."""
        parser = super().build_option_parser(description, version, argparse_kwargs)
        add_log_options(parser)
        return parser


class Replay(Command):
    """The replay tool: tail, show, explain, why-not, state, diff, what-if and more; see nova-sched replay --help."""

    #: The application that parses the words after the command's name.
    APP = NovaSchedReplay

    def get_parser(self, prog_name):
        """Leave the arguments to the replay tool."""
        return _PassedOn(prog_name, add_help=False)

    def take_action(self, parsed_args):
        """Run the replay tool."""
        return NovaSchedReplay().run(parsed_args)


class _PassedOn(argparse.ArgumentParser):
    def parse_args(self, arguments):
        """Return the arguments as they are."""
        return arguments

    parse_intermixed_args = parse_args
