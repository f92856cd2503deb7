"""``nova-sched all-in-one``: every service in one process, without a broker and without a database."""

import argparse
import queue
import signal
import time
from pathlib import Path

from cliff.command import Command

from nova_sched.playground import numbers
from rpc_api import errors

EPILOG = """\
examples:
  nova-sched all-in-one                         ten simulated hosts in one cell, until Ctrl-C
  nova-sched all-in-one --cells 3 --hosts 100   three cells of a hundred hosts each
  nova-sched all-in-one --driver local --check  build and delete one instance on this machine, and end

exit codes: 0 ok, 1 the check did not build, 2 wrong usage, 3 a log cannot be reached, 4 gap, 5 data of a newer version
"""


#: Seconds between two checks of the services' faults.
LOOK_PAUSE = 0.5


class _Stopped(BaseException):
    """A signal asked for the end before the services were ready."""


class AllInOne(Command):
    """Run a scheduler, the conductors and agents in one process, with their logs in a directory."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument(
            "--state-dir",
            metavar="DIR",
            type=Path,
            default=Path("nova_sched-state"),
            help="directory of the logs; existing logs are continued (default: ./nova_sched-state)",
        )
        parser.add_argument(
            "--cells", metavar="N", type=numbers.positive, default=1, help="number of cells (default: 1)"
        )
        parser.add_argument(
            "--hosts", metavar="N", type=numbers.positive, help="number of simulated hosts per cell (default: 10)"
        )
        parser.add_argument(
            "--driver",
            choices=("simulated", "local"),
            default="simulated",
            help="the hosts: simulated ones, or this machine (default: simulated)",
        )
        parser.add_argument(
            "--placement-port",
            metavar="PORT",
            type=numbers.port,
            default=0,
            help="port of Placement's API on 127.0.0.1, which believes each token (default: a free one)",
        )
        end = parser.add_mutually_exclusive_group()
        end.add_argument(
            "--for",
            dest="seconds",
            metavar="SECONDS",
            type=numbers.seconds,
            help="end after this time (default: at SIGINT or SIGTERM)",
        )
        end.add_argument("--check", action="store_true", help="build and delete one instance, print its host, and exit")
        return parser

    def take_action(self, parsed):
        """Run until a signal or the end of the time, and return the exit code."""
        if parsed.driver == "local" and (parsed.hosts or parsed.cells > 1):
            raise errors.UsageError("--driver local is this one machine in one cell; leave --hosts and --cells out")
        from rpc_api import concurrency

        concurrency.setup()
        from nova_sched.playground.embedded import Embedded

        asked, cloud = queue.SimpleQueue(), None

        def stop(*_):
            asked.put("stop")
            if cloud is None:
                raise _Stopped  # its start may wait for a log that is locked

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        # The services of their own have a report, and read their configuration again: nothing of that is here.
        before |= {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGUSR2)}
        try:
            hosts = None if parsed.driver == "local" else parsed.hosts or 10
            with Embedded(parsed.state_dir, parsed.cells, hosts, parsed.placement_port) as cloud:
                if parsed.check:
                    return self._check(cloud)
                print(f"ready: {cloud.describe()}", file=self.app.stderr, flush=True)
                _wait(asked, parsed.seconds, cloud)
                return errors.EXIT_OK
        except _Stopped:
            return errors.EXIT_OK
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _check(self, cloud):
        outcome = cloud.check()
        if outcome.host is None:
            print(f"{outcome.outcome}: {outcome.reason}", file=self.app.stdout)
            return errors.EXIT_NEGATIVE
        held = ", ".join(f"{allocation.amount} {allocation.resource_class}" for allocation in outcome.allocations)
        print(
            f"built on {outcome.host} in {cloud.cell_of(outcome.host)} with build {outcome.attempts} ({held}), "
            "and deleted again",
            file=self.app.stdout,
        )
        return errors.EXIT_OK


def _wait(asked, seconds, cloud):
    """Wait for a signal or the end of the time; raise the fault of a service that cannot continue."""
    ends_at = None if seconds is None else time.monotonic() + seconds
    while ends_at is None or time.monotonic() < ends_at:
        try:
            return asked.get(
                timeout=LOOK_PAUSE if ends_at is None else max(0.0, min(LOOK_PAUSE, ends_at - time.monotonic()))
            )
        except queue.Empty:
            if cloud.fault is not None:
                raise cloud.fault from None
