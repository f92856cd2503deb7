"""``nova-sched-replay diff``: what changed between two moments, and the events that changed it."""

from collections import Counter

from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.output import Rows, add_form, stamp
from nova_sched.replay.logs.moments import parse_moment, resolve
from nova_sched.replay.state.change import KINDS, OF_HOSTS
from nova_sched.replay.state.difference import difference
from nova_sched.replay.state.hosts import wanted
from rpc_api import errors

EPILOG = """\
Changes: added, removed (a host), status (or load), authority, waits (for its root provider), inventory (one field),
aggregates, provider (one field of a resource provider that is not in the report of its host), name (a resource class or
trait of the cloud's own), came, runs, holds, moved, went, claimed (an instance or another consumer), consumer (its
generation, type, project or user), free (the free amount of a resource class). A host "-" is none. Each row names the
last events that made the change, with their positions and times. The free amounts of a host follow from the changes
above them.

exit codes: 0 shown, 1 something changed (only with --exit-code), 2 wrong usage, 3 a log cannot be reached, 4 the state
at the first moment is not known, because records before it were removed from a log

examples:
  nova-sched-replay diff first last --log out/demo
  nova-sched-replay diff -15m now --log out/demo --hosts-only
  nova-sched-replay diff cell1:5 last $HOST --log out/demo -o json
  nova-sched-replay diff first last 'host-1*' --log out/demo --exit-code
"""
COLUMNS = ("cell", "host", "change", "what", "before", "after", "causes")


class Diff(ReplayCommand):
    """Show what changed on hosts and instances between two moments, with the events that changed it."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        parser.add_argument("first", metavar="A", help="the earlier moment: a position or a time in UTC")
        parser.add_argument("last", metavar="B", help="the later moment")
        parser.add_argument(
            "hosts", nargs="*", default=[], metavar="HOST", help="only these hosts or providers, by name or glob"
        )
        parser.add_argument("--hosts-only", action="store_true", help="leave out instances")
        parser.add_argument("--exit-code", action="store_true", help="end with 1 if something changed")
        add_form(parser)

    def run_on(self, source, arguments):
        first, last = (resolve(parse_moment(text, self.now_ns), source) for text in (arguments.first, arguments.last))
        with self.history(source, arguments) as history:
            changes = difference(history, first, last, arguments.hosts)
            for pattern in arguments.hosts if not changes else ():
                self._check_known(history, last, pattern)
        if arguments.hosts_only:
            changes = [change for change in changes if change.kind in OF_HOSTS]
        structured = arguments.output in ("json", "ndjson")
        rows = Rows(self.out, arguments.output, COLUMNS, (), self.paint)
        for change in changes:
            rows.write(
                {
                    "cell": change.cell,
                    "host": change.host,
                    "change": change.kind,
                    "what": change.what,
                    "before": change.before,
                    "after": change.after,
                    "causes": _causes(change.causes, structured),
                }
            )
        rows.end()
        counts = Counter(change.kind for change in changes)
        hosts = len({(change.cell, change.host) for change in changes if change.host is not None})
        self.say("; ".join(_positions(cell, first[cell] + 1, last[cell]) for cell in sorted(first)))
        kinds = ": " + ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind]) if changes else ""
        # (What changed may concern no host.)
        where = f" on {hosts} {'host' if hosts == 1 else 'hosts'}" if hosts or not changes else ""
        self.say(f"{len(changes)} {'change' if len(changes) == 1 else 'changes'}{where}{kinds}")
        return errors.EXIT_NEGATIVE if changes and arguments.exit_code else errors.EXIT_OK

    def _check_known(self, history, positions, pattern):
        """Raise NovaSchedError if a name matches no host: that is a typing error, and not "nothing changed"."""
        world = history.world_at(positions)
        names = (
            name
            for projection in world.projections.values()
            for name in (*projection.hosts, *projection.provider_names)
        )
        if not any(wanted(name, [pattern]) for name in names):
            raise errors.NovaSchedError(
                f"there is no host {pattern!r} at either moment; name another host, or a glob like 'host-*'"
            )


def _positions(cell, first, last):
    return f"{cell}: positions {first} to {last}" if first <= last else f"{cell}: no records"


def _causes(causes, structured):
    if structured:
        return [{**cause._asdict(), "at_ns": stamp(cause.at_ns)} for cause in causes]
    return ", ".join(f"{cause.name}@{cause.position} {stamp(cause.at_ns)[11:-1]}" for cause in causes) or None
