"""``nova-sched create-log``: create a log, for services whose accounts have no right to."""

import argparse
import getpass
import os

from cliff.command import Command

from nova_sched.cli.numbers import Decimal, Number
from nova_sched.replay.logs.reading import decoded_records
from rpc_api import codec, errors, events
from rpc_api.accounts import speaks_for
from rpc_api.clock import SYSTEM
from rpc_api.codec import MAX_NAME
from rpc_api.config import may_name_cell
from rpc_api.feed.epoch import open_at_level
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from rpc_api.waiting import until_it_passes

WAIT_SECONDS = 30.0

EPILOG = """\
examples:
  nova-sched create-log cell1 rabbit://operator:secret@broker:5672/?stream=nova_sched.cell1
  nova-sched create-log cell1 rabbit://operator:secret@broker:5672/?stream=nova_sched.cell1 --require-accounts

An existing log stays as it is. A new one is at the newest level (docs/operating/upgrades.md); beside services of an
older release, name their level with --level. --require-accounts and --allow-any-account publish which accounts count in
the log from here on (docs/operating/accounts.md). For that the broker's account must be "operator" or "operator.NAME".

exit codes: 0 the log exists (and the rule about accounts is published), 1 the rule about accounts does not count,
2 wrong usage, or the log of another cell, 3 the log cannot be reached or created, 5 it contains something else
"""


def _say(log, epoch, producer, data):
    """Append an event, and check that it counts: the log must prove an account that may publish for the producer."""
    now, end = SYSTEM.now_ns(), log.bounds().last
    event = codec.make_event(data, producer, now, 1, now)
    log.append([codec.encode_record(epoch, [event])])
    for _, record in decoded_records(log, end + 1):
        if event in record.events and speaks_for(record.account, producer):
            return
    raise errors.NovaSchedError(
        f"the event of {producer} does not count in {log.url}: the log does not prove that it was appended "
        "with the account operator or operator.NAME; use such an account on a RabbitMQ broker"
    )


def _made(arguments, producer):
    """Return the open log, its epoch, and whether it is new."""
    try:
        log = open_log(arguments.log)
    except errors.LogGone as missing:
        # We may not create it, and nobody else would do so while we wait.
        raise errors.LogRefused(str(missing)) from None
    try:
        opening, is_new = open_at_level(log, arguments.cell, producer, arguments.level or LEVEL)
        if not is_new and arguments.level is not None:
            raise errors.UsageError(
                f"{log.url} exists already, and --level is for a new log; leave it out, or use nova-sched pin"
            )
        return log, opening.epoch, is_new
    except BaseException:
        log.close()
        raise


def user():
    """Return the name of the user who runs the command, or the number in a container that has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


class CreateLog(Command):
    """Create the log of a cell (or of cell0) if it does not exist; publish whether it requires accounts."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument("cell", metavar="CELL", help="name of the cell, or cell0")
        parser.add_argument("log", metavar="URL", help="URL of the log")
        parser.add_argument(
            "--wait",
            metavar="SECONDS",
            action=Decimal,
            may_be_0=True,
            default=WAIT_SECONDS,
            help=f"wait this long for a broker that is starting (default: {WAIT_SECONDS:.0f}; 0: do not wait)",
        )
        parser.add_argument(
            "--name",
            default=user(),
            help="publish as operator/NAME (default: the name of the user who runs the command)",
        )
        parser.add_argument(
            "--level",
            action=Number,
            most=LEVEL,
            metavar="LEVEL",
            help=f"the level of a new log (default: {LEVEL}); it is an error if the log exists",
        )
        accounts = parser.add_mutually_exclusive_group()
        accounts.add_argument(
            "--require-accounts",
            dest="required",
            action="store_true",
            default=None,
            help="from now on an event counts only if it was appended with the account of its producer",
        )
        accounts.add_argument(
            "--allow-any-account",
            dest="required",
            action="store_false",
            default=None,
            help="from now on an event counts with any account",
        )
        return parser

    def take_action(self, arguments):
        if not may_name_cell(arguments.cell):
            raise errors.UsageError(
                f"{arguments.cell!r} cannot be the name of a cell, wanted letters, digits, '_', '.' and '-', and a "
                "letter or digit first; fix CELL"
            )
        producer = f"operator/{arguments.name}"
        if not 0 < len(arguments.name) <= MAX_NAME - len("operator/"):
            raise errors.UsageError(
                f"--name has {len(arguments.name)} characters, wanted 1 to {MAX_NAME - len('operator/')}; fix it"
            )
        log, epoch, is_new = until_it_passes(
            "create-log waits for the log", lambda: _made(arguments, producer), arguments.wait
        )
        with log:
            if arguments.required is not None:
                _say(log, epoch, producer, events.AccountsRequired(arguments.required))
            bounds = log.bounds()
        self.app.stdout.write(
            f"{arguments.cell}: {log.url} {f'is new, at level {arguments.level or LEVEL}' if is_new else 'exists'}, "
            f"epoch {epoch}, positions {bounds.first} to {bounds.last}\n"
        )
        return 0
