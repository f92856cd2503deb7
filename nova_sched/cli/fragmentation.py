"""``nova-sched fragmentation``: how many more of each flavor fit, and where room is stranded."""

from nova_sched.cli.adopted import add_default_policy, policy_of, say_lacking
from nova_sched.cli.catalogue import add_config_file
from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.numbers import add_limit
from nova_sched.cli.of_cell0 import say_lacking_cell0
from nova_sched.cli.output import Rows, add_form
from nova_sched.cli.state import add_at, class_order, fold_lines, world_of
from nova_sched.process.text import one_line
from nova_sched.replay.state.capacity_question import amounts_in, recorded_in, request_for
from nova_sched.replay.statistics.fragmentation import Flavor, flavors_asked, fragmented
from rpc_api import errors

EPILOG = """\
FLAVORs are amounts (4:8192:40, VCPU=4,MEMORY_MB=8192) or names of flavors that recorded requests asked for; without
them the five that were asked for most often are shown.

"fits" is how many more fit, host by host; "in_one_piece" how many would fit if all their free room were on one host;
"fragmented" is the share of those that do not fit, in percent. "stranded" is free on hosts where another resource class
ran out: --hosts shows these hosts, those with most first. Moving instances, or flavors of another shape, use it.
nova-sched-replay capacity shows one flavor in all detail.

examples:
  nova-sched fragmentation --log out/demo
  nova-sched fragmentation 4:8192:40 16:65536 --log out/demo
  nova-sched fragmentation 4:8192 --hosts --limit 10 --log out/demo
  nova-sched fragmentation 4:8192:40 --at -1d -o csv --log out/demo

exit codes: 0 shown, 1 there is no such flavor, or no recorded request, 2 wrong usage, 3 a log cannot be reached, 4 the
state of a cell is not known (the answer is for the others), or a filter of the policy is not loaded
"""
SHOWN = 5


class Fragmentation(ReplayCommand):
    """Show how many more of each flavor fit, how fragmented the room is, and where room is stranded."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        parser.add_argument(
            "flavors", nargs="*", default=[], metavar="FLAVOR", help="amounts, or names of recorded flavors"
        )
        parser.add_argument("--hosts", action="store_true", help="show the hosts where room is stranded")
        add_limit(parser, "only the first N rows")
        add_at(parser)
        add_default_policy(parser)
        add_config_file(parser)
        add_form(parser)

    def run_on(self, source, arguments):
        with self.history(source, arguments) as history:
            world, folds = world_of(self, source, arguments, history)
        say_lacking_cell0(self, source, world)
        positions = {fold.cell: fold.position for fold in folds}
        flavors = _flavors(source, positions, arguments.flavors)
        adopted, whose, lacking = policy_of(recorded_in(source.logs, positions), arguments)
        for line in fold_lines(folds):
            self.say(one_line(line))
        self.say(f"by {whose}; server groups are left out")
        say_lacking(self, lacking)
        found = [fragmented(world, flavor, adopted.policy) for flavor in flavors]
        if arguments.hosts:
            self._hosts(flavors, found, arguments)
        else:
            self._flavors(found, arguments)
        return errors.EXIT_GAP if self.unknown or lacking else errors.EXIT_OK

    def _flavors(self, found, arguments):
        structured = arguments.output in ("json", "ndjson")
        columns = ("flavor", "fits", "in_one_piece", "fragmented", "hosts_with_room", "stops", "stranded")
        rows = Rows(self.out, arguments.output, columns, columns[1:5], self.paint)
        for one in found[: arguments.limit]:
            rows.write(
                {
                    "flavor": one.name,
                    **{name: getattr(one, name) for name in columns[1:6]},
                    "stranded": one.stranded if structured else _words(one.stranded),
                }
            )
        rows.end()

    def _hosts(self, flavors, found, arguments):
        structured = arguments.output in ("json", "ndjson")
        rows = Rows(self.out, arguments.output, ("flavor", "cell", "host", "stranded"), (), self.paint)
        for one, flavor in zip(found, flavors, strict=True):
            # In units of the flavor: MiB and VCPUs cannot be compared.
            def weight(left, amounts=flavor.amounts):
                return max(amount / amounts[name] for name, amount in left.items())

            order = sorted(one.by_host.items(), key=lambda item: (-weight(item[1]), item[0]))
            for (cell, host), left in order[: arguments.limit]:
                rows.write(
                    {"flavor": one.name, "cell": cell, "host": host, "stranded": left if structured else _words(left)}
                )
        rows.end()


def _words(amounts):
    return ",".join(f"{name}={amounts[name]}" for name in sorted(amounts, key=class_order) if amounts[name]) or None


def _flavors(source, positions, names) -> list[Flavor]:
    """The named flavors, or those that were asked for most often."""
    amounts = {name: amounts_in(name) for name in names}
    recorded = {}
    if not names or not all(amounts.values()):
        recorded = {flavor.name: flavor for flavor in flavors_asked(source.logs, positions)}
    if not names:
        if not recorded:
            raise errors.NovaSchedError(
                "no recorded request names a flavor; name amounts such as 4:8192:40 or VCPU=4,MEMORY_MB=8192"
            )
        return list(recorded.values())[:SHOWN]
    found = []
    for name in names:
        if amounts[name] is not None:
            found.append(Flavor(name, amounts[name], request_for(amounts[name]), 0))
        elif name in recorded:
            found.append(recorded[name])
        else:
            raise errors.NovaSchedError(
                f"no recorded request asks for a flavor {name!r}, wanted one of {', '.join(sorted(recorded)[:10])}, or "
                "amounts such as 4:8192:40"
            )
    return found
