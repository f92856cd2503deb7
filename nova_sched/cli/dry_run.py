"""``nova-sched dry-run``: would this flavor, or this server, find a host now; where, and why not elsewhere."""

import argparse
import json

from nova_sched.cli.adopted import add_default_policy, policy_of, say_lacking
from nova_sched.cli.catalogue import add_config_file
from nova_sched.cli.numbers import Number
from nova_sched.cli.of_cell0 import need_cell0, say_lacking_cell0
from nova_sched.cli.operator import OperatorCommand
from nova_sched.cli.output import add_form, aligned
from nova_sched.cli.state import add_at, fold_lines, world_of
from nova_sched.cli.why_not import verdict_lines
from nova_sched.process.text import one_line
from nova_sched.replay.decisions import verdicts
from nova_sched.replay.decisions.explanation import asked_for, summary_line
from nova_sched.replay.decisions.why_not import row_named, verdicts_as_json
from nova_sched.replay.dry_run.question import asked_amounts, asked_like, asked_of_nova, lists_of, pairs_of, spec_of
from nova_sched.replay.dry_run.run import dry_runs
from nova_sched.replay.state.capacity_question import amounts_in, recorded_in
from nova_sched.request.from_spec import request_from
from rpc_api import errors
from rpc_api.wording import number_of

EPILOG = """\
FLAVOR is a list of amounts (VCPU=4,MEMORY_MB=8192,DISK_GB=40), VCPUs:MiB:GiB (4:8192:40), the name or id of the flavor
of a recorded request, or with --nova of a flavor in Nova. --like takes everything that a recorded request or server
asked for, its server group too; with --move it asks whether that server could move away from its host now.

The request is decided by the filters and weighers of the schedulers (the policy that was adopted last in the logs) on
the state at the end of the logs. Nothing is claimed, and nothing is written. --host shows what each filter says of one
host. The aliases of PCI devices are only in Nova's configuration: use --like.

examples:
  nova-sched dry-run 4:8192:40 --log out/demo
  nova-sched dry-run 4:8192 --property hw:cpu_policy=dedicated --property trait:HW_CPU_X86_AVX2=required --log out/demo
  nova-sched dry-run 2:2048 --image-property hw_architecture=x86_64 --hint different_host=$INSTANCE --log out/demo
  nova-sched dry-run 2:2048 --availability-zone nova --count 5 -o json --log out/demo
  nova-sched dry-run --like $INSTANCE --host $HOST --log out/demo

exit codes: 0 a host was found for each instance, 1 none was found (the reasons are shown), or there is no such flavor,
server or host, 2 wrong usage, 3 a log or Nova cannot be reached, 4 the state of a cell is not known (the answer is for
the others), or a filter of the policy is not loaded
"""


def add_question(parser) -> None:
    """Add the arguments that describe a request."""
    parser.add_argument("flavor", nargs="?", metavar="FLAVOR", help="amounts, or the name of a flavor")
    parser.add_argument(
        "--property", action="append", default=[], metavar="KEY=VALUE", help="an extra spec; may be given again"
    )
    parser.add_argument(
        "--image-property",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a property of the image; may be given again",
    )
    parser.add_argument(
        "--hint",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a scheduler hint; may be given again, also with the same KEY",
    )
    parser.add_argument("--availability-zone", metavar="NAME", help="the zone")
    parser.add_argument("--project", metavar="ID", help="id of the project, for filters that look at it")


def asked_in(arguments, base):
    """Return the Asked of the arguments of :func:`add_question`; ``base`` is that of the flavor."""
    return base._replace(
        extra_specs={**base.extra_specs, **pairs_of(arguments.property, "--property")},
        image_properties={**base.image_properties, **pairs_of(arguments.image_property, "--image-property")},
        hints=lists_of(arguments.hint, "--hint"),
        zone=arguments.availability_zone,
        project=arguments.project,
    )


class DryRun(OperatorCommand):
    """Ask whether a flavor or a server would find a host now: where, and why not elsewhere. Nothing is claimed."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        add_question(parser)
        parser.add_argument(
            "--like", metavar="REQUEST|SERVER", help="ask for everything that this recorded request asked for"
        )
        parser.add_argument("--move", action="store_true", help="with --like: leave out the hosts where the server is")
        parser.add_argument("--nova", action="store_true", help="FLAVOR is a flavor in Nova")
        parser.add_argument("--count", action=Number, default=1, help="number of instances (default: 1)")
        parser.add_argument("--alternates", action=Number, least=0, default=2, help="alternates to name (default: 2)")
        parser.add_argument("--host", metavar="HOST", help="show what each filter says of this host")
        parser.add_argument(
            "--seed", action=Number, least=0, default=0, help="of the draw among equal hosts (default: 0)"
        )
        add_at(parser)
        add_default_policy(parser)
        add_config_file(parser)
        add_form(parser, ("text", "json"))
        self.add_operator(parser)

    def run_on(self, source, arguments):
        _check(arguments)
        amounts = amounts_in(arguments.flavor) if arguments.flavor is not None and not arguments.nova else None
        with self.history(source, arguments) as history:
            world, folds = world_of(self, source, arguments, history)
            if arguments.availability_zone is not None:
                need_cell0(source, world, "--availability-zone")
            say_lacking_cell0(self, source, world)
            positions = {fold.cell: fold.position for fold in folds}
            named = arguments.flavor if amounts is None and not arguments.nova else None
            recorded = recorded_in(source.logs, positions, named, arguments.like, whole=True)
            request, instance = self._request(arguments, amounts, recorded, world)
            adopted, whose, lacking = policy_of(recorded, arguments)
            for line in fold_lines(folds):
                self.say(one_line(line))
            self.say(f"by {whose}; nothing is claimed")
            say_lacking(self, lacking)
            if not len(world.table.roots()):
                self.say("the logs have no host at that moment")
            scenes = list(
                dry_runs(world, request, adopted, arguments.count, arguments.seed, arguments.alternates, instance)
            )
            shown = self._as_json if arguments.output == "json" else self._as_text
            shown(history, request, scenes, arguments)
        found = sum(scene.recorded.is_selected for scene in scenes)
        if self.unknown or lacking:
            return errors.EXIT_GAP
        return errors.EXIT_OK if found == arguments.count else errors.EXIT_NEGATIVE

    def _request(self, arguments, amounts, recorded, world):
        """(The SchedulingRequest, the uuid of the server if it exists)."""
        if arguments.like is not None:
            if recorded.request is None:
                raise errors.NovaSchedError(
                    f"the named logs have no decision for {arguments.like}; name another request or server, or the "
                    "missing logs"
                )
            return _moving(arguments, recorded.request, world)
        if amounts is not None:
            base = asked_amounts(amounts)
        elif arguments.nova:
            flavor = self.nova(arguments).flavor(arguments.flavor)
            if flavor is None:
                raise errors.NovaSchedError(f"Nova has no flavor {arguments.flavor!r}; see openstack flavor list --all")
            base = asked_of_nova(flavor)
        elif recorded.request is None:
            names = ", ".join(sorted(recorded.flavors - {""})[:10])
            raise errors.NovaSchedError(
                f"no recorded request asks for a flavor {arguments.flavor!r}; "
                + (f"wanted one of {names}, " if names else "no request is recorded at all, ")
                + "or amounts such as 4:8192:40, or a flavor in Nova with --nova"
            )
        else:
            base = asked_like(recorded.request)
        # (No instance has this uuid.)
        spec = spec_of(asked_in(arguments, base), "00000000-0000-0000-0000-000000000000")
        return request_from(spec, "dry-run"), None

    # --- output ------------------------------------------------------------------------------------------------------

    def _as_text(self, history, request, scenes, arguments):
        lines = [f"  asked    {asked_for(request)}"]
        found = [scene for scene in scenes if scene.recorded.is_selected]
        if arguments.count == 1:
            lines.insert(0, self.paint(summary_line(scenes[0].recorded), "bold"))
        else:
            text = f"{len(found)} of {number_of(arguments.count, 'instance')} find a host"
            lines.insert(0, self.paint(text, "bold"))
            hosts = {}
            for scene in found:
                host = scene.recorded.decision.hosts[0]
                hosts[host] = hosts.get(host, 0) + 1
            lines.append("  hosts    " + (", ".join(f"{host} {count}" for host, count in hosts.items()) or "none"))
        last = scenes[-1]
        if arguments.count == 1 and found:
            lines += self._scores(last)
        for key, rows in verdicts.hosts_by_reason(last).items():
            if key is not None:
                lines.append(one_line(f"  {self._refused(history, last, key, rows)}"))
        if arguments.host is not None:
            lines += self._of_host(history, last, arguments.host)
        self.out.write("".join(f"{one_line(line)}\n" for line in lines))

    def _refused(self, history, scene, key, rows):
        name, finding = verdicts.nearest(history, scene, key, rows)
        count = len(rows)
        text = f"{count:>5} host{'' if count == 1 else 's'} refused for {key[1]} ({key[0]})"
        return text + (f"; nearest: {name}: {finding.text}" if name is not None else "")

    def _scores(self, scene):
        decision, scores = scene.recorded.decision, scene.recorded.evidence.scores
        names = [part.weigher for part in scores[0].weighers] if scores else []
        rows = []
        for score in scores:
            place = decision.hosts.index(score.host) if score.host in decision.hosts else None
            role = "next" if place is None else "alternate" if place else "chosen"
            rows.append(
                (
                    f"    {score.host}",
                    role,
                    f"{score.score:.3f}",
                    *(f"{part.weighed:.3f} ({part.raw:g})" for part in score.weighers),
                )
            )
        yield "  scores   weighed (raw)"
        yield from aligned(("    host", "", "score", *names), rows, ("score", *names))

    def _of_host(self, history, scene, host):
        row = row_named(scene.table, host, "the logs know")
        found = verdicts.of_host(history, scene, row)
        refused = [each for each in found if each.verdict == verdicts.REFUSE]
        yield self.paint(
            f"{host}: refused for {refused[0].reason} ({refused[0].filter})" if refused else f"{host}: it passes",
            "bold",
        )
        yield from verdict_lines(found)

    def _as_json(self, history, request, scenes, arguments):
        last = scenes[-1]
        reasons = []
        for key, rows in verdicts.hosts_by_reason(last).items():
            if key is not None:
                name, finding = verdicts.nearest(history, last, key, rows)
                reasons.append(
                    {
                        "filter": key[0],
                        "reason": str(key[1]),
                        "hosts": len(rows),
                        "nearest": name,
                        "nearest_text": finding.text,
                        "values": finding.values,
                    }
                )
        of_host = None
        if arguments.host is not None:
            row = row_named(last.table, arguments.host, "the logs know")
            of_host = {"host": arguments.host, "verdicts": verdicts_as_json(verdicts.of_host(history, last, row))}
        answer = {
            "asked": asked_for(request),
            "instances": arguments.count,
            "placed": [
                {"host": hosts[0], "alternates": list(hosts[1:])}
                for scene in scenes
                if (hosts := scene.recorded.decision.hosts)
            ],
            "summary": last.recorded.decision.reason,
            "reasons": reasons,
            "scores": [
                {
                    "host": score.host,
                    "score": score.score,
                    "weighers": {part.weigher: {"raw": part.raw, "weighed": part.weighed} for part in score.weighers},
                }
                for score in last.recorded.evidence.scores
            ],
            "host": of_host,
        }
        self.out.write(json.dumps(answer, indent=2) + "\n")


def _check(arguments: argparse.Namespace):
    if (arguments.flavor is None) == (arguments.like is None):
        raise errors.UsageError(
            "a FLAVOR (amounts such as 4:8192:40, or a name) or --like REQUEST is needed, and not both; name one of "
            "the two"
        )
    if arguments.like is not None and (
        arguments.property or arguments.image_property or arguments.hint or arguments.project
    ):
        raise errors.UsageError("--like asks for what was recorded; leave out the other properties, or name a FLAVOR")
    if arguments.nova and arguments.flavor is None:
        raise errors.UsageError("--nova reads a FLAVOR in Nova, and --like has its own; leave out one of the two")
    if arguments.move and arguments.like is None:
        raise errors.UsageError("--move needs a server; name it with --like")
    if arguments.move and arguments.count > 1:
        raise errors.UsageError(f"--count is {arguments.count}, and one server moves once; leave out --count or --move")


def _moving(arguments, request, world):
    """The recorded request; with --move that of a server which leaves the hosts where it is."""
    if arguments.availability_zone is not None:
        request = request._replace(availability_zone=arguments.availability_zone)
    if not arguments.move:
        return request, None
    held = {
        entry.host
        for projection in world.projections.values()
        for entry in projection.consumers.get(arguments.like, ())
        if entry.host
    }
    if not held:
        raise errors.NovaSchedError(
            f"{arguments.like} holds resources on no host, so it cannot move; name the uuid of a server that runs"
        )
    left = tuple(dict.fromkeys((*request.ignore_hosts, *sorted(held))))
    # (The recorded request may be that of a move to a host that an operator named, on which the server is now.)
    anywhere = {"force_hosts": (), "force_nodes": (), "target_host": None, "target_node": None}
    return request._replace(ignore_hosts=left, **anywhere), arguments.like
