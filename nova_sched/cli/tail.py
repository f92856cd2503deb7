"""``nova-sched-replay tail``: the events of logs, of a range or as they arrive."""

import argparse
import json
import re
import signal
import string
import threading
from contextlib import nullcontext
from functools import partial

from nova_sched.cli import event_text, output
from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.event_notes import Notes
from nova_sched.process.snapshot_store import open_store
from nova_sched.process.text import one_line
from nova_sched.replay.decisions.outcomes import HAVE_OUTCOMES, Outcomes
from nova_sched.replay.logs.cursor import Cursor, Place
from nova_sched.replay.logs.matching import KEYS, Match
from nova_sched.replay.logs.moments import moment_at, parse_range, parse_time, spans
from nova_sched.replay.logs.reading import records_between
from nova_sched.replay.logs.stream import Following, Hit, Picker, hits, is_ledger, last_hits, merged, trimmed
from nova_sched.replay.state.history import History, SnapshotCache
from rpc_api import errors
from rpc_api.feed.epoch import epoch_of

FORMS = ("pretty", "json", "ndjson", "csv", "raw", "template")
#: Number of old events that -f shows first if no start is named.
BEFORE_FOLLOWING = 10
SAVE_EVERY = 1000
EPILOG = f"""\
RANGE: positions 100:200, 100:, :200 or cell1:100:200, or times @-2h:-1h, @12:00..13:00 (both ends included)
conditions: of one option that is repeated, one value must match; different options must all match.
  --exclude KEY=VALUE leaves out events with that {", ".join(KEYS)} (hosts: * ? [] as in a shell).
  --request also shows the later events of the request's instances.
order: a range is merged by the times of events, each log in its own order; with -f new events are shown as they arrive
template: fields in braces, as in '{{at}} {{type:<16}} {{host}}':
  {", ".join(event_text.FIELDS)}
cursor file: no event is shown twice, and none is left out; after a kill -9 the last events may be shown twice
raw: one line per record with a matching event: its bytes as hex
outcomes: whether a claim or a write of Placement's API was accepted follows from all records before it. With --type of
  such an event, and with --outcomes, the logs are folded for that, from the nearest known state; a write has the
  generation of its provider or consumers after it; "not known": the log lacks records before it
policies: a policy is shown by its differences from the one that the service adopted before; --full and -o json show all
  options

examples:
  nova-sched-replay --log out/demo tail -n 20
  nova-sched-replay --log out/demo tail --type ClaimProposed --type ClaimReleased --host 'host-1*'
  nova-sched-replay --log out/demo tail --instance $INSTANCE -o template --template '{{at}} {{type}} {{host}}'
  nova-sched-replay --log out/demo tail --request $REQUEST -o ndjson
  nova-sched-replay --log out/demo tail cell1:0:20 --exclude type=HostConfirmed -g 'VCPU=[48]'
  nova-sched-replay --log out/demo tail @-1d: --cursor-file out/demo/tail.cursor -o csv
  nova-sched-replay --log cell1=rabbit://replay:secret@broker/%2F?stream=nova_sched.cell1 tail -f --type BuildFailed

exit codes: 0 shown (with -f: ended by ^C), 2 wrong usage, 3 a log cannot be reached, 4 a log does not have the whole
range (what it has is shown)
"""


def _count(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


class Tail(ReplayCommand):
    """Show the events of logs: all, a range, or those that match; with -f also new ones."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        parser.add_argument(
            "range", nargs="?", metavar="RANGE", help="positions or times in UTC to show (default: all)"
        )
        parser.add_argument(
            "--since", metavar="TIME", help="only events from this time on (UTC): 12:03, -15m, yesterday, ..."
        )
        parser.add_argument("--until", metavar="TIME", help="only events up to this time (UTC)")
        parser.add_argument(
            "-n",
            "--lines",
            type=_count,
            metavar="N",
            dest="count",
            help=f"only the last N matching events (with -f and no start: {BEFORE_FOLLOWING})",
        )
        parser.add_argument("-f", "--follow", action="store_true", help="continue with new events")
        for key, metavar, text in (
            ("cell", "NAME", "only this cell's log"),
            ("host", "NAME", "only events about this host"),
            ("provider", "NAME|UUID", "only events about this resource provider"),
            ("instance", "UUID", "only events about this instance (or another consumer)"),
            ("request", "ID", "only events about this request"),
            ("project", "ID", "only events about this project"),
            ("type", "NAME", "only events of this type; set-aside: those that cannot be read"),
        ):
            parser.add_argument(f"--{key}", action="append", default=[], metavar=metavar, help=text)
        parser.add_argument(
            "--exclude", action="append", default=[], metavar="KEY=VALUE", help=f"no events with this {', '.join(KEYS)}"
        )
        parser.add_argument(
            "--outcomes",
            action=argparse.BooleanOptionalAction,
            help="show whether each claim and API write was accepted; this folds the logs (default: only with --type "
            "of such an event)",
        )
        parser.add_argument("--full", action="store_true", help="show policies with all their options")
        parser.add_argument(
            "-g", "--grep", metavar="REGEX", help="only events whose line (as of -o pretty) matches this"
        )
        parser.add_argument(
            "-o",
            "--output",
            "--format",
            choices=FORMS,
            dest="output",
            metavar="FORM",
            help=f"form of the output: {', '.join(FORMS[:-1])} or {FORMS[-1]} (pretty; with --template: template)",
        )
        parser.add_argument("--template", metavar="TEXT", help="the template of -o template")
        parser.add_argument(
            "--cursor-file", metavar="FILE", help="continue at the position in this file, and keep the file up to date"
        )

    def run_on(self, source, arguments):
        self._gaps = []
        self._cursor = Cursor(arguments.cursor_file) if arguments.cursor_file else None
        self._outcomes = self._outcomes_of(source, arguments)
        self._notes = Notes(source.logs, self._outcomes, arguments.full)
        match = self._match(source, arguments)
        writer = _writer(arguments, self.out, self.paint, self._notes)
        ends, since_ns, until_ns = self._range(arguments)
        found, self._gaps = spans(ends, source)
        found = {cell: span for cell, span in found.items() if not arguments.cell or cell in arguments.cell}
        self._epochs = {cell: epoch_of(source.logs[cell]) for cell in found} if self._cursor else {}
        skips = {cell: self._start(cell, source.logs[cell], found) for cell in found}
        self._learn(source, match, arguments)
        pickers = {cell: Picker(cell, match, since_ns, until_ns, skips[cell], source.too_new) for cell in found}
        count = arguments.count
        if (
            arguments.follow
            and count is None
            and ends[0] is None
            and since_ns is None
            and not any(skip[0] >= 0 for skip in skips.values())
        ):
            count = BEFORE_FOLLOWING
        with _Ending() if arguments.follow else nullcontext() as ending:
            shown = self._show_range(source, found, pickers, count, writer)
            if not shown and not arguments.follow:
                self._say_nothing(arguments)
            if arguments.follow and not ending.come:
                self._follow(source, found, pickers, writer, ending)
        writer.end()
        self.out.flush()
        if self._outcomes is not None:
            self._gaps += [
                f"the outcome of some claims of {cell} is not known: {gap}"
                for cell, gap in sorted(self._outcomes.unknown.items())
            ]
        for gap in self._gaps:
            self.say(f"nova-sched-replay tail: {gap}")
        return errors.EXIT_GAP if self._gaps else errors.EXIT_OK

    def _outcomes_of(self, source, arguments):
        """Return the Outcomes of claims and writes, None if they are not wanted."""
        wanted = arguments.outcomes
        if wanted or (wanted is None and HAVE_OUTCOMES.intersection(arguments.type)):
            store = self.option(arguments, "snapshots")
            return Outcomes(
                History(
                    source.logs,
                    None if self.option(arguments, "no_cache") else SnapshotCache.of_user(),
                    open_store(store) if store else None,
                    folded=source.folded,
                )
            )
        return None

    # --- what is wanted ----------------------------------------------------------------------------------------------

    def _match(self, source, arguments):
        excluded = [(key, value) for key, _, value in (text.partition("=") for text in arguments.exclude)]
        for key, value in excluded:
            if key not in KEYS or not value:
                raise errors.UsageError(
                    f"--exclude is {key}={value}, wanted KEY=VALUE with a key of {', '.join(KEYS)}; fix it"
                )
        for cell in (*arguments.cell, *(value for key, value in excluded if key == "cell")):
            source.one(cell, "--cell")
        also = None
        if arguments.grep is not None:
            try:
                pattern = re.compile(arguments.grep)
            except re.error as fault:
                raise errors.UsageError(
                    f"-g {arguments.grep!r} is not a regular expression ({fault}); fix it"
                ) from None
            # The line without the outcome is tried first: it needs no fold.
            tried = (Notes(source.logs, None, arguments.full), self._notes)[self._outcomes is None :]

            def also(*of):
                return any(pattern.search(event_text.as_line(*of, notes=notes)) is not None for notes in tried)

        return Match(
            arguments.host,
            arguments.instance,
            arguments.request,
            arguments.project,
            arguments.type,
            excluded,
            also,
            arguments.provider,
        )

    def _range(self, arguments):
        """Return (the ends of the range as moments, first time, last time)."""
        if arguments.range is not None and (arguments.since or arguments.until):
            raise errors.UsageError("RANGE and --since or --until exclude each other; leave one out")
        if arguments.range is not None:
            ends = parse_range(arguments.range, self.now_ns)
        else:
            ends = tuple(
                text and moment_at(text, parse_time(text, self.now_ns), self.now_ns)
                for text in (arguments.since, arguments.until)
            )
            if all(ends) and ends[1].at_ns < ends[0].at_ns:
                raise errors.UsageError(
                    f"--until {arguments.until} is before --since {arguments.since}; exchange the two times"
                )
        if arguments.follow and ends[1] is not None:
            raise errors.UsageError("-f continues with new events, and the range has an end; leave one out")
        return ends, *(None if end is None else end.at_ns for end in ends)

    def _start(self, cell, log, found):
        """Start the span of a cell at the cursor. Return (position, index of the first event to show)."""
        if self._cursor is None or cell not in self._cursor.places:
            return -1, 0
        self._cursor.check(cell, self._epochs[cell], log.bounds())
        _, position, index = self._cursor.places[cell]
        found[cell] = found[cell]._replace(first=position)
        return position, index

    def _learn(self, source, match, arguments):
        """Read the logs once for the events that belong to a request, an instance, a provider or a host. (An instance
        that is followed needs only new events.)"""
        for log in source.logs.values():
            of_ledger = bool(arguments.host) and is_ledger(log)
            of_names = match.looks_back and not (arguments.follow and not (arguments.request or arguments.provider))
            if of_ledger or of_names:
                try:
                    for record in records_between(log):
                        match.learn(record.payload, of_ledger)
                except errors.LogGap:
                    continue  # the output reports where the file is damaged

    # --- showing -----------------------------------------------------------------------------------------------------

    def _say_nothing(self, arguments):
        """Report that no event matches the names in the options: one of them may be misspelt."""
        named = [
            f"--{key} {name}"
            for key in ("host", "provider", "instance", "request", "project", "type")
            for name in getattr(arguments, key)
        ]
        if named:
            self.say(f"nova-sched-replay tail: no event of the range matches {', '.join(named)}")

    def _show_range(self, source, found, pickers, count, writer):
        if count is None:
            streams = [hits(source.logs[cell], span, pickers[cell], self._gaps.append) for cell, span in found.items()]
            shown = merged(streams)
        else:
            lasts = [
                last_hits(source.logs[cell], span, pickers[cell], count, self._gaps.append)
                for cell, span in found.items()
            ]
            shown = trimmed(list(merged(lasts)), count)
        number = 0
        for number, hit in enumerate(shown, 1):
            writer.write(hit)
            self._pass(hit.cell, hit.position + 1)
            if self._cursor and not number % SAVE_EVERY:
                self._save()
        for cell, span in found.items():
            self._pass(cell, max(span.last, span.first - 1) + 1)
        self._save()
        return number

    def _pass(self, cell, position):
        if self._cursor is not None and self._epochs.get(cell) is not None:
            place = self._cursor.places.get(cell)
            if place is None or position > place.position:
                self._cursor.places[cell] = Place(self._epochs[cell], position, 0)

    def _save(self):
        self.out.flush()
        if self._cursor is not None:
            self._cursor.save()

    def _follow(self, source, found, pickers, writer, ending):
        starts = {cell: (source.logs[cell], max(span.last + 1, span.first)) for cell, span in found.items()}
        with Following(starts) as following:
            ending.then(following.stop)
            for cell, records in following.batches():
                if records is None:
                    self.say(f"nova-sched-replay tail: the log of {cell} can be read again")
                elif isinstance(records, errors.LogUnavailable):
                    self.say(f"nova-sched-replay tail: {records}; trying again")
                else:
                    self._show_batch(cell, source.logs[cell], records, pickers[cell], writer)
                    self.say_too_new(source)

    def _show_batch(self, cell, log, records, picker, writer):
        if self._outcomes is not None:
            self._outcomes.follow(cell, records)
        for record in records:
            hit = picker.pick(record)
            if hit is not None:
                writer.write(hit)
        if self._cursor is not None and self._epochs.get(cell) is None:
            self._epochs[cell] = epoch_of(log)
        self._pass(cell, records[-1].position + 1)
        self._save()


class _Ending:
    """End without a traceback, between two batches, on ^C or SIGTERM; a second signal ends at once."""

    def __init__(self):
        #: Whether a signal has arrived.
        self.come = False
        self._stop = self._before = None

    def then(self, stop) -> None:
        """Call ``stop`` when the signal arrives, at once if it has."""
        self._stop = stop
        if self.come:
            stop()

    def _end(self, number, frame):
        self.come = True
        for signal_number, handler in self._before.items():
            signal.signal(signal_number, handler)
        if self._stop is not None:
            self._stop()

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self._before = {}
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._end)
        return self

    def __exit__(self, *exc):
        for number, handler in (self._before or {}).items():
            signal.signal(number, handler)


# --- forms ----------------------------------------------------------------------------------------------------------


class _Lines:
    """One line per event: the text that ``shown(cell, position, index, event)`` returns."""

    def __init__(self, out, shown):
        self._out = out
        self._shown = shown

    def write(self, hit: Hit) -> None:
        for index, event in hit.events:
            self._out.write(self._shown(hit.cell, hit.position, index, event) + "\n")

    def end(self) -> None:
        """Do nothing: all lines are written."""


class _Raw(_Lines):
    def write(self, hit):
        self._out.write(hit.payload.hex() + "\n")


class _Rows:
    """One row per event, in a form of :class:`~nova_sched.cli.output.Rows`."""

    def __init__(self, out, form, columns, values):
        self._rows = output.Rows(out, form, columns)
        self._values = values

    def write(self, hit):
        for index, event in hit.events:
            self._rows.write(self._values(hit.cell, hit.position, index, event))

    def end(self):
        self._rows.end()


def _writer(arguments, out, paint, notes):
    form = arguments.output or ("template" if arguments.template is not None else "pretty")
    if (form == "template") != (arguments.template is not None):
        raise errors.UsageError("-o template and --template TEXT go together; name both, or neither")
    if form == "template":
        return _Lines(out, _templated(arguments.template, notes))
    if form == "raw":
        return _Raw(out, None)
    if form == "csv":
        return _Rows(out, "csv", event_text.FIELDS, partial(event_text.as_fields, notes=notes))
    if form == "json":
        return _Rows(out, "json", event_text.JSON_FIELDS, partial(event_text.as_json, notes=notes))
    if form == "ndjson":
        return _Lines(out, lambda *of: json.dumps(event_text.as_json(*of, notes=notes)))
    return _Lines(out, lambda *of: event_text.as_line(*of, paint=paint, notes=notes))


def _templated(template, notes):
    """Return a function that renders an event by a template; UsageError for a template with an unknown field."""
    known = ", ".join(event_text.FIELDS)
    try:
        named = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as fault:
        raise errors.UsageError(
            f"--template {template!r} cannot be read ({fault}); wanted fields in braces: {known}"
        ) from None
    for name in named:
        if name not in event_text.FIELDS:
            raise errors.UsageError(f"--template names the field {name!r}, wanted one of {known}; fix it")

    def shown(*of):
        fields = {
            name: "-" if value is None else value if isinstance(value, int) else one_line(value)
            for name, value in event_text.as_fields(*of, notes=notes).items()
        }
        try:
            return template.format(**fields)
        except (ValueError, TypeError) as fault:
            raise errors.UsageError(f"--template {template!r} cannot show an event ({fault}); fix it") from None

    return shown
