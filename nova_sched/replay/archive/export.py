"""Export of logs to one file, and import of the file into new logs."""

import secrets
from importlib import metadata

import msgpack

from nova_sched.projection import snapshot
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.replay.archive.frames import Header, Range, Writer
from nova_sched.replay.archive.redaction import KNOWN_BY, Known, Redactor
from nova_sched.replay.logs.moments import time_of
from nova_sched.replay.logs.reading import records_between
from rpc_api import codec, digest, errors
from rpc_api.codec import Event, SetAside
from rpc_api.feed.epoch import opening_of
from rpc_api.levels import LEVEL, at, form_of
from rpc_api.log import MAX_RECORD_BYTES, Record

#: Number of events between two states in a file.
SNAPSHOT_EVERY = 50_000
#: The type of the event that replaces an unreadable one; readers set it aside too.
REMOVED = "Redacted"


class Exported:
    """The result of an export: records, events, unreadable events that were removed, bytes written."""

    def __init__(self):
        self.records = self.events = self.removed = self.size = 0


def export(
    source, spans, file, made_ns: int, redact: bool = True, progress=lambda label, done, total: None
) -> Exported:
    """Write the spans (cell -> :class:`~nova_sched.replay.logs.moments.Span`) of logs into a binary file that is
    open for writing.

    Raise LogGap if a log loses records during the export.
    """
    ranges = []
    for cell, span in sorted(spans.items()):
        opening = opening_of(source.logs[cell])
        ranges.append(Range(cell, opening.epoch if opening else None, span.first, span.last))
    done = Exported()
    redactor = Redactor(secrets.token_bytes(32), _known(source, ranges, progress)) if redact else None
    writer = Writer(file, Header(redact, made_ns, metadata.version("nova_sched"), tuple(ranges)))
    for range_ in ranges:
        _Cell(source.logs[range_.cell], range_, redactor, writer, done, progress).write()
    writer.end()
    done.size = writer.size
    return done


def _known(source, ranges, progress):
    """Read what redaction must know of all logs, up to the ends of their ranges."""
    known = Known()
    for cell, _, _, last in ranges:
        log = source.logs[cell]
        bounds = log.bounds()
        for number, record in enumerate(records_between(log, None, last), 1):
            for _, event in codec.decode_holding(record.payload, KNOWN_BY):
                if isinstance(event, Event):
                    known.see(event)
            if not number % 1000:
                progress(f"{cell}, looking", number, min(last, bounds.last) - bounds.first + 1)
    return known


class _Cell:
    """The export of one cell. Its log is folded from its beginning twice: as it is, and as it is written. The file
    keeps the second state, and both together give the new digests of hosts that confirm their state."""

    def __init__(self, log, range_, redactor, writer, done, progress):
        self.log = log
        self.range = range_
        self.redactor = redactor
        self.writer = writer
        self.done = done
        self.progress = progress
        opening = opening_of(log)
        whole = opening is None or opening.whole
        self.before = Projection(range_.cell, HostTable(), whole)
        self.after = Projection(range_.cell, HostTable(), whole) if redactor else self.before

    def write(self):
        cell, first, last = self.range.cell, self.range.first, self.range.last
        since = 0
        for number, record in enumerate(records_between(self.log, None, last), 1):
            if record.position >= first and self.after.position >= 0 and since < 0:
                self._keep()
                since = 0
            fresh, decoded = self._hidden(record) if self.redactor else self._as_it_is(record)
            self.before.position = record.position
            self.after.passed(record.position, fresh.payload)
            if record.position < first:
                since = -1
                continue
            self.writer.add(cell, fresh, len(decoded), time_of(decoded) or 0)
            self.done.records += 1
            self.done.events += len(decoded)
            since += len(decoded)
            if since >= SNAPSHOT_EVERY:
                self._keep()
                since = 0
            if not number % 100:
                self.progress(cell, record.position - self.log.bounds().first + 1, last - self.log.bounds().first + 1)

    def _keep(self):
        if self.after.whole and self.after.epoch:
            self.writer.snapshot(self.range.cell, self.after.position, snapshot.dump(self.after))

    def _as_it_is(self, record):
        decoded = codec.decode_record(record.payload, record.account)
        self.after.fold_record(record.position, decoded, [], [])
        return record, decoded.events

    # --- redaction ---------------------------------------------------------------------------------------------------

    def _hidden(self, record):
        """Return (record, events) without private data."""
        decoded = codec.decode_record(record.payload, record.account)
        events = [self._event(record.position, decoded, event) for event in decoded.events]
        producers = [event.producer for event in decoded.events if isinstance(event, Event)]
        payload = _packed(decoded.epoch or self.range.epoch or "", events, min(decoded.level, LEVEL))
        if len(payload) > MAX_RECORD_BYTES:
            raise errors.TooLarge(
                f"the record {record.position} of {self.range.cell} would have {len(payload)} "
                f"bytes with pseudonyms, wanted at most {MAX_RECORD_BYTES}; "
                "export the ranges before and after it"
            )
        account = self.redactor.of.account(record.account, producers)
        return Record(record.position, payload, account), events

    def _event(self, position, decoded, event):
        if isinstance(event, SetAside):
            self.done.removed += 1
            self._fold(self.before, position, decoded, event)
            self._fold(self.after, position, decoded, event)
            return event
        data = self.redactor.data(event.name, event.data)
        if event.name == "HostConfirmed":
            data = self._confirmed(data)
        hidden = event._replace(data=data)
        self._fold(self.before, position, decoded, event)
        self._fold(self.after, position, decoded, hidden)
        return hidden

    @staticmethod
    def _fold(projection, position, decoded, event):
        projection.fold_record(position, decoded._replace(events=[event], payload=None), [], [])

    def _confirmed(self, data):
        """Return a digest that fits the redacted state if the recorded one fitted the true state, and else does not."""
        before, after = self.before.hosts.get(data.host), self.after.hosts.get(data.host)
        if before is None or after is None:
            return data
        return data._replace(digest=(data.digest - before.digest() + after.digest()) & digest.MASK)


def _packed(epoch, events, level):
    """Return the bytes of a record in the forms of a level. An unreadable event is replaced by the reason."""
    return msgpack.packb((level, epoch, [_in_form(event, level) for event in events]))


def _in_form(event, level):
    if isinstance(event, SetAside):
        return f"{REMOVED}: {event.code}", "1.0", "operator/export", 1, 1, 0, ()
    form = form_of(event.data.schema, level)
    return event._replace(version=form.version, data=at(event.data, level))


# --- back into logs -------------------------------------------------------------------------------------------------


def verify(log, progress=lambda label, done, total: None) -> None:
    """Read a whole exported log once; raise the LogGap of the first part that cannot be read."""
    for fault in log.faults:
        raise fault
    total = log.bounds().count
    done = 0
    for count, fault in log.verify():
        if fault is not None:
            raise fault
        done += count
        progress(f"{log.cell}, checking", done, total)


def needs_accounts(log) -> int | None:
    """Return the position from which on a log requires accounts; None if it does not."""
    for record in records_between(log):
        for _, event in codec.decode_holding(record.payload, [[b"AccountsRequired", b"LogRebased"]]):
            if isinstance(event, Event) and (
                (event.name == "AccountsRequired" and event.data.required)
                or (event.name == "LogRebased" and event.data.accounts_required)
            ):
                return record.position
    return None


def import_log(log, target, progress=lambda label, done, total: None) -> int:
    """Write all records of an exported log into a new, empty log, and return their number. Raise UsageError if the
    target is not empty or cannot keep the positions."""
    bounds, there = log.bounds(), target.bounds()
    if there.count or there.first:
        raise errors.UsageError(f"{target.url} has records already, wanted an empty log; name another one")
    restore = getattr(target, "restore", None)
    if restore is not None:
        return restore(_counted(log, records_between(log), progress))
    position = -1
    for record in records_between(log):
        if record.position != position + 1:
            raise errors.UsageError(
                f"the log of {log.cell} goes from position {position} to {record.position}, "
                f"and {target.url} assigns positions itself, one after the other from 0; "
                "import it into sqlite:///FILE"
            )
        position = record.position
    batch = []
    for record in _counted(log, records_between(log), progress):
        batch.append(record.payload)
        if len(batch) == 100:
            target.append(batch)
            batch = []
    if batch:
        target.append(batch)
    return bounds.count


def _counted(log, records, progress):
    total = log.bounds().count
    for number, record in enumerate(records, 1):
        if not number % 1000 or number == total:
            progress(log.cell, number, total)
        yield record
