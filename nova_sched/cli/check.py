"""``nova-sched-replay check``: whether logs are as they should be, and how far their readers are behind."""

from nova_sched.cli import output
from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.output import stamp
from nova_sched.replay.checking import BACKWARDS_NS, LogCheck, lags, silent
from nova_sched.replay.moments import SECOND_NS, parse_time
from rpc_api import errors

EPILOG = """\
state: ok; note (no fault, or one that readers mend: a duplicate has no effect, a stream leaves positions out);
  wrong; gap (something of the log is missing, so what follows from it is not known)
readers: of a scheduler how far it knew each log when it last decided, and by how much the oldest event that it
  did not know then was older than the decision; conductors and agents that said nothing for long before the
  end of the log

examples:
  nova-sched-replay --log out/demo check
  nova-sched-replay --log out/demo check --cell cell1 --silent 10s -o json

exit codes: 0 all is well, 1 something is wrong, 2 usage, 3 a log cannot be reached, 4 a log is not whole
"""
COLUMNS = ("cell", "check", "state", "count", "found")
#: Producers that are named of each kind.
NAMED = 5
#: So much behind is a scheduler that does not follow.
LAG_NS = 5 * SECOND_NS


class Check(ReplayCommand):
    """Check logs: events set aside, gaps, duplicates, clocks, divergences, and the lag of each reader."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        parser.add_argument("--cell", action="append", metavar="NAME", help="only this cell's log")
        parser.add_argument("--silent", default="120s", metavar="TIME",
                            help="name conductors and agents that said nothing for so long (120s)")
        parser.add_argument("-o", "--output", choices=output.FORMS, default="table", help="form of the output (table)")

    def run_on(self, source, arguments):
        try:
            longer_ns = self.now_ns - parse_time(f"-{arguments.silent.lstrip('-')}", self.now_ns)
        except errors.UsageError:
            raise errors.UsageError(f"--silent is {arguments.silent!r}, wanted a time as 120s or 5m") from None
        cells = [source.one(cell, "--cell")[0] for cell in arguments.cell or sorted(source.logs)]
        with output.progress(self.err, not self.option(arguments, "no_progress")) as update:
            checks = {cell: LogCheck(cell, source.logs[cell]).run(update) for cell in cells}
        rows = output.Rows(self.out, arguments.output, COLUMNS, ("count",), self.paint)
        states = set()
        found = [row for check in checks.values() for row in _of_log(check)] + list(_of_readers(checks, longer_ns))
        for row in found:
            states.add(row[2])
            rows.write(dict(zip(COLUMNS, row, strict=True)))
        rows.end()
        wrong = sum(row[2] in ("wrong", "gap") for row in found)
        if wrong or not source.faults:
            self.say(f"{wrong} of {len(found)} checks found something wrong" if wrong
                     else f"all {len(found)} checks are well")
        return errors.EXIT_GAP if "gap" in states else errors.EXIT_NEGATIVE if "wrong" in states else errors.EXIT_OK


def _of_log(check):
    """(cell, check, state, count, found) of one log."""
    def row(name, state, count, found):
        return check.cell, name, state, count, found
    bounds = check.bounds
    yield row("log", "ok" if check.records else "note", check.events,
              f"epoch {check.opening.epoch}, positions {bounds.first} to "
              f"{bounds.last}, {check.records} records, {stamp(check.first_ns)} to {stamp(check.last_ns)}"
              if check.opening else "it is empty, nobody has begun it")
    yield row("whole", "ok" if check.whole else "gap", bounds.first, "from its beginning" if bounds.first == 0 else
              f"records before {bounds.first} were removed" + (", it was rebased" if check.whole else
                                                               "; only a snapshot says what they led to"))
    for gap in check.damage:
        yield row("readable", "gap", None, str(gap))
    aside = ", ".join(f"{count} {code}" for code, count in sorted(check.set_aside.items()))
    yield row("set aside", "wrong" if aside else "ok", sum(check.set_aside.values()),
              f"{aside}: see nova-sched-replay quarantine" if aside else "none")
    for name, state, attribute, text in (
            ("sequence gaps", "wrong", "gaps", lambda one: f"{one.missing} missing in {one.gaps} places"),
            ("duplicates", "note", "duplicates", lambda one: f"{one.duplicates}"),
            ("stale epochs", "wrong", "stale", lambda one: f"{one.stale} of an earlier start: its clock went back")):
        yield row(name, *_by_producer(check, state, attribute, text))
    back = {name: one.backwards_ns for name, one in check.producers.items() if one.backwards_ns > BACKWARDS_NS}
    yield row("clocks", "wrong" if back else "ok", len(back), _named(
        back, lambda name: f"{name} went back by {back[name] / 1e9:.1f} s") or "none ran backwards")
    yield row("holes", "note" if check.holes else "ok", check.holes,
              "positions that were left out, as a stream does at its segments" if check.holes else "none")
    for kind, count in sorted(check.noted.items()):
        yield row(kind, "note" if kind == "rebased" else "wrong", count,
                  "the log was begun anew" if kind == "rebased" else "a host is not as the log had it")


def _by_producer(check, state, attribute, text):
    wrong = {name: one for name, one in check.producers.items() if getattr(one, attribute)}
    count = sum(getattr(one, attribute) for one in wrong.values())
    return state if wrong else "ok", count, _named(
        {name: getattr(one, attribute) for name, one in wrong.items()},
        lambda name: f"{name}: {text(wrong[name])}") or "none"


def _named(amounts, text):
    """The worst producers, worst first."""
    worst = sorted(amounts, key=lambda name: (-amounts[name], name))
    more = f", and {len(worst) - NAMED} more" if len(worst) > NAMED else ""
    return "; ".join(text(name) for name in worst[:NAMED]) + more


def _of_readers(checks, longer_ns):
    for lag in lags(checks):
        state = "wrong" if lag.lag_ns > LAG_NS else "ok"
        yield (lag.cell, f"reader {lag.reader}", state, lag.behind,
               f"knew it to {lag.position} at its last decision {stamp(lag.at_ns)}, {lag.lag_ns / 1e6:.0f} ms behind")
    for cell, check in checks.items():
        if check.last_ns is None:
            continue
        said = [name for name in check.producers if not name.startswith(("scheduler/", "operator/"))]
        found = dict(silent(check, longer_ns))
        yield (cell, "silent", "note" if found else "ok", len(found), _named(
            found, lambda name, found=found: f"{name} for {found[name] / 1e9:.0f} s")
            or f"none of {len(said)} conductors and agents for {longer_ns / 1e9:.0f} s")
