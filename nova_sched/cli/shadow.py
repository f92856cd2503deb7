"""``nova-sched-replay shadow``: where Nova chose another host than a shadow, and why."""

import json

from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.numbers import Number
from nova_sched.cli.output import add_form, aligned, stamp
from nova_sched.process.text import one_line
from nova_sched.projection.state import CELL0
from nova_sched.replay.logs.moments import parse_moment, resolve
from nova_sched.replay.statistics.comparisons import ALIKE, UNKNOWN, UNLIKE, Comparisons, comparisons_in
from rpc_api import errors
from rpc_api.wording import number_of

EPILOG = """\
Shadows (nova-sched-shadow) decide on copies of the requests to Nova's own scheduler, and record in the log of cell0
what they compared.
verdicts:
  same       both chose this host
  tie        both hosts are as good, and one is drawn by chance
  moved      the state changed after the decision of the shadow, and Nova's host
             is the best one in front of Nova's claim
  neither    both found no host
  different  Nova chose another host
  only-nova  only Nova found a host
  only-ours  only the shadow found a host
  unseen     what Nova chose was not seen, because copies were lost
  late       Nova's claim was in the log before the shadow decided
causes of different and only-nova:
  filter        a filter refuses Nova's host here
  state         what is known of Nova's host here does not allow the instance: its
                inventory, its use or its status
  weight        Nova's host has a lower score here, by the weigher that is named
  unknown-host  Nova's host is not known here
  fault         the comparison failed
why-not shows all that the filters compared on Nova's host.

examples:
  nova-sched-replay --log out/demo shadow
  nova-sched-replay --log out/demo shadow --from -1h
  nova-sched-replay --log out/demo shadow --verdict different --verdict tie --show 50
  nova-sched-replay --log out/demo shadow --shadow host1 -o json

exit codes: 0 no difference, 1 Nova chose otherwise for an instance, 2 wrong usage, 3 the log cannot be reached
"""


class Shadow(ReplayCommand):
    """Show where Nova chose another host than a shadow, and why."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        parser.add_argument(
            "--from", dest="begin", metavar="MOMENT", help="start after this position or time in UTC (all)"
        )
        parser.add_argument(
            "--shadow",
            action="append",
            metavar="NAME",
            help="only comparisons of the shadow with this [shadow] name; repeatable (all)",
        )
        parser.add_argument(
            "--verdict",
            action="append",
            choices=(*ALIKE, *UNLIKE, *UNKNOWN),
            help=f"show the instances with this verdict; repeatable ({', '.join(UNLIKE)})",
        )
        parser.add_argument(
            "--show", action=Number, least=0, default=20, help="number of instances to show, the newest (default: 20)"
        )
        add_form(parser, ("text", "json"))

    def run_on(self, source, arguments):
        if CELL0 not in source.logs:
            raise errors.UsageError(
                f"the log of {CELL0} is not among those given ({', '.join(sorted(source.logs))}), and shadows record "
                "there; name it with --log"
            )
        begin = None if arguments.begin is None else resolve(parse_moment(arguments.begin, self.now_ns), source)
        found = Comparisons(arguments.verdict or UNLIKE)
        wanted = {f"shadow/{name}" for name in arguments.shadow or ()}
        for comparison in comparisons_in(source.logs, None if begin is None else begin[CELL0] + 1):
            if not wanted or comparison.producer in wanted:
                found.add(comparison)
        shown = found.shown[-arguments.show :] if arguments.show > 0 else []
        if arguments.output == "json":
            self.out.write(json.dumps(_facts(found, shown), indent=2) + "\n")
        else:
            self.out.write("".join(f"{one_line(line)}\n" for line in self._lines(found, shown)))
        return errors.EXIT_NEGATIVE if found.differences else errors.EXIT_OK

    def _lines(self, found, shown):
        if not found.total:
            yield "no shadow has compared a request"
            return
        yield self.paint(
            f"{number_of(found.total, 'instance')} of {number_of(len(found.requests), 'request')}, "
            f"{stamp(found.first_ns)} to {stamp(found.last_ns)}, by {', '.join(sorted(found.shadows))}",
            "bold",
        )
        rows = [
            (verdict, found.verdicts[verdict], f"{100 * found.verdicts[verdict] / found.total:.1f} %")
            for verdict in (*ALIKE, *UNLIKE, *UNKNOWN)
            if found.verdicts[verdict]
        ]
        yield from aligned(("verdict", "instances", "share"), rows, ("instances", "share"), self.paint)
        causes = [
            (verdict, cause, part or "-", count)
            for (verdict, cause, part), count in sorted(found.causes.items(), key=lambda item: (-item[1], item[0]))
            if cause
        ]
        if causes:
            yield from aligned(
                ("verdict", "cause", "filter or weigher", "instances"), causes, ("instances",), self.paint
            )
        seen_in = ", ".join(f"{name} {count}" for name, count in found.seen_in.most_common())
        yield f"Nova's choices were seen in: {seen_in}"
        if found.alternates:
            yield f"{found.alternates} of Nova's hosts were alternates here"
        if found.from_memory:
            yield f"{found.from_memory} decisions counted what no log had yet"
        if shown:
            yield self.paint(f"the last {len(shown)} of {len(found.shown)}", "bold")
        for each in shown:
            data = each.data
            cause = f" ({data.cause})" if data.cause else ""
            yield f"{stamp(each.at_ns)} {data.instance_uuid} {data.verdict}{cause}: {data.text}"


def _facts(found, shown):
    return {
        "instances": found.total,
        "requests": len(found.requests),
        "from": stamp(found.first_ns) if found.total else None,
        "to": stamp(found.last_ns) if found.total else None,
        "shadows": dict(sorted(found.shadows.items())),
        "verdicts": {verdict: found.verdicts[verdict] for verdict in (*ALIKE, *UNLIKE, *UNKNOWN)},
        "differences": found.differences,
        "causes": [
            {"verdict": verdict, "cause": cause, "part": part or None, "instances": count}
            for (verdict, cause, part), count in sorted(found.causes.items(), key=lambda item: (-item[1], item[0]))
            if cause
        ],
        "seen_in": dict(found.seen_in.most_common()),
        "alternates": found.alternates,
        "from_memory": found.from_memory,
        "shown": [
            {
                "time": stamp(each.at_ns),
                "position": each.position,
                "shadow": each.producer,
                "request": each.data.request_id,
                "instance": each.data.instance_uuid,
                "verdict": each.data.verdict,
                "cause": each.data.cause or None,
                "part": each.data.part or None,
                "text": each.data.text,
                "hosts": list(each.data.hosts),
                "nova_host": each.data.nova_host,
                "seen_in": each.data.seen_in or None,
                "from_memory": each.data.from_memory,
            }
            for each in shown
        ],
    }
