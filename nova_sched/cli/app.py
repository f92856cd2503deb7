"""The cliff application: commands come by the entry points ``nova_sched.cli``."""

import logging
import sys
from importlib import metadata

from cliff.app import App
from cliff.commandmanager import CommandManager

from nova_sched.cli.main import DESCRIPTION
from rpc_api import errors, noise


class NovaSched(App):
    """Commands that print to stdout what they are for, and everything else to stderr."""

    CONSOLE_MESSAGE_FORMAT = "%(levelname)s: %(message)s"

    def __init__(self):
        super().__init__(description=DESCRIPTION, version=metadata.version("nova_sched"),
                         command_manager=CommandManager("nova_sched.cli"), deferred_help=True)

    def build_option_parser(self, description, version, argparse_kwargs=None):
        """As cliff's, but --log of a command is not taken for an abbreviation of --log-file."""
        return super().build_option_parser(description, version, {**(argparse_kwargs or {}), "allow_abbrev": False})

    def configure_logging(self):
        """Say warnings, and more with each --verbose: what a command is for goes to stdout."""
        self.options.verbose_level = max(0, self.options.verbose_level - 1)
        super().configure_logging()
        for handler in logging.getLogger().handlers:
            handler.addFilter(noise.is_wanted)

    def interact(self):
        """No command was named: say what there is. (cliff would open a shell of its own.)"""
        self.parser.print_help(sys.stderr)
        raise SystemExit(errors.EXIT_USAGE)

    def run_subcommand(self, argv):
        """Run one command: an error of the project is one sentence and its exit code."""
        try:
            found = self.command_manager.find_command(argv)
        except ValueError as unknown:
            sys.stderr.write(f"nova-sched: {unknown}; nova-sched --help lists the commands\n")
            return errors.EXIT_USAGE
        factory, name, arguments = found
        command = factory(self, self.options, cmd_name=name)
        self.prepare_to_run_command(command)
        try:
            parsed = command.get_parser(f"nova-sched {name}").parse_args(arguments)
            return command.run(parsed) or errors.EXIT_OK
        except errors.NovaSchedError as fault:
            if self.options.debug:
                logging.getLogger(__name__).exception("%s", fault)
            sys.stderr.write(f"nova-sched {name}: {fault}\n")
            return fault.exit_code
        except BrokenPipeError:
            raise
        except Exception as fault:
            if self.options.debug:
                raise
            sys.stderr.write(f"nova-sched {name}: a fault of nova_sched itself ({fault!r}); "
                             "run it with --debug and report what it says\n")
            return errors.EXIT_NEGATIVE
