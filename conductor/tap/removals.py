"""Hosts that Nova removed. The log shows a removal later than it was published, and a heartbeat that comes meanwhile
must not report the host again."""

from collections.abc import Callable
from typing import Any

from nova_sched.projection.ledger import NOVA, Host
from rpc_api import events

#: Seconds after which something is published again if the log does not have it.
REPORT_AGAIN = 60.0


class _Gone:
    """``is_in_log``: the log has the host, or will have it: a report of it was published. ``at`` is when its removal
    was published, None before."""

    def __init__(self, reason: str, is_in_log: bool) -> None:
        self.reason, self.is_in_log = reason, is_in_log
        self.at: float | None = None


class Removals:
    """The hosts that are gone, until they come back, or the log has shown for long that they are gone."""

    def __init__(self) -> None:
        self._gone: dict[str, _Gone] = {}
        #: Host -> why it is removed before it is reported again: its root provider belongs to another host now.
        self._replaced: dict[str, str] = {}
        #: Hosts to report although the log has them as they are: their removal was published, and comes first.
        self._come_back: set[str] = set()

    def __contains__(self, host: str) -> bool:
        return host in self._gone

    def forget_all(self) -> None:
        """Another process may know better."""
        self._gone.clear()
        self._replaced.clear()
        self._come_back.clear()

    def log_began(self) -> None:
        """The log may have lost what was published: it is published again."""
        for gone in self._gone.values():
            gone.at = None

    def removed(self, host: str, reason: str, is_in_log: bool) -> None:
        """Nova has no such host any more."""
        before = self._gone.get(host)
        self._gone[host] = _Gone(reason, is_in_log or (before is not None and before.is_in_log))
        self._come_back.discard(host)

    def came_back(self, host: str, has_same_root: bool) -> None:
        """The host has a compute node again; whether that is the one in the log."""
        gone = self._gone.pop(host, None)
        if gone is not None and gone.at is not None:
            self._come_back.add(host)
        elif gone is not None and gone.is_in_log and not has_same_root:
            self._replaced[host] = gone.reason

    def must_be_reported(self, host: str) -> bool:
        """Whether a host is reported even if the log has it as it is."""
        return host in self._come_back

    def was_reported(self, host: str) -> None:
        """A report of a host was published."""
        self._come_back.discard(host)

    def due(self, host_in: Callable[[str], Host | None], now: float) -> list[Any]:
        """The HostRemoved that are due; ``host_in`` returns a host of the log. A removal that the log does not show is
        published again: the host may have had another authority."""
        replaced, self._replaced = self._replaced, {}
        found = [events.HostRemoved(host, reason) for host, reason in replaced.items() if _is_novas(host_in(host))]
        for host, gone in list(self._gone.items()):
            if gone.at is not None and now - gone.at < REPORT_AGAIN:
                continue
            known = host_in(host)
            if _is_novas(known) if known is not None else gone.is_in_log and gone.at is None:
                gone.at = now
                found.append(events.HostRemoved(host, gone.reason))
            elif known is None:
                del self._gone[host]
        return found


def _is_novas(known: Host | None) -> bool:
    """Whether Nova has the authority over a host, or the log does not show the host yet."""
    return known is None or known.authority == NOVA
