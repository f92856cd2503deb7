"""Checks of a deployment: brokers, accounts, logs, hosts, services, clocks, snapshots and versions. Each finding has an
instruction."""

import platform
import sqlite3
from collections import Counter, defaultdict, deque
from importlib import metadata
from statistics import median

from nova_sched.process.backlog import count_producers, flooding
from nova_sched.process.snapshot_store import check_fits
from nova_sched.projection import snapshot
from nova_sched.replay.health import state_findings
from nova_sched.replay.health.finding import FAIL, NAMED, NEWER, OK, WARN, Finding, some
from nova_sched.replay.health.heard import heard_of, is_live
from nova_sched.replay.health.intervals import Intervals
from nova_sched.replay.logs.ends import LastHeard
from nova_sched.replay.logs.moments import SECOND_NS, stamp
from nova_sched.replay.logs.reading import readable_records
from rpc_api import codec, errors
from rpc_api.clock import Clock, spelled
from rpc_api.codec import Event
from rpc_api.feed.epoch import opening_of
from rpc_api.levels import LEVEL
from rpc_api.wording import number_of

#: Number of records at the end of a log to read.
LAST_RECORDS = 2000
#: Seconds at the end of a log over which events are counted by producer.
RATE_S = 10
#: The clock of an event is wrong if it is this far ahead of our clock, or behind the events before it.
SKEW_NS = 2 * SECOND_NS
#: Number of last events whose median time a clock is compared with.
REFERENCE_EVENTS = 51
#: Number of last events of a producer whose median delay counts; only the last ones, because the clock may be correct
#: by now.
LAST_EVENTS = 5
#: Services that fold logs, and must know their level.
_FOLDING = ("scheduler/", "conductor/")
#: Events of so long after a pin may still be in the forms of the level before: they were under way.
UNDER_WAY_NS = 60 * SECOND_NS
PACKAGES = ("nova_sched", "amqp", "kombu", "msgpack", "numpy", "oslo.messaging", "oslo.versionedobjects")


def of_here():
    """Give findings about this machine."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    yield Finding(
        "here", "versions", OK, f"python {platform.python_version()}, sqlite {sqlite3.sqlite_version}, {versions}"
    )


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def of_down(cell: str, fault):
    """Give findings about a log that cannot be opened."""
    yield Finding(cell, "reachable", FAIL, str(fault), "check the broker or file, or fix the URL")


def of_log(cell: str, log, clock: Clock, store=None, intervals=Intervals(), state=None):
    """Give findings about one log.

    The ``clock`` is read after the records: an event that is written meanwhile is not ahead of this machine.
    ``store`` is a :class:`~nova_sched.process.snapshot_store.SnapshotStore` or None. ``state()`` returns the Projection
    of the whole log, or raises LogGap if its state is not known."""
    yield from _of_broker(cell, log)
    bounds = log.bounds()
    try:
        opening = opening_of(log)
    except errors.UnknownSchema as fault:
        yield Finding(cell, "log", FAIL, str(fault), "name another log, or upgrade nova_sched")
        return
    if opening is None:
        yield Finding(
            cell, "log", WARN, "it is there, and empty", "start the conductor of the cell, or check the name in the URL"
        )
        return
    if opening.cell not in (None, cell):
        yield Finding(
            cell, "log", FAIL, f"it is the log of {opening.cell}", "fix the name in --log, or [cell:NAME] log"
        )
        return
    recent = _Recent(log, bounds)
    now_ns = clock.now_ns()
    yield from _of_bounds(cell, log, bounds, opening, recent)
    yield from _of_schemas(cell, recent, intervals)
    yield from _of_clocks(cell, recent, now_ns)
    yield from _of_producers(cell, recent)
    # An exported file is compared with its own end, a log with the present time.
    at_ns = now_ns if is_live(log) else recent.end_ns or now_ns
    heard = None
    if state is not None:
        try:
            projection = state()
            yield _of_level(cell, projection, recent)
            heard = heard_of(projection, log, at_ns, intervals.silent_ns)
            yield from state_findings.of_hosts(cell, heard, intervals)
            yield from state_findings.of_strays(cell, projection)
            yield from state_findings.of_closed(cell, projection)
            yield from state_findings.of_waiting(cell, projection, log, at_ns, intervals)
            yield state_findings.of_set_aside(cell, projection, recent.at_ns, at_ns, intervals)
        except errors.LogGap as gap:
            yield Finding(
                cell, "hosts", WARN, f"the hosts are not known: {gap}", "name a snapshot store with --snapshots"
            )
    if is_live(log):
        yield from _of_quiet(cell, recent, now_ns, heard, intervals)
    if store is not None:
        yield _of_snapshot(cell, store, opening, log)


class _Recent:
    """The last records of a log: times of events by producer, set-aside events, damage."""

    def __init__(self, log, bounds):
        self.first_position = max(bounds.first, bounds.last - LAST_RECORDS + 1)
        #: The time of the last event.
        self.end_ns = None
        #: Second of its time -> (producer, account) -> number of events.
        self.producers = defaultdict(Counter)
        #: Producer -> time of its last event, and the delay of each of its last events behind the events before it.
        self.last_of, self.behind = {}, {}
        #: (Event of a later version, time of the last one before it that could be read).
        self.newer = []
        #: Level -> how many records have it.
        self.levels = Counter()
        #: Position -> time of the last event up to there, in ns; None if no event could be read.
        self.at_ns = {}
        #: Producer -> level of its last record, of those a while after the last pin.
        self.level_of, pinned_ns = {}, 0
        heard, now_ns = LastHeard(), None
        self.damage = []
        # Times are compared with the median of the last times: one wrong clock does not move it.
        times = deque(maxlen=REFERENCE_EVENTS)
        for record in readable_records(log, self.first_position, bounds.last, self.damage.append):
            decoded = codec.decode_record(record.payload, record.account)
            self.levels[decoded.level] += 1
            told = [event for event in decoded.events if isinstance(event, Event)]
            for event in told:
                if event.name == "LevelPinned":
                    self.level_of, pinned_ns = {}, event.at_ns
                elif event.at_ns > pinned_ns + UNDER_WAY_NS:
                    self.level_of[event.producer] = decoded.level
            self.at_ns[record.position] = told[-1].at_ns if told else now_ns
            if told:
                self.producers[told[0].at_ns // SECOND_NS].update(count_producers([(record.position, decoded)]))
            self.newer += [
                (event, now_ns) for event in decoded.events if not isinstance(event, Event) and event.code in NEWER
            ]
            before_ns = median(times) if times else None
            for event in told:
                now_ns = self.last_of[event.producer] = event.at_ns
                heard.see(event.producer, event.at_ns)
                times.append(event.at_ns)
                if before_ns is not None:
                    self.behind.setdefault(event.producer, deque(maxlen=LAST_EVENTS)).append(before_ns - event.at_ns)
        self.end_ns = heard.end_ns()


def _of_broker(cell, log):
    broker = getattr(log, "broker", None)
    if broker is None:
        kind = "an exported file" + (", redacted" if log.redacted else "") if hasattr(log, "redacted") else "a file"
        yield Finding(cell, "reachable", OK, f"{log.url}, {kind}")
        return
    facts = broker()
    yield Finding(cell, "reachable", OK, f"{facts.product} {facts.version} at {facts.place}, cluster {facts.cluster}")
    # (The log was opened, and its bounds are read by a consumer.)
    yield Finding(
        cell,
        "account",
        OK,
        f"{facts.user} may read, and "
        + (f"may not write: {facts.write_refusal}" if facts.write_refusal else "may write"),
        "" if facts.write_refusal else "use an account without the right to write: docs/operating/accounts.md",
    )


def _of_bounds(cell, log, bounds, opening, recent):
    removed = bounds.first > 0
    whole = "whole" if not removed else f"the {bounds.first} first records were removed by its retention"
    last = stamp(recent.end_ns) if recent.end_ns else "an unknown time"
    yield Finding(
        cell,
        "log",
        OK,
        f"epoch {opening.epoch}, positions {bounds.first} to {bounds.last}, {whole}, the last event of {last}",
        "keep snapshots (--snapshots): older states need one" if removed else "",
    )
    for gap in (*getattr(log, "faults", ()), *recent.damage):
        yield Finding(cell, "readable", FAIL, str(gap), "export the log again")


def _of_schemas(cell, recent, intervals):
    if not recent.newer:
        yield Finding(cell, "schemas", OK, f"all of the last {LAST_RECORDS} records have versions that are known here")
        return
    newest, at_ns = recent.newer[-1]
    over = at_ns is not None and recent.end_ns - at_ns > intervals.silent_ns
    yield Finding(
        cell,
        "schemas",
        OK if over else FAIL,
        f"{number_of(len(recent.newer), 'event')} of a newer version in the last {LAST_RECORDS} records"
        + (f", which is over, the last at {stamp(at_ns)}" if over else "")
        + f": {newest.reason}",
        "" if over else "upgrade nova_sched here",
    )


def level_of(cell: str, projection, log) -> Finding:
    """A finding about the level of a log (see :mod:`rpc_api.levels`) with the projection of all of it."""
    return _of_level(cell, projection, _Recent(log, log.bounds()))


def _of_level(cell, projection, recent):
    level = projection.level
    aside = sum(count for of, count in recent.levels.items() if of > level)
    if projection.is_too_new:
        return Finding(cell, "level", FAIL, str(projection.unknown_level()), "upgrade nova_sched here")
    older = sorted(name for name, written in recent.level_of.items() if written < level and name.startswith(_FOLDING))
    if older:
        return Finding(
            cell,
            "level",
            FAIL,
            f"{level}; {some(older)} write at a lower level: their claims are refused, and builds fail",
            "upgrade them",
        )
    if aside:
        return Finding(
            cell,
            "level",
            WARN,
            f"{level}; {aside} of the last {LAST_RECORDS} records have a higher level, and do not count",
            "if the log was recreated or lost its pin, run nova-sched pin again when all services are upgraded",
        )
    todo = "run nova-sched pin when all services are upgraded: docs/operating/upgrades.md" if level < LEVEL else ""
    return Finding(cell, "level", OK, f"{level}, this version knows 1 to {LEVEL}", todo)


def of_levels(levels):
    """Give a finding if logs (cell -> level) have different levels."""
    if len(set(levels.values())) > 1:
        named = ", ".join(f"{cell} has level {level}" for cell, level in sorted(levels.items()))
        yield Finding("all logs", "level", WARN, named, "run nova-sched pin again when all services are upgraded")


def _of_clocks(cell, recent, now_ns):
    ahead = {name: at_ns - now_ns for name, at_ns in recent.last_of.items() if at_ns - now_ns > SKEW_NS}
    behind = {name: median(delays) for name, delays in recent.behind.items() if median(delays) > SKEW_NS}
    for what, found in (("ahead of this machine's clock", ahead), ("behind the others", behind)):
        if found:
            worst = sorted(found, key=lambda name: -found[name])
            named = ", ".join(f"{name} {found[name] / 1e9:.1f} s" for name in worst[:NAMED])
            more = f" and {len(worst) - NAMED} more" if len(worst) > NAMED else ""
            yield Finding(
                cell,
                "clocks",
                WARN,
                f"{named}{more} {what}",
                "check NTP there" + (" and here" if len(found) == len(recent.last_of) else ""),
            )
    if not ahead and not behind:
        yield Finding(
            cell,
            "clocks",
            OK,
            f"{number_of(len(recent.last_of), 'producer is', 'producers are')} within {SKEW_NS / 1e9:.0f} s of each "
            "other, none is ahead of this machine",
        )


def _of_producers(cell, recent):
    """Give a finding if one producer floods the log."""
    if recent.end_ns is None:
        return
    last = recent.end_ns // SECOND_NS
    counted = {second: counts for second, counts in recent.producers.items() if last - RATE_S < second <= last}
    seconds = last - min(counted, default=last) + 1
    found = flooding(sum(counted.values(), Counter()), seconds)
    if found is not None:
        yield Finding(
            cell,
            "producers",
            FAIL,
            f"{found}, {found.events / seconds:,.0f} per second",
            "stop that service, or take away its right to write to the log",
        )


def _of_quiet(cell, recent, now_ns, heard, intervals):
    if recent.end_ns is None:
        return
    quiet_ns = max(0, now_ns - recent.end_ns)
    # Without hosts that confirm, a log may be quiet.
    long = quiet_ns > intervals.silent_ns and heard is not None and heard.agents + len(heard.silent) > 0
    yield Finding(
        cell,
        "written",
        WARN if long else OK,
        f"the last event is {spelled(quiet_ns / 1e9)} old",
        "check that conductors and agents are running, and this machine's clock" if long else "",
    )


def _of_snapshot(cell, store, opening, log):
    try:
        packed = store.load(cell)
        if packed is None:
            return Finding(
                cell,
                "snapshot",
                WARN,
                f"there is no snapshot: {store.where(cell)}",
                "nova-sched snapshot takes one; conductors take them too",
            )
        head = snapshot.check(packed)
        check_fits(head, opening.epoch, log)
    except errors.NovaSchedError as fault:
        return Finding(cell, "snapshot", FAIL, str(fault), "check the store, or take a new snapshot")
    behind = log.bounds().last - head.position
    return Finding(
        cell, "snapshot", OK, f"position {head.position}, {behind} before the end, {number_of(len(packed), 'byte')}"
    )
