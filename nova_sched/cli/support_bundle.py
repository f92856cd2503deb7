"""``nova-sched support-bundle``: one file with what somebody needs who helps from elsewhere."""

import argparse
import shutil
import socket
import tempfile
from pathlib import Path

from cliff.command import Command

from nova_sched.cli import command_config
from nova_sched.cli.command import ENVIRONMENT, add_config_file, of_environment
from nova_sched.cli.durations import duration
from nova_sched.cli.numbers import Decimal, Number
from nova_sched.operate.support.contents import MEGABYTE, Contents
from nova_sched.operate.support.gather import Wanted, gather
from nova_sched.operate.support.masking import Secrets
from nova_sched.process.version import version
from rpc_api import errors
from rpc_api.clock import SYSTEM
from rpc_api.wording import number_of

EPILOG = """\
The bundle has versions, the configuration (without comments and secrets), facts of the system and of our processes,
health and metrics of the services on this machine, the ends of their logs, the output of doctor, check, service list,
state, stats, quarantine and policy history, and the newest records of each log without personal data, as export
writes them. manifest.json lists the files, and says what is missing and why. A broker that is down is no reason not
to make one.

No secret is in it: the values of secret and of unknown options are masked, and what was masked is removed from all
texts. Names of hosts, cells and files, uuids, reasons why hosts are disabled, and the addresses and project ids in
the logs of services stay: read it before you send it to others.

examples:
  nova-sched support-bundle
  nova-sched support-bundle --since 2h --megabytes 100 -o /root/incident.tar.gz
  nova-sched support-bundle --records 5000 --reports

exit codes: 0 written and complete, 1 written, and something is missing, 2 wrong usage, 3 the file cannot be written
"""


class SupportBundle(Command):
    """Write a support bundle: what this machine and the logs show, in one file without secrets."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument(
            "-o", "--output", metavar="FILE", help="the file to write (default: nova-sched-HOST-TIME.tar.gz here)"
        )
        parser.add_argument("--force", action="store_true", help="overwrite an existing file")
        ends = parser.add_mutually_exclusive_group()
        ends.add_argument(
            "--since",
            default="60m",
            metavar="TIME",
            help="the newest part of each log, such as 30m or 2h (default: 60m)",
        )
        ends.add_argument("--records", action=Number, help="the last N records of each log in the place of a time")
        parser.add_argument(
            "--log",
            action="append",
            metavar="CELL=URL",
            dest="logs",
            help=f"a log, once per cell (default: ${ENVIRONMENT}, else the logs in the configuration)",
        )
        parser.add_argument(
            "--reports", action="store_true", help="ask the services here for their reports too, with SIGUSR2"
        )
        parser.add_argument("--seconds", action=Decimal, default=300.0, help="take at most this time (default: 300)")
        parser.add_argument("--megabytes", action=Decimal, default=50.0, help="size of all files at most (default: 50)")
        add_config_file(parser, "configuration file of the services (default: their usual files)")
        return parser

    def take_action(self, arguments):
        duration(arguments.since, "--since")
        made_ns = SYSTEM.now_ns()
        top = f"nova-sched-{socket.gethostname()}-{made_ns // 10**9}"
        output = Path(arguments.output or f"{top}.tar.gz")
        if output.is_dir():
            raise errors.UsageError(f"{output} is a directory; name a file in it")
        if output.exists() and not arguments.force:
            raise errors.UsageError(f"{output} exists already; name another file, or add --force")
        if not output.absolute().parent.is_dir():
            raise errors.UsageError(f"{output.absolute().parent} is not a directory; name a file in one that exists")
        secrets = Secrets()
        folder = Path(tempfile.mkdtemp(prefix="nova-sched-support-"))
        try:
            contents = Contents(folder / "files", secrets, int(arguments.megabytes * MEGABYTE), arguments.seconds)
            conf, files, logs, problem = self._configured(arguments)
            wanted = Wanted(files, logs, arguments.since, arguments.records, arguments.reports, folder)
            gather(contents, secrets, wanted, conf)
            if problem:
                contents.missing("configuration", problem)
            facts = {"made_at_ns": made_ns, "program": f"nova-sched {version()}", "host": socket.gethostname()}
            size = contents.write(output, top, facts)
        except OSError as fault:
            raise errors.LogUnavailable(f"{output} cannot be written ({fault.strerror}); check its directory") from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return self._tell(output, size, contents.entries)

    def _configured(self, arguments):
        """Return (configuration or None, its files, CELL=URL of the logs, what is wrong with it or None)."""
        files, conf, logs, problem = list(arguments.config_files) or _usual_files(), None, [], None
        named = arguments.logs or ([] if arguments.config_files else of_environment())
        try:
            conf = command_config.read(arguments.config_files, self.app.NAME)
            logs = command_config.logs(conf)
        except errors.UsageError as fault:
            problem = str(fault)
        return conf, files, named or logs, problem

    def _tell(self, output, size, entries):
        there = [entry for entry in entries if entry.sha256 is not None]
        problems = [entry for entry in entries if entry.problem]
        self.app.stdout.write(f"{output}: {number_of(len(there), 'file')}, {number_of(size, 'byte')}\n")
        for entry in problems:
            self.app.stderr.write(f"{entry.name}: {entry.problem}\n")
        return errors.EXIT_NEGATIVE if problems else errors.EXIT_OK


def _usual_files():
    """The files of all services and commands on this machine, each once."""
    programs = ("nova-sched", "nova-sched-replay", *(f"nova-sched-{name}" for name in _SERVICES))
    return list(dict.fromkeys(path for program in programs for path in command_config.found(program)))


_SERVICES = ("scheduler", "shadow", "conductor", "agent", "placement")
