"""The services of a cloud: those that have published in its logs, and what they answer over RPC.

A scheduler, conductor or API worker publishes nothing while nothing happens, so a log alone does not show that it runs.
"""

from typing import NamedTuple

from nova_sched.projection.ledger import AGENT as OF_AGENT
from nova_sched.projection.projection import AGENT
from nova_sched.replay.health.heard import end_of, last_of_producers, last_reports
from nova_sched.replay.health.known_levels import Service
from rpc_api.events.decision import SHADOW
from rpc_api.levels import LEVEL

#: What is known of a service. HEARD and SILENT are of agents, which confirm their hosts again and again.
UP, DOWN, HEARD, SILENT, IDLE, LOST = "up", "down", "heard", "silent", "idle?", "lost"
ROLES = ("scheduler", "conductor", "placement", SHADOW, AGENT)
#: Services that answer on the message queue. A worker of Placement's API answers HTTP.
ASKED = {"scheduler": "scheduler", "conductor": "conductor", AGENT: "agent"}


class ServiceRow(NamedTuple):
    """A service in the log of a cell: when its last event came (None: longer ago than the search went), its ``status``,
    the ``level`` of the record of that event, and, if it was asked, the level that it ``knows`` and its ``version``.
    ``hosts`` is the number of hosts of an agent."""

    service: str
    name: str
    cell: str
    status: str
    heard_ns: int | None
    level: int | None
    knows: int | None = None
    version: str | None = None
    hosts: int | None = None


def services_in(projection, log, at_ns: int | None, silent_ns: int) -> list[ServiceRow]:
    """The services of one log at the position of its projection; ``at_ns`` is the time with which the last events are
    compared (None: that of the end of the log)."""
    now_ns = at_ns if at_ns is not None else end_of(log, projection.position)
    names = [name for name in projection.producers if name.partition("/")[0] in ROLES[:-1]]
    last = last_of_producers(log, projection.position, names)
    rows = []
    for producer in sorted(names):
        role, _, name = producer.partition("/")
        found = last.get(producer)
        rows.append(
            ServiceRow(
                role, name, projection.cell, IDLE, found and found.at_ns, found.level if found else projection.level
            )
        )
    return rows + list(_agents(projection, log, now_ns, silent_ns))


def _agents(projection, log, now_ns, silent_ns):
    """One row for each server of agents: it may report several hosts, and counts as heard when one of them is."""
    by_server = {}
    for host in projection.hosts.values():
        if host.authority == OF_AGENT:
            by_server.setdefault(host.server, []).append(host)
    heard = last_reports(log, projection.position, [host.name for hosts in by_server.values() for host in hosts])
    for server, hosts in sorted(by_server.items()):
        last = max((heard[host.name] for host in hosts if host.name in heard), default=None)
        if all(host.lost for host in hosts):
            status = LOST
        else:
            status = HEARD if last is not None and now_ns is not None and last.at_ns >= now_ns - silent_ns else SILENT
        yield ServiceRow(
            AGENT, server or "-", projection.cell, status, last and last.at_ns, last and last.level, hosts=len(hosts)
        )


def to_ask(row: ServiceRow) -> Service | None:
    """The service of a row as :mod:`~nova_sched.replay.health.known_levels` asks it; None if it does not answer RPC."""
    kind = ASKED.get(row.service)
    if kind is None or row.name == "-":
        return None
    return Service(kind, row.name, "cell0" if kind == "scheduler" else row.cell)


def answered(row: ServiceRow, known) -> ServiceRow:
    """A row with what its service answered (a Known)."""
    if known.level is None:
        return row._replace(status=DOWN)
    return row._replace(status=UP, knows=known.level, version=known.version)


def is_behind(row: ServiceRow) -> bool:
    """Whether a service is of a release before this one, as far as that is known."""
    return row.knows is not None and row.knows < LEVEL
