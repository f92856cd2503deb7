"""``nova-sched-replay history``: who changed a consumer or a provider, at which generation, and who was refused."""

import json

from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.output import add_form, stamp
from nova_sched.process.text import one_line
from nova_sched.replay.decisions.ledger_history import CONSUMER, as_json, found_by, of_itself, past_of
from rpc_api import errors

EPILOG = """\
A consumer is an instance, a migration, a volume or whatever else holds allocations. Each line has the time, the place
in the log, the generation before and after the event ("-": there was none), the event and who wrote it. Of a consumer
it shows what it holds afterwards, of a provider what changed. A refused write has its reason, and the event that was in
its way. A log that is not pinned to level 3 has no generations. If several logs have parts of a consumer, all of them
are named, each with its generation there.

examples:
  nova-sched-replay --log out/demo history $INSTANCE
  nova-sched-replay --log out/demo history $HOST --all
  nova-sched-replay --log out/demo history $INSTANCE -o json

exit codes: 0 shown, 1 the logs have no such consumer or provider, 2 wrong usage, or the name is ambiguous, 3 a log
cannot be reached, 4 a log does not have everything that was asked for
"""


class ShowHistory(ReplayCommand):
    """Show who changed the allocations of a consumer, or a resource provider, and which writes were refused."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        parser.add_argument(
            "key",
            metavar="CONSUMER|PROVIDER",
            help="a uuid (its first 8 or more characters), or the name of a provider or host",
        )
        parser.add_argument(
            "--all",
            action="store_true",
            dest="every",
            help="of a provider, show also each write of allocations of it: it raises the generation",
        )
        parser.add_argument("--refused", action="store_true", help="only refused writes")
        add_form(parser, ("text", "json"))

    def run_on(self, source, arguments):
        with self.history(source, arguments) as history:
            past = past_of(history, *found_by(history, arguments.key))
        changes = past.changes if arguments.every else of_itself(past)
        past = past._replace(changes=[change for change in changes if change.refused or not arguments.refused])
        if arguments.output == "json":
            self.out.write(json.dumps(as_json(past), indent=2) + "\n")
        else:
            for line in as_lines(past, self.paint):
                self.out.write(f"{line}\n")
        return errors.EXIT_OK


def as_lines(past, paint=lambda text, *styles: text):
    """Give the lines of a Past."""
    yield paint(one_line(_head(past)), "bold")
    for change in past.changes:
        yield from _lines(past.kind, change, paint)


def _head(past):
    text, parts = f"{past.kind} {past.uuid}", past.parts
    if not parts:
        return f"{text}: {'holds nothing' if past.kind == CONSUMER else 'is not there'} any more"
    if past.kind == CONSUMER:
        of = {name: sorted({part[name] for part in parts if part[name]}) for name in ("type", "project", "user")}
        facts = [f"{name} {' and '.join(found)}" for name, found in of.items() if found]
        return ", ".join([f"{text} {' and '.join(map(_place, parts))}", *facts])
    named = [f"{part['name']}{' of host ' + part['host'] if part['host'] else ''} {_place(part)}" for part in parts]
    return f"{text} {' and '.join(named)}"


def _place(part):
    generation = "" if part["generation"] is None else f", generation {part['generation']}"
    return f"in {part['cell']}{generation}"


def _lines(kind, change, paint):
    writer = change.writer
    where = one_line(f"{writer.cell} {writer.position}")
    yield one_line(
        f"  {stamp(writer.at_ns)} {where:<12} {_generations(change):<10} {writer.event} by {written_by(writer)}"
    )
    if change.refused is not None:
        yield "    " + paint("refused", "yellow") + one_line(f": {change.refused}")
        if change.cause is not None:
            yield one_line(f"    because of {at(change.cause)}")
        return
    text = ", ".join(change.changes)
    if kind == CONSUMER:
        text = f"holds {held_text(change.holds)}" + (f"; {text}" if text else "")
    if text:
        yield one_line(f"    {text}")


def _generations(change):
    if change.before is None and change.after is None:
        return "-"
    if change.refused is not None:
        return f"at {change.after}"
    return " to ".join("-" if one is None else str(one) for one in (change.before, change.after))


def held_text(holds) -> str:
    """Return what a consumer holds in the form ``40 DISK_GB of pool, 2 VCPU of host-1 (host host-1)``."""
    return (
        ", ".join(
            f"{held.amount} {held.resource_class} of {held.name or held.provider}"
            + (f" on {held.host}" if held.host not in (None, held.name) else "")
            for held in holds
        )
        or "nothing"
    )


def written_by(writer) -> str:
    """Return who wrote an event."""
    return ", ".join(
        filter(None, (writer.producer, writer.request, None if writer.user is None else f"user {writer.user}"))
    )


def at(writer) -> str:
    """Return an event with its writer, its time and its place."""
    return f"{writer.event} by {written_by(writer)} at {stamp(writer.at_ns)} ({writer.cell} {writer.position})"
