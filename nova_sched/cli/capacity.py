"""``nova-sched-replay capacity``: how many more instances of a flavor fit, where, and which resource runs out first."""

import json

from nova_sched.cli.adopted import add_default_policy, policy_of, say_lacking
from nova_sched.cli.catalogue import add_config_file
from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.numbers import Number
from nova_sched.cli.of_cell0 import need_cell0, say_lacking_cell0
from nova_sched.cli.output import add_form, aligned
from nova_sched.cli.state import add_at, class_order, fold_lines, world_of
from nova_sched.process.text import one_line
from nova_sched.projection.topology import zone_names
from nova_sched.replay.state.capacity import by_reason, capacity, stranded, together
from nova_sched.replay.state.capacity_question import amounts_in, recorded_in, request_for
from nova_sched.replay.state.hosts import aggregates_by_host
from rpc_api import errors
from rpc_api.wording import number_of

EPILOG = """\
FLAVOR is a list of amounts (VCPU=4,MEMORY_MB=8192,DISK_GB=40), VCPUs:MiB:GiB (4:8192:40), or the name or id of the
flavor of a recorded request. --like takes everything that a recorded request asks for: traits, NUMA nodes, PCI
devices, zone. The command fills each host with claims until the filters refuse one. It uses the filters of the policy
that was adopted last in the logs, or with --default-policy the default ones. Server groups are ignored: they limit a
group and not a flavor. An amount that is (shared) includes what is left in pools, which other hosts use, too.

exit codes: 0 at least one fits, 1 none fits, or there is no such flavor or request, 2 wrong usage, 3 a log cannot be
reached, 4 the state of a cell is not known (the answer is for the others), or a filter of the policy is not loaded

examples:
  nova-sched-replay capacity 4:8192:40 --log out/demo
  nova-sched-replay capacity VCPU=2,MEMORY_MB=4096 --by az --log out/demo --at -1h
  nova-sched-replay capacity --like $INSTANCE --log out/demo -o json
"""
BY = ("cell", "az", "aggregate")


class Capacity(ReplayCommand):
    """Say how many more instances of a flavor fit, on which hosts, and which resource runs out first."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        parser.add_argument("flavor", nargs="?", metavar="FLAVOR", help="amounts, or the name of a recorded flavor")
        parser.add_argument(
            "--like", metavar="REQUEST|INSTANCE", help="ask for everything that this recorded request asked for"
        )
        add_at(parser)
        parser.add_argument(
            "--by", choices=BY, default="cell", help="group by cell, availability zone or aggregate (default: cell)"
        )
        parser.add_argument(
            "--top",
            action=Number,
            least=0,
            default=10,
            help="number of hosts to show, those with most room first (default: 10)",
        )
        add_default_policy(parser)
        add_config_file(parser)
        add_form(parser, ("table", "json"))

    def run_on(self, source, arguments):
        if (arguments.flavor is None) == (arguments.like is None):
            raise errors.UsageError(
                "a FLAVOR (amounts such as 4:8192:40, or a name) or --like REQUEST is needed, and not both; "
                "name one of the two"
            )
        amounts = amounts_in(arguments.flavor) if arguments.flavor is not None else None
        with self.history(source, arguments) as history:
            world, folds = world_of(self, source, arguments, history)
        if arguments.by != "cell":
            need_cell0(source, world, f"--by {arguments.by}")
        say_lacking_cell0(self, source, world)
        positions = {fold.cell: fold.position for fold in folds}
        named = arguments.flavor if amounts is None else None
        recorded = recorded_in(source.logs, positions, named, arguments.like)
        if amounts is None and recorded.request is None:
            raise _not_found(arguments, recorded)
        request = request_for(amounts) if amounts is not None else recorded.request
        adopted, whose, lacking = policy_of(recorded, arguments)
        # Weighers do not decide what fits, so missing ones do not matter.
        policy = adopted.policy
        answers = capacity(world, request, policy)
        for line in fold_lines(folds):
            self.say(one_line(line))
        self.say(f"by {whose}; server groups are left out")
        say_lacking(self, lacking)
        asked = _asked_amounts(request)
        groups = self._groups(world, policy, answers, arguments.by)
        total = together(world, request, answers, policy)
        shown = self._as_json if arguments.output == "json" else self._as_text
        shown(total, answers, asked, request, groups, arguments)
        if self.unknown or lacking:
            return errors.EXIT_GAP
        return errors.EXIT_OK if any(answer.fits for answer in answers) else errors.EXIT_NEGATIVE

    def _groups(self, world, policy, answers, by):
        """[(name, how many fit, hosts with room, hosts)] for each cell, zone or aggregate."""
        zones = zone_names(world.table, policy.default_availability_zone)
        names = aggregates_by_host(world.table)
        groups = {}
        for answer in answers:
            of_host = {
                "cell": [answer.cell],
                "az": [zones[answer.row]],
                "aggregate": names.get(answer.host) or ["(none)"],
            }[by]
            for name in of_host:
                fits, room, hosts = groups.get(name, (0, 0, 0))
                groups[name] = fits + answer.fits, room + (answer.fits > 0), hosts + 1
        return [(name, *groups[name]) for name in sorted(groups)]

    def _as_json(self, total, answers, asked, request, groups, arguments):
        self.out.write(
            json.dumps(
                {
                    "asked": asked,
                    "flavor": request.flavor_name or None,
                    "fits": total,
                    "fits_alone": sum(answer.fits for answer in answers),
                    "hosts": len(answers),
                    "hosts_with_room": sum(answer.fits > 0 for answer in answers),
                    "by": {
                        "what": arguments.by,
                        "groups": [
                            {"name": name, "fits": fits, "hosts_with_room": room, "hosts": hosts}
                            for name, fits, room, hosts in groups
                        ],
                    },
                    "runs_out": [
                        {"reason": reason, "hosts": hosts, "fits_before": fits}
                        for reason, hosts, fits in by_reason(answers)
                    ],
                    "stranded": stranded(answers, asked),
                    "top": [
                        {
                            "cell": answer.cell,
                            "host": answer.host,
                            "fits": answer.fits,
                            "filter": answer.filter,
                            "reason": answer.reason,
                            "left": answer.left,
                            "shared": sorted(answer.shared),
                        }
                        for answer in _top(answers, arguments.top)
                    ],
                },
                indent=2,
            )
            + "\n"
        )

    def _as_text(self, total, answers, asked, request, groups, arguments):
        alone, room = sum(answer.fits for answer in answers), sum(answer.fits > 0 for answer in answers)
        what = ", ".join(f"{amount} {name}" for name, amount in asked.items())
        name = f"{request.flavor_name} ({what})" if request.flavor_name else what
        lines = [
            self.paint(one_line(f"{total} more of {name} fit, on {room} of {number_of(len(answers), 'host')}"), "bold"),
            "",
        ]
        if alone != total:
            lines.insert(1, f"hosts share providers: all figures below are of each host alone, which sum up to {alone}")
        lines += aligned(
            (arguments.by, "fits", "hosts_with_room", "hosts"), groups, ("fits", "hosts_with_room", "hosts")
        )
        reasons = by_reason(answers)
        if reasons:
            lines += ["", "what refuses the next one"]
            lines += aligned(("reason", "hosts", "fits_before"), reasons, ("hosts", "fits_before"))
        left = ", ".join(f"{amount} {name}" for name, amount in stranded(answers, asked).items() if amount)
        lines += ["", f"left where something else ran out: {left or 'nothing'}"]
        top = _top(answers, arguments.top)
        if top:
            lines += [
                "",
                *aligned(
                    ("cell", "host", "fits", "then", "left"),
                    [
                        (
                            answer.cell,
                            answer.host,
                            answer.fits,
                            answer.reason,
                            ",".join(_left_of(answer, name) for name in asked),
                        )
                        for answer in top
                    ],
                    ("fits",),
                ),
            ]
        self.out.write("\n".join(lines) + "\n")


def _left_of(answer, name):
    return f"{name}={answer.left.get(name, 0)}{' (shared)' if name in answer.shared else ''}"


def _top(answers, count):
    return sorted(
        (answer for answer in answers if answer.fits), key=lambda answer: (-answer.fits, answer.cell, answer.host)
    )[: max(0, count)]


def _asked_amounts(request):
    amounts = {}
    for group in request.groups:
        for name, amount in group.resources:
            amounts[name] = amounts.get(name, 0) + amount
    return {name: amounts[name] for name in sorted(amounts, key=class_order)}


def _not_found(arguments, recorded):
    if arguments.like is not None:
        return errors.NovaSchedError(
            f"the named logs have no decision for {arguments.like}; name another request "
            "or instance, or the missing logs"
        )
    names = ", ".join(sorted(recorded.flavors - {""})[:10])
    return errors.NovaSchedError(
        f"no recorded request asks for a flavor {arguments.flavor!r}; "
        + (f"wanted one of {names}, " if names else "no request is recorded at all, ")
        + "or amounts such as 4:8192:40 or VCPU=4,MEMORY_MB=8192"
    )
