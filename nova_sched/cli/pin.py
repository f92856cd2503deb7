"""``nova-sched pin``: let the logs of a cloud have a higher level, when all services know it."""

import argparse
import contextlib

from cliff.command import Command

from nova_sched.cli import command_config
from nova_sched.cli.create_log import user
from nova_sched.cli.numbers import Number
from nova_sched.process.snapshot_store import store_of
from nova_sched.projection.state import CELL0
from nova_sched.replay.health import known_levels
from nova_sched.replay.logs.reading import decoded_records
from nova_sched.replay.state.history import History
from rpc_api import errors
from rpc_api.config import cell0_log, cells_of, check_account
from rpc_api.feed.epoch import append_pin, opening_in
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from rpc_api.wording import number_of

EPILOG = """\
A level is a number for the forms of events and the rules that a release brings (docs/operating/upgrades.md). Pin when
all services are upgraded: before, they can go back to the release before; a pin is never taken back. The command asks
every scheduler, conductor and agent over RPC which level it knows, and pins nothing if one knows less.

examples:
  nova-sched pin --dry-run
  nova-sched pin
  nova-sched pin 2 --force

exit codes: 0 pinned (or it was already), 1 a service is too old or does not answer, 2 wrong usage, or a level that is
unknown or lower, 3 a log cannot be reached, 5 a log contains something else
"""


#: The levels that a log can be pinned to.
KNOWN = f"2 to {LEVEL}"


class Pin(Command):
    """Pin the logs of all cells and of cell0 to a level, when all services know it."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument(
            "level", metavar="LEVEL", action=Number, nargs="?", default=LEVEL, help=f"the level (default: {LEVEL})"
        )
        parser.add_argument(
            "--cell", action="append", default=[], metavar="NAME", help="only this cell (or cell0); may be given again"
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="skip every service that does not answer; never one that answers that it is too old",
        )
        parser.add_argument(
            "--gone",
            action="append",
            default=[],
            metavar="NAME",
            help="skip this scheduler, conductor or agent if it does not answer; may be given again",
        )
        parser.add_argument("--dry-run", action="store_true", help="ask the services, and pin nothing")
        parser.add_argument(
            "--config-file",
            action="append",
            default=[],
            metavar="FILE",
            dest="config_files",
            help="configuration file of the services (default: the file that they read)",
        )
        parser.add_argument(
            "--name",
            default=user(),
            help="publish as operator/NAME (default: the name of the user who runs the command)",
        )
        return parser

    def take_action(self, arguments):
        if arguments.level < 2:
            raise errors.UsageError(
                f"a log cannot be pinned to level {arguments.level}, wanted {KNOWN}; a level is never taken back"
            )
        if arguments.level > LEVEL:
            raise errors.UsageError(
                f"level {arguments.level} is not known, wanted {KNOWN}; name another one, or upgrade nova-sched"
            )
        conf = command_config.read(arguments.config_files)
        urls = {cell.name: cell.log for cell in cells_of(conf, uuid_wanted=False)} | {CELL0: cell0_log(conf)}
        wrong = sorted(set(arguments.cell) - set(urls))
        if wrong:
            raise errors.UsageError(f"there is no cell {wrong[0]!r}, wanted one of {', '.join(urls)}; fix --cell")
        wanted = {cell: url for cell, url in urls.items() if not arguments.cell or cell in arguments.cell}
        check_account(conf, "operator", arguments.name, *wanted.values())
        with contextlib.ExitStack() as stack:
            logs = {cell: stack.enter_context(open_log(url, create=False)) for cell, url in wanted.items()}
            for cell, log in logs.items():
                opening_in(log, cell)
            return self._pin(conf, logs, arguments)

    def _pin(self, conf, logs, arguments):
        history = History(logs)
        history.store = store_of(conf)
        projections = history.world_at({cell: log.bounds().last for cell, log in logs.items()}).projections
        due = _due(projections, logs, arguments.level)
        if not self._all_know(conf, projections, arguments):
            return errors.EXIT_NEGATIVE
        for cell in logs:
            if cell not in due:
                self._say(f"{cell} is at level {arguments.level} already")
            elif arguments.dry_run:
                self._say(f"{cell} is at level {due[cell]}, and can be pinned to level {arguments.level}")
            else:
                position = _pinned_at(projections[cell], logs[cell], f"operator/{arguments.name}", arguments.level)
                self._say(f"{cell} is pinned to level {arguments.level} at position {position}")
        return errors.EXIT_OK

    def _all_know(self, conf, projections, arguments):
        """Ask the services of the logs, and print those because of which nothing is pinned."""
        against, silent = False, 0
        services = known_levels.services_of(projections)
        answers = known_levels.ask(conf, services)
        for service, level, why, _ in answers:
            if level is not None and level < arguments.level:
                against = True
                self._say(f"{service} knows level {level}, wanted {arguments.level}; upgrade it")
            if why is not None:
                is_gone = arguments.force or service.name in arguments.gone
                against, silent = against or not is_gone, silent + 1
                hint = "it is skipped" if is_gone else f"start it, or {_skipping(service)} if it is gone for good"
                self._say(f"{service} does not answer ({why}); {hint}")
        if not against:
            skipped = f"; {silent} skipped" if silent else ""
            asked = number_of(len(answers), "service or topic", "services and topics")
            self._say(f"{len(answers) - silent} of {asked} know level {arguments.level}{skipped}")
        return not against

    def _say(self, line):
        self.app.stdout.write(f"{line}\n")


def _skipping(service):
    return "use --force" if service.name is None else f"use --gone {service.name}"


def _due(projections, logs, level):
    """Cell -> level, of the cells that are to be pinned; UsageError if one is at a higher level."""
    for cell in logs:
        projection = projections[cell]
        if projection.is_too_new:
            raise projection.unknown_level()
        if projection.level > level:
            raise errors.UsageError(
                f"{cell} is at level {projection.level}, a pin is not taken back; name level {projection.level}"
            )
        if not projection.whole:
            raise errors.LogGap(
                f"the state of {cell} is not known, as records were removed in front of its log; name its snapshots "
                "with [snapshots] url, or wait until it is rebased"
            )
    return {cell: projections[cell].level for cell in logs if projections[cell].level < level}


def _pinned_at(projection, log, producer, level):
    """Append the pin and read it back; return its position. NovaSchedError if it does not count."""
    event = append_pin(log, projection.epoch, producer, level, projection.level)
    for position, record in decoded_records(log, projection.position + 1):
        set_aside = len(projection.quarantine)
        projection.fold([(position, record)])
        if event in record.events:
            if projection.level >= level:
                return position
            why = projection.quarantine[-1].reason if len(projection.quarantine) > set_aside else "its log was changed"
            raise errors.NovaSchedError(
                f"the pin of {producer} does not count in {log.url}: {why}; use the account operator or operator.NAME"
            )
    raise errors.LogUnavailable(f"the pin was not read back from {log.url}; check its broker, and pin again")
