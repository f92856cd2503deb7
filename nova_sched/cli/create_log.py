"""``nova-sched create-log``: declare a log and begin it, for services whose accounts may not."""

import argparse
import getpass

from cliff.command import Command

from nova_sched.replay.logs.reading import decoded_records
from rpc_api import codec, errors, events
from rpc_api.accounts import speaks_for
from rpc_api.clock import SYSTEM
from rpc_api.codec import MAX_NAME
from rpc_api.feed.epoch import ensure_open
from rpc_api.log import open_log
from rpc_api.waiting import until_it_passes

WAIT_SECONDS = 30.0

EPILOG = """\
examples:
  nova-sched create-log cell1 rabbit://operator:secret@broker:5672/?stream=nova_sched.cell1
  nova-sched create-log cell1 rabbit://operator:secret@broker:5672/?stream=nova_sched.cell1 --require-accounts

A log that is there already stays as it is. --require-accounts and --allow-any-account say who may speak in it from
here on (docs/operating/accounts.md); the broker's account must then be "operator" or "operator.NAME".

exit codes: 0 it is there (and says who may speak), 1 what was said about accounts is not heard, 2 it is another
cell's log, 3 the log cannot be reached or made, 5 it holds something else
"""


def _say(log, epoch, producer, data):
    """Append an event, and see that it counts: that the log vouches for an account which may speak for the producer."""
    now, end = SYSTEM.now_ns(), log.bounds().last
    event = codec.make_event(data, producer, now, 1, now)
    log.append([codec.encode_record(epoch, [event])])
    for _, record in decoded_records(log, end + 1):
        if event in record.events and speaks_for(record.account, producer):
            return
    raise errors.NovaSchedError(
        f"{producer} is not heard in {log.url}: the log does not say that it was appended "
        "with the account operator or operator.NAME; use that account of a RabbitMQ broker"
    )


def _made(arguments, producer):
    """The log, open, and its epoch."""
    log = open_log(arguments.log)
    try:
        return log, ensure_open(log, arguments.cell, producer).epoch
    except BaseException:
        log.close()
        raise


class CreateLog(Command):
    """Declare the log of a cell (or of cell0) and begin it, if it is not there; say whether it requires accounts."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument("cell", metavar="CELL", help="name of the cell, or cell0")
        parser.add_argument("log", metavar="URL", help="URL of the log")
        parser.add_argument(
            "--wait",
            metavar="SECONDS",
            type=float,
            default=WAIT_SECONDS,
            help=f"wait so long for what may pass, as a broker that starts (default {WAIT_SECONDS:.0f}, 0: not at all)",
        )
        parser.add_argument(
            "--name",
            default=getpass.getuser(),
            help="name under which this is said: operator/NAME (that of the user who runs it)",
        )
        accounts = parser.add_mutually_exclusive_group()
        accounts.add_argument(
            "--require-accounts",
            dest="required",
            action="store_true",
            default=None,
            help="from now on events count only with the account of their producer",
        )
        accounts.add_argument(
            "--allow-any-account",
            dest="required",
            action="store_false",
            default=None,
            help="from now on events count with any account",
        )
        return parser

    def take_action(self, arguments):
        producer = f"operator/{arguments.name}"
        if not 0 < len(arguments.name) <= MAX_NAME - len("operator/"):
            raise errors.UsageError(
                f"--name has {len(arguments.name)} characters, wanted 1 to {MAX_NAME - len('operator/')}; fix it"
            )
        log, epoch = until_it_passes("create-log waits for the log", lambda: _made(arguments, producer), arguments.wait)
        with log:
            if arguments.required is not None:
                _say(log, epoch, producer, events.AccountsRequired(arguments.required))
            bounds = log.bounds()
        self.app.stdout.write(
            f"{arguments.cell}: {log.url} is there, epoch {epoch}, positions {bounds.first} to {bounds.last}\n"
        )
        return 0
