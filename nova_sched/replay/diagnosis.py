"""What may be wrong with a site: its brokers, accounts, logs, clocks, snapshots and versions. Each finding says
what to do."""

import platform
import sqlite3
from collections import deque
from importlib import metadata
from statistics import median
from typing import NamedTuple

from nova_sched.projection import snapshot
from nova_sched.replay.moments import SECOND_NS, stamp
from nova_sched.replay.reading import readable_records
from nova_sched.snapshots import check_fits
from rpc_api import codec, errors
from rpc_api.codec import Event
from rpc_api.log.epoch import opening_of

OK, WARN, FAIL = "ok", "warn", "fail"
#: Records at the end of a log that are looked at.
LAST_RECORDS = 2000
#: An event so far ahead of our clock, or so far behind the events before it, is of a clock that is wrong.
SKEW_NS = 2 * SECOND_NS
#: A log of a live cloud has an event at least so often: each host confirms its state every minute.
QUIET_NS = 180 * SECOND_NS
NAMED = 5
#: The last events before a record, whose middle time a clock is compared with.
REFERENCE_EVENTS = 51
_NEWER = ("newer-version", "unknown-type", "unknown-format")
PACKAGES = ("nova_sched", "amqp", "kombu", "msgpack", "numpy", "oslo.messaging", "oslo.versionedobjects")


class Finding(NamedTuple):
    """What was looked at (a cell, or "here"), what of it, how it is, what was found, and what to do about
    it ("": nothing)."""

    subject: str
    check: str
    state: str
    found: str
    to_do: str = ""


def of_here():
    """Findings about this process's own machine."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    yield Finding("here", "versions", OK,
                  f"python {platform.python_version()}, sqlite {sqlite3.sqlite_version}, {versions}")


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def of_down(cell: str, fault):
    """Findings about a log that cannot be opened."""
    yield Finding(cell, "reachable", FAIL, str(fault), "see to the broker or file, or mend the URL")


def of_log(cell: str, log, now_ns: int, store=None):
    """Findings about one log; ``store`` is a :class:`~nova_sched.snapshots.SnapshotStore` or None."""
    yield from _of_broker(cell, log)
    bounds = log.bounds()
    try:
        opening = opening_of(log)
    except errors.UnknownSchema as fault:
        yield Finding(cell, "log", FAIL, str(fault), "name another log, or upgrade nova_sched")
        return
    if opening is None:
        yield Finding(cell, "log", WARN, "it is there, and empty",
                      "start the conductor of the cell, or see to the name in the URL")
        return
    recent = _Recent(log, bounds)
    yield from _of_bounds(cell, log, bounds, opening, recent)
    yield from _of_schemas(cell, recent)
    yield from _of_clocks(cell, recent, now_ns)
    if not hasattr(log, "made_ns"):
        yield from _of_quiet(cell, recent, now_ns)
    if store is not None:
        yield _of_snapshot(cell, store, opening, log)


class _Recent:
    """The last records of a log: times of events by producer, set-aside events, damage."""

    def __init__(self, log, bounds):
        self.first_position = max(bounds.first, bounds.last - LAST_RECORDS + 1)
        #: About when the last events were said.
        self.last_ns = None
        #: Producer -> (time of its last event, how far each of its events was behind those before it).
        self.last_of, self.behind = {}, {}
        self.newer = []
        self.damage = []
        # The middle one of the last times is what others are held against: a clock that is wrong does not move it.
        times = deque(maxlen=REFERENCE_EVENTS)
        for record in readable_records(log, self.first_position, bounds.last, self.damage.append):
            decoded = codec.decode_record(record.payload, record.account)
            told = [event for event in decoded.events if isinstance(event, Event)]
            self.newer += [event for event in decoded.events if not isinstance(event, Event) and event.code in _NEWER]
            before_ns = median(times) if times else None
            for event in told:
                self.last_of[event.producer] = event.at_ns
                times.append(event.at_ns)
                if before_ns is not None:
                    self.behind.setdefault(event.producer, []).append(before_ns - event.at_ns)
        if times:
            self.last_ns = int(median(sorted(times)[-NAMED:]))


def _of_broker(cell, log):
    broker = getattr(log, "broker", None)
    if broker is None:
        kind = "an exported file" + (", redacted" if log.redacted else "") if hasattr(log, "redacted") else "a file"
        yield Finding(cell, "reachable", OK, f"{log.url}, {kind}")
        return
    facts = broker()
    yield Finding(cell, "reachable", OK, f"{facts.product} {facts.version} at {facts.place}, cluster {facts.cluster}")
    # (The log was opened, and its bounds are read by a consumer.)
    yield Finding(cell, "account", OK, f"{facts.user} may read, and " + (
        f"may not write: {facts.write_refusal}" if facts.write_refusal else "may write"),
        "" if facts.write_refusal else "give tools that only read an account that may not write: "
                                       "docs/operating/accounts.md")


def _of_bounds(cell, log, bounds, opening, recent):
    removed = bounds.first > 0
    whole = "whole" if not removed else f"the {bounds.first} records in front were removed by its retention"
    last = stamp(recent.last_ns) if recent.last_ns else "an unknown time"
    yield Finding(cell, "log", OK, f"epoch {opening.epoch}, positions {bounds.first} to {bounds.last}, {whole}, "
                                   f"the last event of {last}",
                  "keep snapshots (--snapshots), for states before what is left" if removed else "")
    for gap in (*getattr(log, "faults", ()), *recent.damage):
        yield Finding(cell, "readable", FAIL, str(gap), "export the log again")


def _of_schemas(cell, recent):
    if not recent.newer:
        yield Finding(cell, "schemas", OK,
                      f"all of the last {LAST_RECORDS} records are of versions that are known here")
        return
    yield Finding(cell, "schemas", FAIL,
                  f"{len(recent.newer)} events of the last {LAST_RECORDS} records are of a later version: "
                  f"{recent.newer[-1].reason}", "upgrade nova_sched here")


def _of_clocks(cell, recent, now_ns):
    ahead = {name: at_ns - now_ns for name, at_ns in recent.last_of.items() if at_ns - now_ns > SKEW_NS}
    behind = {name: median(one) for name, one in recent.behind.items() if median(one) > SKEW_NS}
    for what, found in (("ahead of this machine's clock", ahead), ("behind the others", behind)):
        if found:
            worst = sorted(found, key=lambda name: -found[name])
            named = ", ".join(f"{name} {found[name] / 1e9:.1f} s" for name in worst[:NAMED])
            more = f" and {len(worst) - NAMED} more" if len(worst) > NAMED else ""
            yield Finding(cell, "clocks", WARN, f"{named}{more} {what}",
                          "see to NTP there" + (" and here" if len(found) == len(recent.last_of) else ""))
    if not ahead and not behind:
        yield Finding(cell, "clocks", OK,
                      f"{len(recent.last_of)} producers are within {SKEW_NS / 1e9:.0f} s of each other, none "
                      "is ahead of this machine")


def _of_quiet(cell, recent, now_ns):
    if recent.last_ns is None:
        return
    quiet_ns = now_ns - recent.last_ns
    long = quiet_ns > QUIET_NS
    yield Finding(cell, "written", WARN if long else OK, f"the last event is {max(0, quiet_ns) / 1e9:.0f} s old",
                  "see whether conductors and agents run, and this machine's clock" if long else "")


def _of_snapshot(cell, store, opening, log):
    try:
        packed = store.load(cell)
        if packed is None:
            return Finding(cell, "snapshot", WARN, f"there is none: {store.where(cell)}",
                           "nova-sched snapshot takes one; conductors do")
        head = snapshot.check(packed)
        check_fits(head, opening.epoch, log)
    except errors.NovaSchedError as fault:
        return Finding(cell, "snapshot", FAIL, str(fault), "see to the store, or take a new snapshot")
    behind = log.bounds().last - head.position
    return Finding(cell, "snapshot", OK, f"of position {head.position}, {behind} before the end, {len(packed)} bytes")
