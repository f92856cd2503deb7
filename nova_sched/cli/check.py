"""``nova-sched-replay check``: whether logs are healthy, and how far their readers are behind."""

from nova_sched.cli import output
from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.intervals import add_intervals, intervals_of
from nova_sched.cli.output import add_form, stamp
from nova_sched.replay.health import log_check as checking
from nova_sched.replay.health.log_check import LogCheck, lags, silent
from nova_sched.replay.state.hosts import counted
from rpc_api import errors
from rpc_api.clock import spelled
from rpc_api.levels import LEVEL
from rpc_api.wording import number_of

EPILOG = """\
state: ok; note (not a fault, or one without effect: a duplicate event, positions that a stream leaves out); ended
  (there was a fault and it is over: a later event repaired it, or it did not happen again within --silent);
  wrong (the fault lasts); gap (a part of the log is missing, so its effects are not known)
stray-use: what instances use of providers or resource classes that their hosts do not report
closed-provider: providers that offer nothing because their inventory or traits have a fault
hosts: how many are up, disabled, forced down and lost
writes: those of Placement's API, in a log that is pinned to level 3; a refused write is not a fault
waiting: hosts that were reported, and whose root provider Placement's API did not create; wrong after --silent
silent: agents that published nothing for longer than --silent
reader: the position up to which a scheduler knew the log at its last decision, and the time between the oldest event
  that it did not know and that decision
heard: the last events of schedulers and conductors; they publish nothing when nothing happens

examples:
  nova-sched-replay --log out/demo check
  nova-sched-replay --log out/demo check --cell cell1 --silent 10m -o json

exit codes: 0 no fault, or all faults are over, 1 a fault lasts, 2 wrong usage, 3 a log cannot be reached, 4 a part of
a log is missing
"""
COLUMNS = ("cell", "check", "state", "count", "found")
#: Number of producers that a row names.
NAMED = 5
OK, NOTE, ENDED, WRONG, GAP = "ok", "note", "ended", "wrong", "gap"


class Check(ReplayCommand):
    """Check logs: events set aside, gaps, duplicates, clocks, divergences, hosts, and the lag of each reader."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        parser.add_argument("--cell", action="append", metavar="NAME", help="only this cell's log")
        add_intervals(parser)
        add_form(parser)

    def run_on(self, source, arguments):
        intervals = intervals_of(self, arguments)
        cells = [source.one(cell, "--cell")[0] for cell in arguments.cell or sorted(source.logs)]
        with output.progress(self.err, not self.option(arguments, "no_progress")) as update:
            checks = {cell: LogCheck(cell, source.logs[cell], intervals, source.folded).run(update) for cell in cells}
        rows = output.Rows(self.out, arguments.output, COLUMNS, ("count",), self.paint)
        states = set()
        found = [row for check in checks.values() for row in _of_log(check)] + list(_of_readers(checks, intervals))
        for row in found:
            states.add(row[2])
            rows.write(dict(zip(COLUMNS, row, strict=True)))
        rows.end()
        wrong = sum(row[2] in (WRONG, GAP) for row in found)
        ended = sum(row[2] == ENDED for row in found)
        over = f", {ended} that is over" if ended else ""
        if wrong or not source.faults:
            self.say(
                f"{wrong} of {len(found)} checks found something wrong{over}"
                if wrong
                else f"no problem found in {number_of(len(found), 'check')}"
                + (f"; {ended} found something that is over" if ended else "")
            )
        return errors.EXIT_GAP if GAP in states else errors.EXIT_NEGATIVE if WRONG in states else errors.EXIT_OK


#: Kinds of incidents that have a row of their own.
OF_THEIR_OWN = (
    checking.SET_ASIDE,
    checking.GAPS,
    checking.STALE,
    checking.CLOCKS,
    checking.LOST,
    checking.STRAYS,
    checking.CLOSED,
)


def _of_log(check):
    """(cell, check, state, count, found) of one log."""
    yield from _of_records(check)
    yield from _of_producers(check)
    yield from _of_divergences(check)
    strays = {host: f"{host} has {text}, which it does not report" for host, text in check.strays.items()}
    yield _of_state(check, checking.STRAYS, strays)
    yield _of_state(check, checking.CLOSED, {host: f"{host}: {fault}" for host, fault in check.closed.items()})
    yield _of_hosts(check)
    yield from _of_ledger(check)


def _of_ledger(check):
    """The writes of Placement's API, and the hosts that wait for their root providers, of a log that has them."""
    if check.writes is None:
        return
    accepted, refused = check.writes
    yield check.cell, "writes", OK, accepted + refused, f"{accepted} accepted, {refused} refused"
    long = check.waits_long()
    end_ns = check.end_ns
    yield (
        check.cell,
        "waiting",
        WRONG if long else NOTE if check.waiting else OK,
        len(check.waiting),
        _named(
            {host: -(since_ns or 0) for host, (_, since_ns) in check.waiting.items()},
            lambda host: (
                f"{host} waits for its root provider {check.waiting[host][0]}"
                + (
                    ""
                    if end_ns is None or check.waiting[host][1] is None
                    else f" for {spelled((end_ns - check.waiting[host][1]) / 1e9)}"
                )
            ),
        )
        or "no host waits for its root provider",
    )


def _of_records(check):
    """Whether all records of the log are there and can be read."""
    bounds = check.bounds
    yield (
        check.cell,
        "log",
        OK if check.records else NOTE,
        check.events,
        f"epoch {check.opening.epoch}, positions {bounds.first} to "
        f"{bounds.last}, {number_of(check.records, 'record')}, {stamp(check.first_ns)} to {stamp(check.last_ns)}"
        if check.opening
        else "the log is empty",
    )
    yield (
        check.cell,
        "whole",
        OK if check.whole else GAP,
        bounds.first,
        "from its beginning"
        if bounds.first == 0
        else f"records before {bounds.first} were removed"
        + (", and the log was rebased" if check.whole else "; only a snapshot has the state before them"),
    )
    yield (
        check.cell,
        "level",
        WRONG if check.too_new else OK,
        check.level,
        str(check.too_new or f"{check.level}, this version knows 1 to {LEVEL}"),
    )
    for gap in check.damage:
        yield check.cell, "readable", GAP, None, str(gap)


def _of_producers(check):
    """Whether each event counts, and each producer published all of its events once and in order."""
    producers = check.producers
    yield _incidents(
        check,
        checking.SET_ASIDE,
        lambda code, incident: f"{incident.count} {code}",
        ": see nova-sched-replay quarantine",
    )
    yield _incidents(
        check,
        checking.GAPS,
        lambda name, incident: f"{name}: {producers[name].missing} missing in {producers[name].gaps} places",
    )
    twice = {name: producer.duplicates for name, producer in producers.items() if producer.duplicates}
    yield (
        check.cell,
        "duplicates",
        NOTE if twice else OK,
        sum(twice.values()),
        _named(twice, lambda name: f"{name}: {twice[name]}") or "none",
    )
    yield _incidents(
        check,
        checking.STALE,
        lambda name, incident: f"{name}: {number_of(incident.count, 'event')} of an earlier start; its clock went back",
    )
    yield _incidents(
        check,
        checking.CLOCKS,
        lambda name, incident: f"{name} went back by {producers[name].backwards_ns / 1e9:.1f} s",
        none="no clock went backwards",
    )
    yield (
        check.cell,
        "holes",
        NOTE if check.holes else OK,
        check.holes,
        "positions that the stream left out between its segments" if check.holes else "none",
    )
    if check.rebased:
        found = "the log starts again from here: earlier records do not count"
        yield check.cell, "rebased", NOTE, check.rebased, found


def _of_divergences(check):
    """What hosts reported that the log did not have."""
    for kind in sorted(check.incidents.keys() - set(OF_THEIR_OWN)):
        yield _incidents(
            check,
            kind,
            lambda host, incident: f"{host}, {number_of(incident.count, 'time')}",
            ": the host reported another state than the log had",
        )
    if check.contradictions:
        yield (
            check.cell,
            "contradictions",
            WRONG,
            check.contradictions,
            "instances that several hosts report: see nova-sched-replay instances",
        )


def _incidents(check, kind, text, more="", none="none"):
    """The row of a kind of incident: the incidents that last, or if none lasts, those that are over."""
    every, lasting = check.incidents.get(kind, {}), check.lasting(kind)
    if not every:
        return check.cell, kind, OK, 0, none
    shown = lasting or every
    found = (
        _named(
            {subject: incident.count for subject, incident in shown.items()},
            lambda subject: text(subject, shown[subject]),
        )
        + more
    )
    over = len(every) - len(lasting)
    if lasting:
        found += f"; {over} more are over" if over else ""
    else:
        last_ns = max((incident.last_ns for incident in every.values() if incident.last_ns is not None), default=None)
        found = f"over, the last at {stamp(last_ns)}: {found}"
    return (check.cell, kind, WRONG if lasting else ENDED, sum(incident.count for incident in shown.values()), found)


def _of_state(check, kind, now):
    """The row of a fault in the state of hosts: ``now`` is host -> what is wrong at the end of the log."""
    noted = check.incidents.get(kind, {})
    if now:
        return check.cell, kind, WRONG, len(now), _named(dict.fromkeys(now, 0), now.__getitem__)
    if noted:
        last_ns = max(incident.last_ns for incident in noted.values())
        found = _named({host: incident.count for host, incident in noted.items()}, str)
        return check.cell, kind, ENDED, len(noted), f"over, the last at {stamp(last_ns)}: {found}"
    return check.cell, kind, OK, 0, "none"


def _of_hosts(check):
    text, lost = counted(check.host_counts), check.incidents.get(checking.LOST, {})
    if check.lost:
        since = {host: lost[host].last_ns if host in lost else None for host in check.lost}
        return (
            check.cell,
            "hosts",
            WRONG,
            len(check.lost),
            f"{text}; lost: " + _named(dict.fromkeys(since, 0), lambda host: f"{host} since {stamp(since[host])}"),
        )
    if lost:
        last_ns = max(incident.last_ns for incident in lost.values())
        return (
            check.cell,
            "hosts",
            ENDED,
            0,
            f"{text}; over: {len(lost)} were lost and were seen again or removed, the last was lost at "
            f"{stamp(last_ns)}",
        )
    return check.cell, "hosts", OK, 0, text


def _named(amounts, text):
    """Name the worst producers, worst first."""
    worst = sorted(amounts, key=lambda name: (-amounts[name], str(name)))
    more = f", and {len(worst) - NAMED} more" if len(worst) > NAMED else ""
    return "; ".join(text(name) for name in worst[:NAMED]) + more


def _of_readers(checks, intervals):
    end_ns = max((check.end_ns for check in checks.values() if check.end_ns is not None), default=0)
    for lag in lags(checks):
        behind = lag.lag_ns > intervals.lag_ns
        over = behind and end_ns - lag.at_ns > intervals.silent_ns
        yield (
            lag.cell,
            f"reader {lag.reader}",
            ENDED if over else WRONG if behind else OK,
            lag.behind,
            f"knew it up to {lag.position} at its last decision {stamp(lag.at_ns)}, {lag.lag_ns / 1e6:.0f} ms behind"
            + ("; no decision since then" if over else ""),
        )
    for cell, check in checks.items():
        if check.end_ns is None:
            continue
        found, limit = silent(check), spelled(intervals.silent_ns / 1e9)
        agents = check.hosts - check.lost - check.of_nova
        yield (
            cell,
            "silent",
            NOTE if found else OK,
            len(found),
            _named(
                {host: ns or 0 for host, ns in found.items()},
                lambda host, found=found: (
                    f"agent of {host} for "
                    + ("longer than the log goes back" if found[host] is None else spelled(found[host] / 1e9))
                ),
            )
            or f"none of {number_of(len(agents), 'agent')} was silent for more than {limit}",
        )
        others = {
            name: check.end_ns - producer.at_ns
            for name, producer in check.producers.items()
            if name.startswith(("scheduler/", "conductor/"))
        }
        yield (
            cell,
            "heard",
            OK,
            len(others),
            _named(
                {name: -ns for name, ns in others.items()},
                lambda name, others=others: f"{name} {spelled(others[name] / 1e9)} before the end",
            )
            or "no event of a scheduler or conductor",
        )
