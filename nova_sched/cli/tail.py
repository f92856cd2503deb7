"""``nova-sched tail``: the events of a log, one line each."""

import argparse
import json
from datetime import datetime, timezone

from cliff.command import Command

from nova_sched.cli import logs
from nova_sched.cli.text import one_line
from rpc_api import codec, errors
from rpc_api.codec import SetAside
from rpc_api.events import EVENTS, thaw
from rpc_api.events.schema import PackedObjectField

EPILOG = """\
examples:
  nova-sched tail --log cell1=sqlite:///log.cell1.db --type ClaimProposed --type ClaimReleased
  nova-sched tail --log out/demo --instance 0244cc12-964f-556b-b1d1-4da21733ba88
  nova-sched tail --log cell1=rabbit://reader:secret@broker:5672/?stream=nova_sched.cell1 --follow -o json

exit codes: 0 shown, 3 the log cannot be reached, 4 the position is not in the log any more
"""


def _position(text):
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return value


class Tail(Command):
    """Show the events of logs, and with --follow those that come."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        logs.add_arguments(parser)
        parser.add_argument("--from", type=_position, dest="first", metavar="POSITION",
                            help="first record to show (one log; its first)")
        parser.add_argument("-n", "--records", type=_position, metavar="N", help="show only the last N records of each log")
        parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes (one log)")
        parser.add_argument("--type", action="append", metavar="NAME", help="only events of this type; several: any of them")
        parser.add_argument("--host", action="append", metavar="NAME", help="only events about this host")
        parser.add_argument("--instance", action="append", metavar="UUID", help="only events about this instance")
        parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="form of the output (text)")
        return parser

    def take_action(self, arguments):
        unknown = [name for name in arguments.type or () if name not in EVENTS and name != "set-aside"]
        if unknown:
            raise errors.UsageError(f"there is no event type {unknown[0]!r}, wanted one of set-aside, "
                                    f"{', '.join(sorted(EVENTS))}; mend --type")
        show = as_json if arguments.output == "json" else as_text
        with logs.Logs(arguments) as opened:
            for option, given in (("--follow", arguments.follow), ("--from", arguments.first is not None)):
                if given and len(opened) > 1:
                    raise errors.UsageError(f"{option} takes one log, got {len(opened)}; name one as CELL=URL")
            for cell, log in opened.items():
                self._show(cell, log, arguments, show)
        return 0

    def _show(self, cell, log, arguments, show):
        bounds = log.bounds()
        first = bounds.first if arguments.first is None else arguments.first
        if arguments.records is not None:
            first = max(bounds.first, bounds.last + 1 - arguments.records)
        if first > bounds.last + 1:
            raise errors.PositionAhead(f"the log of {cell} ends at position {bounds.last}, got --from {first}; name an "
                                       "earlier one, or see whether the log was re-created")
        with log.read_from(first) as reader:
            while arguments.follow or reader.position <= bounds.last:
                for record in reader.read(1000, 1.0):
                    decoded = codec.decode_record(record.payload, record.account)
                    for index, event in enumerate(decoded.events):
                        if _wanted(event, arguments):
                            self.app.stdout.write(show(cell, record.position, index, event) + "\n")
                if arguments.follow:
                    self.app.stdout.flush()


def _wanted(event, arguments):
    if isinstance(event, SetAside):
        return not (arguments.host or arguments.instance) and (not arguments.type or "set-aside" in arguments.type)
    data = event.data
    consumer = getattr(data, "consumer", None)
    instance = getattr(data, "instance_uuid", None) or (consumer.instance_uuid if consumer else None) \
        or getattr(data, "consumer_uuid", None)
    return ((not arguments.type or event.name in arguments.type)
            and (not arguments.host or getattr(data, "host", None) in arguments.host)
            and (not arguments.instance or instance in arguments.instance))


def as_text(cell, position, index, event):
    """One line: where, when, what, who, and its fields."""
    where = f"{cell} {position}.{index}"
    if isinstance(event, SetAside):
        return one_line(f"{where} SET ASIDE {event.code}: {event.reason}")
    at = datetime.fromtimestamp(event.at_ns / 1e9, timezone.utc).isoformat(timespec="milliseconds")
    shown = " ".join(f"{name}={_short(value)}" for name, value in event.data._asdict().items())
    return one_line(f"{where} {at} {event.name} {event.producer}#{event.sequence} {shown}")


def _short(value):
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, tuple) and not hasattr(value, "_asdict"):
        return "[" + ",".join(_short(item) for item in value) + "]"
    if hasattr(value, "_asdict"):
        return ":".join(_short(item) for item in value)
    return str(value)


def as_json(cell, position, index, event):
    """One JSON object; packed parts are unpacked."""
    if isinstance(event, SetAside):
        return json.dumps({"cell": cell, "position": position, "index": index, "set_aside": event.code,
                           "reason": event.reason, "raw": event.raw.hex()})
    return json.dumps({"cell": cell, "position": position, "index": index, "event": event.name,
                       "version": event.version, "producer": event.producer, "producer_epoch": event.producer_epoch,
                       "sequence": event.sequence, "at_ns": event.at_ns, "data": _plain(event.data)})


def _unpacked(name, packed):
    try:
        return _plain(thaw(name, packed))
    except errors.InvalidEvent as broken:
        return {"unreadable": str(broken), "raw": packed.hex()}


def _plain(value):
    if hasattr(value, "_asdict"):
        schema = value.schema.fields
        return {name: (_unpacked(schema[name].objname, item)
                       if isinstance(schema[name], PackedObjectField) and item is not None else _plain(item))
                for name, item in value._asdict().items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
