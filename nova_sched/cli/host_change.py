"""``nova-sched host disable``, ``enable``, ``drain`` and ``remove``."""

import difflib
import threading

from nova_sched.cli.durations import duration
from nova_sched.cli.operator import OperatorCommand
from nova_sched.cli.output import Rows, add_form
from nova_sched.operate.hosts import Left, OperatedHost
from nova_sched.replay.state.hosts import named_hosts, wanted
from rpc_api import errors
from rpc_api.clock import SYSTEM, spelled

#: Seconds between two looks at what is left on hosts, and for which a drain waits by default.
LOOK_SECONDS = 2.0
WAIT_DEFAULT = "10m"
AUTHORITY = """\
A host belongs to its agent or to Nova (nova-sched host list shows it). For a host of an agent the command publishes an
event of the operator in the log of its cell. For a host of Nova it uses Nova's API (credentials: OS_CLOUD, or the other
OS_ variables), and nothing is written into the log: Nova's services report the change.
"""
CODES = """\
exit codes: 0 done, 1 it cannot be done, or there is no such host, 2 wrong usage, 3 a log or Nova cannot be reached,
"""


class _HostCommand(OperatorCommand):
    """A command that changes some hosts, one after the other."""

    #: What --reason is called in the help; None for a command without one.
    reason = "why, for those who look at the host"

    def add_arguments(self, parser):
        parser.add_argument("hosts", nargs="+", metavar="HOST", help="name of a host, or a glob")
        if self.reason:
            parser.add_argument("--reason", default="", metavar="TEXT", help=self.reason)
        self.add_more(parser)
        self.add_operator(parser)

    def add_more(self, parser) -> None:
        """Add the arguments of this command."""

    def found(self, source, arguments) -> list[OperatedHost]:
        """The named hosts; NovaSchedError for a name that no host has."""
        with self.history(source, arguments) as history:
            unknown = {}
            world = history.world_at({cell: log.bounds().last for cell, log in source.logs.items()}, unknown)
        for gap in unknown.values():
            self.say(f"{self.app.NAME} {self.cmd_name}: {gap}")
        if source.too_new:
            raise next(iter(world.projections[cell].unknown_level() for cell in source.too_new))
        _check_names(world, arguments.hosts, sorted({*source.down, *unknown}))
        return [
            OperatedHost(
                host.name,
                cell,
                source.logs[cell],
                world.projections[cell],
                lambda: self.nova(arguments),
                arguments.name,
            )
            for cell, host in named_hosts(world, arguments.hosts)
        ]

    def run_on(self, source, arguments):
        for host in self.found(source, arguments):
            self.out.write(f"{self.change(host, arguments)}\n")
        return errors.EXIT_OK

    def change(self, host, arguments) -> str:
        """Change one host; return what was done, in words."""
        raise NotImplementedError


class HostDisable(_HostCommand):
    """Give no more instances to some hosts. What runs there stays."""

    EPILOG = f"""\
{AUTHORITY}
examples:
  nova-sched host disable $HOST --reason 'ticket 4711: a fan' --log out/demo
  nova-sched host disable 'rack7-*' --reason 'power of rack 7' --log out/demo

{CODES}4 the state of a cell is not known
"""

    def change(self, host, arguments):
        return host.disable(arguments.reason)


class HostEnable(_HostCommand):
    """Give instances again to hosts that an operator disabled."""

    reason = None
    EPILOG = f"""\
{AUTHORITY}
examples:
  nova-sched host enable $HOST --log out/demo

{CODES}4 the state of a cell is not known
"""

    def change(self, host, arguments):
        return host.enable()


class HostRemove(_HostCommand):
    """Remove hosts that are gone for good."""

    EPILOG = f"""\
{AUTHORITY}
The host must be lost, and hold nothing: else its agent would report it again, or its instances would be forgotten.
--force removes it all the same. An agent that still runs reports the host again within confirm_interval. Nova itself
refuses to delete a nova-compute that has servers.

examples:
  nova-sched host remove $HOST --reason 'sold' --log out/demo
  nova-sched host remove $HOST --force --log out/demo

{CODES}4 the state of a cell is not known
"""

    def add_more(self, parser):
        parser.add_argument(
            "--force", action="store_true", help="also a host of an agent that is not lost, or that holds something"
        )

    def change(self, host, arguments):
        return host.remove(arguments.reason or f"removed by operator/{arguments.name}", arguments.force)


class HostDrain(_HostCommand):
    """Disable hosts, and show what is still there. Instances are moved by you, or by Nova: the command moves none."""

    EPILOG = f"""\
{AUTHORITY}
Move the instances with openstack server migrate --host, or let them end. With --wait the command ends when nothing is
left, when the time is over (exit code 1, what is left is shown), or as soon as it is clear that the drain cannot
finish: the host is lost, its nova-compute is down, it was enabled again, or all that is left is in ERROR.

examples:
  nova-sched host drain $HOST --reason 'new firmware' --log out/demo
  nova-sched host drain $HOST --wait 2h --log out/demo
  nova-sched host drain 'rack7-*' -o json --log out/demo

exit codes: 0 nothing is left, 1 something is left, or there is no such host, 2 wrong usage, 3 a log or Nova cannot be
reached, 4 the state of a cell is not known
"""

    def add_more(self, parser):
        parser.add_argument(
            "--wait",
            nargs="?",
            const=WAIT_DEFAULT,
            metavar="TIME",
            help=f"wait until nothing is left, for at most this time (default with --wait: {WAIT_DEFAULT})",
        )
        add_form(parser)

    def run_on(self, source, arguments):
        wait_s = 0.0 if arguments.wait is None else duration(arguments.wait, "--wait") / 1e9
        hosts = self.found(source, arguments)
        for host in hosts:
            self.say(host.disable(arguments.reason))
        left, why = self._wait(hosts, wait_s)
        rows = Rows(self.out, arguments.output, ("cell", "host", *Left._fields), ("resources",), self.paint)
        for host, found in left.items():
            for one in found:
                resources = one.resources
                if arguments.output in ("table", "csv"):
                    resources = ",".join(f"{name}={amount}" for name, amount in resources.items()) or None
                rows.write({"cell": host.cell, "host": host.name, **one._replace(resources=resources)._asdict()})
        if rows.count or arguments.output != "table":
            rows.end()
        held = [host for host in hosts if left[host]]
        for host in held:
            self.say(
                f"{host.name} of {host.cell} holds {_counted(left[host])}" + (f"; {why[host]}" if why[host] else "")
            )
        if not held:
            self.say(f"nothing is left on {len(hosts)} host{'' if len(hosts) == 1 else 's'}")
        return errors.EXIT_NEGATIVE if held else errors.EXIT_OK

    def _wait(self, hosts, wait_s):
        """Return what is left on each host and why it cannot end there, when nothing is left, or the time is over, or
        nothing can change. A fault of a log or of Nova that may pass ends it with the time only."""
        end, shown, away = SYSTEM.monotonic() + wait_s, None, False
        while True:
            try:
                left, why = _looked_at(hosts)
            except (errors.LogUnavailable, errors.ServiceUnavailable) as fault:
                if SYSTEM.monotonic() >= end:
                    raise
                if not away:
                    self.say(f"{fault}; trying again, for at most {spelled(end - SYSTEM.monotonic())}")
                away = True
            else:
                away = False
                total = sum(map(len, left.values()))
                if all(why[host] for host in hosts if left[host]) or SYSTEM.monotonic() >= end:
                    return left, why
                if total != shown:
                    shown = total
                    self.say(f"{total} left, waiting for at most {spelled(end - SYSTEM.monotonic())}")
            pause(max(0.0, min(LOOK_SECONDS, end - SYSTEM.monotonic())))


def pause(seconds: float) -> None:
    """Wait before the next look."""
    threading.Event().wait(seconds)


def _looked_at(hosts):
    """(What is left on each host, why that cannot end by waiting)."""
    for host in hosts:
        host.follow()
    left = {host: host.left() for host in hosts}
    return left, {host: host.cannot_end(left[host]) if left[host] else None for host in hosts}


def _check_names(world, patterns, away):
    """Raise NovaSchedError for a name or glob that no host has; ``away`` are cells whose hosts are not known now."""
    known = sorted({host.name for projection in world.projections.values() for host in projection.hosts.values()})
    for pattern in patterns:
        if not any(wanted(name, [pattern]) for name in known):
            near = difflib.get_close_matches(pattern, known, 3, 0.6)
            raise errors.NovaSchedError(
                f"there is no host {pattern!r} in {', '.join(sorted(world.projections))}"
                + (f", and the hosts of {', '.join(away)} are not known now" if away else "")
                + (f"; there are {', '.join(near)}" if near else "")
                + "; nova-sched host list shows all"
            )


def _counted(left):
    return f"{len(left)} consumer{'' if len(left) == 1 else 's'}"
