"""Host mappings of new compute hosts in Nova's API database, which nova-scheduler makes from time to time.

Nova's conductor can build only on hosts that have one. nova_sched opens no database of Nova: it knows from the logs
when a host is new, and runs the operator's command.
"""

import logging
import shlex
import subprocess
import threading

from nova_sched.projection.ledger import NOVA
from rpc_api import concurrency, errors

LOG = logging.getLogger(__name__)

#: Seconds after which a command that does not end is killed.
COMMAND_SECONDS = 300.0


def hosts_of_nova(projections) -> frozenset:
    """Return the names of the hosts of some projections whose authority is Nova."""
    return frozenset(
        host.name for projection in projections for host in projection.hosts.values() if host.authority == NOVA
    )


def command_of(text: str) -> list[str]:
    """Return the words of a command as a shell reads them; UsageError if it has none, or an open quotation."""
    try:
        words = shlex.split(text)
    except ValueError as fault:
        raise errors.UsageError(
            f"[scheduler] discover_hosts_command is {text!r:.200}, wanted a command ({fault}); fix it"
        ) from None
    if not words:
        raise errors.UsageError(
            "[scheduler] discover_hosts_command is empty, wanted a command; set it, or set "
            "discover_hosts_in_cells_interval to -1"
        )
    return words


class NoDiscovery:
    """What a scheduler has that discovers no hosts."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def discovery_of(options, hosts) -> "HostDiscovery | NoDiscovery":
    """The discovery of the section ``[scheduler]``; UsageError for a command that cannot be used, if it is used."""
    interval = options.discover_hosts_in_cells_interval
    if interval <= 0:
        return NoDiscovery()
    return HostDiscovery(command_of(options.discover_hosts_command), interval, hosts)


class HostDiscovery:
    """Runs ``command`` (words) every ``interval`` seconds if there are hosts that were not there at the look before,
    or for which it has not ended without an error yet. ``hosts()`` returns their names."""

    def __init__(self, command, interval, hosts):
        self._command, self._interval, self._hosts = command, interval, hosts
        self._known = frozenset()
        self._stopped = threading.Event()
        self._thread = concurrency.vital_thread(self._run, "discover hosts")

    def start(self) -> None:
        """Start to look."""
        self._thread.start()

    def stop(self) -> None:
        """Do not start the command again. One that runs goes on: it is Nova's, and may be in the middle of a write."""
        self._stopped.set()

    def _run(self):
        while not self._stopped.wait(self._interval):
            self.look()

    def look(self) -> None:
        """Run the command if there are new hosts."""
        try:
            hosts = self._hosts()
        except (errors.NovaSchedError, TimeoutError) as fault:
            LOG.debug("the hosts are not known: %r", fault)
            return
        # Nova deletes the mapping of a host with its service: one that comes again is new.
        self._known &= hosts
        new = sorted(hosts - self._known)
        if not new:
            return
        named = f"{', '.join(new[:3])}{f' and {len(new) - 3} more' if len(new) > 3 else ''}"
        LOG.info("discovering hosts: %s", named)
        fault = self._fault()
        if fault is None:
            self._known = hosts
            LOG.info("discovered hosts: %s", named)
        else:
            # Also where two schedulers ran it at the same time: Nova lets only one of them write.
            LOG.warning(
                "the command %s failed (%s); it runs again in %g s for %s; run it by hand to see why",
                shlex.join(self._command),
                fault,
                self._interval,
                named,
            )

    def _fault(self):
        """Why the command failed; None if it did not."""
        try:
            done = subprocess.run(
                self._command, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return f"it did not end within {COMMAND_SECONDS:g} s"
        except OSError as fault:
            return fault.strerror or repr(fault)
        if done.returncode == 0:
            return None
        lines = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace").splitlines()
        return f"exit code {done.returncode}" + (f", {lines[-1][:200]}" if lines else "")
