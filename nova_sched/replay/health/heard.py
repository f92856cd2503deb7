"""The time of the last event of each service in a log, searched from the end of the log back.

An agent confirms its hosts from time to time, so a silent agent is found. A scheduler or conductor publishes nothing
when nothing happens: its last event does not show whether it is running now.
"""

from typing import NamedTuple

import msgpack

from nova_sched.projection.host_status import counts_of
from nova_sched.projection.ledger import AGENT as OF_AGENT
from nova_sched.projection.projection import AGENT
from nova_sched.replay.logs.ends import LastHeard
from nova_sched.replay.logs.reading import BATCH, readable_records, stretches_back
from rpc_api.clock import spelled
from rpc_api.levels import LEVEL

#: Greatest number of records to search for the last events of services.
MOST_RECORDS = 50_000
IDLE = "an idle service publishes nothing"


class Heard(NamedTuple):
    """The hosts and services of a cell at a moment, ``at_ns``.

    ``counts`` are the hosts by status; ``lost`` are names of hosts; ``silent`` is host -> time of the last event of its
    agent (None: older than the search went back), for silent hosts that are not marked as lost; ``agents`` is the
    number of the other agents (a host of Nova has none); ``services`` is scheduler or conductor -> time of its last
    event (None: as above)."""

    cell: str
    at_ns: int
    counts: dict
    lost: tuple
    agents: int
    silent: dict
    services: dict


def heard_of(projection, log, at_ns: int, silent_ns: int) -> Heard:
    """Return the Heard for a log up to the projection's position; its events are compared with the time ``at_ns``."""
    hosts = projection.hosts.values()
    here = {f"{AGENT}/{host.name}": host.name for host in hosts if not host.lost and host.authority == OF_AGENT}
    services = [name for name in projection.producers if name.startswith(("scheduler/", "conductor/"))]
    found, began_ns = last_events(log, projection.position, here.keys(), services, at_ns - silent_ns)
    # An agent without an event is silent only if the search went back far enough.
    far = began_ns is not None and began_ns < at_ns - silent_ns
    silent = {
        host: found.get(name)
        for name, host in here.items()
        if (far if name not in found else found[name] < at_ns - silent_ns)
    }
    return Heard(
        projection.cell,
        at_ns,
        counts_of(projection),
        tuple(sorted(host.name for host in hosts if host.lost)),
        len(here) - len(silent),
        silent,
        {name: found.get(name) for name in sorted(services)},
    )


def last_events(log, last: int, agents, services, since_ns: int) -> tuple[dict, int | None]:
    """Return (producer -> time of its last event up to the position ``last``, the time to which the search went back).

    Agents are searched back to ``since_ns``, services in the last ``MOST_RECORDS`` records."""
    found, began_ns = {}, None
    agents, services = set(agents), set(services)
    for stretch in _stretches(log, last):
        if not (agents or services):
            break
        times = []
        for record in stretch:
            if not agents and not any(name.encode() in record.payload for name in services):
                continue
            for producer, at_ns in heads(record.payload):
                times.append(at_ns)
                if producer in agents or producer in services:
                    found[producer] = at_ns
                    agents.discard(producer)
                    services.discard(producer)
        # (The latest time: a clock that is behind must not end the search.)
        began_ns = max(times, default=began_ns)
        if began_ns is not None and began_ns < since_ns:
            agents.clear()
    return found, began_ns


def _stretches(log, last):
    """Yield the last ``MOST_RECORDS`` records up to a position in stretches, all of them the last one first."""
    for stretch in stretches_back(log, last, BATCH // 4, MOST_RECORDS, _read):
        yield reversed(list(stretch))


def _read(log, first, last):
    # (What is damaged has no last event.)
    return readable_records(log, first, last, lambda gap: None)


def heads(payload) -> list[tuple[str, int]]:
    """Return (producer, time) of the readable events of a record, the last one first."""
    return [(event[2], event[5]) for event in _events(payload)[1]]


def _events(payload):
    """(Level, the readable events) of a record, as plain tuples, the last event first."""
    try:
        level, _, events = msgpack.unpackb(payload, use_list=False, strict_map_key=False)
        if not 1 <= level <= LEVEL:
            return 0, []
        return level, [
            event
            for event in reversed(events)
            if type(event) is tuple and len(event) == 7 and type(event[2]) is str and type(event[5]) is int
        ]
    except (ValueError, TypeError, msgpack.exceptions.UnpackException):
        return 0, []


def is_live(log) -> bool:
    """Whether a log goes on: an exported file has an end of its own."""
    return not hasattr(log, "made_ns")


class LastEvent(NamedTuple):
    """The last event of a producer: its time, position and name, and the level of its record."""

    at_ns: int
    position: int
    name: str
    level: int


def last_of_producers(log, last: int, producers) -> dict[str, LastEvent]:
    """Return producer -> the LastEvent of each of some producers, of those in the last ``MOST_RECORDS`` records up to
    the position ``last``."""
    missing = set(producers)
    words = [producer.encode() for producer in missing] if len(missing) < 100 else None
    return _last(log, last, missing, words, lambda event: event[2])


def last_reports(log, last: int, hosts) -> dict[str, LastEvent]:
    """Return host -> the LastEvent with which its agent or its conductor said something of each of some hosts; as
    :func:`last_of_producers`."""
    return _last(log, last, set(hosts), None, _reported_host)


#: Events that an agent, or the conductor of a host of Nova, publishes of what it saw of the host.
_REPORTS = frozenset(
    {
        "HostReported",
        "HostConfirmed",
        "HostSeen",
        "ProvidersReported",
        "InstanceStarted",
        "InstanceDeleted",
        "InstancesTracked",
    }
)


def _reported_host(event):
    """The host that an event shows to be there, None of another event."""
    name, _, producer, *_, data = event
    if name not in _REPORTS or type(data) is not tuple or not producer.startswith((f"{AGENT}/", "conductor/")):
        return None
    return data[0] if data and type(data[0]) is str else None


def _last(log, last, missing, words, key_of):
    found = {}
    for stretch in _stretches(log, last):
        if not missing:
            break
        for record in stretch:
            if words is not None and not any(word in record.payload for word in words):
                continue
            level, of_record = _events(record.payload)
            for event in of_record:
                key = key_of(event)
                if key in missing:
                    found[key] = LastEvent(event[5], record.position, event[0], level)
                    missing.discard(key)
    return found


def end_of(log, last: int, records: int = BATCH // 4) -> int | None:
    """Return the time at a position of a log: see :class:`~nova_sched.replay.logs.ends.LastHeard`."""
    found = LastHeard()
    for record in readable_records(log, max(log.bounds().first, last - records + 1), last, lambda gap: None):
        for producer, at_ns in reversed(heads(record.payload)):
            found.see(producer, at_ns)
    return found.end_ns()


def times_at(moment, positions: dict[str, int], logs, now_ns: int) -> dict[str, int | None]:
    """Return cell -> the time with which events of its log up to a :class:`~nova_sched.replay.logs.moments.Moment` are
    compared; ``positions`` are those of the moment.

    A live log goes on after its last event: its end is the present, ``now_ns``. An exported file has an end of its own.
    """
    own = {cell: None if is_live(log) else end_of(log, log.bounds().last) for cell, log in logs.items()}
    if moment.at_ns is None and moment.cell is None and moment.position == "last":
        return {cell: now_ns if own[cell] is None else own[cell] for cell in positions}
    at_ns = moment.at_ns
    if at_ns is None:
        ends = {cell: end_of(logs[cell], position) for cell, position in positions.items()}
        # A position of one log is the time of its record in the others.
        at_ns = ends.get(next(iter(logs)) if moment.cell is None and len(logs) == 1 else moment.cell)
        if at_ns is None:
            return ends
    return {cell: at_ns if own[cell] is None else min(at_ns, own[cell]) for cell in positions}


def told(services: dict, at_ns: int, most: int = 10) -> str:
    """Return the times of the last events of services in words, the latest first; ``services`` as in :class:`Heard`."""
    if not services:
        return "no event of a scheduler or conductor"
    newest = sorted(services, key=lambda name: (-(services[name] or 0), name))
    more = f", and {len(newest) - most} more" if len(newest) > most else ""
    return ", ".join(f"{name} {ago(services[name], at_ns)}" for name in newest[:most]) + more


def ago(heard_ns: int | None, at_ns: int) -> str:
    """Return a time as a distance: ``5 min ago``."""
    return "long ago" if heard_ns is None else f"{spelled((at_ns - heard_ns) / 1e9)} ago"
