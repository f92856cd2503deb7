"""``nova-sched policy history``: which service adopted which policy, when, and what changed."""

import json

from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.output import Rows, add_form, stamp
from nova_sched.process.text import one_line
from nova_sched.replay.decisions.policy_history import adoptions, in_force
from nova_sched.replay.logs.moments import parse_time
from rpc_api import errors

EPILOG = """\
A scheduler publishes its policy (filters, weighers, their multipliers and options) when it starts, and when it reads
another one from its configuration. "digest" is over the policy; each decision records it, so show and explain name it.
"changes" are the differences from the policy that the same service had before, of the first one from the defaults.
Schedulers that run with different policies are reported: their answers differ. The logs do not show which of them still
run: name those that do not with --gone. A shadow may have a policy of its own.

examples:
  nova-sched policy history --log out/demo
  nova-sched policy history --since -7d --changes --log out/demo
  nova-sched policy history --digest $DIGEST --full -o json --log out/demo

exit codes: 0 shown, and all schedulers have one policy, 1 they have different ones, no policy is as wanted, or no
scheduler has the name of --gone, 2 wrong usage, 3 a log cannot be reached, 4 a part of an exported file is missing
"""
SCHEDULER = "scheduler/"
COLUMNS = ("time", "service", "digest", "cell", "position", "changes")


class PolicyHistory(ReplayCommand):
    """Show which service adopted which policy, when, and what changed with it."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        parser.add_argument("--service", metavar="NAME", help="only this service, such as scheduler/one")
        parser.add_argument("--digest", metavar="DIGEST", help="only this policy, or the beginning of its digest")
        parser.add_argument("--since", metavar="TIME", help="only from this time on (UTC), such as -7d")
        parser.add_argument("--changes", action="store_true", help="leave out starts with the policy of before")
        parser.add_argument(
            "--gone",
            action="append",
            default=[],
            metavar="NAME",
            help="a scheduler that does not run any more, such as one: its policy is shown, and not compared; may be "
            "given again",
        )
        parser.add_argument("--full", action="store_true", help="show all options, and not only the differences")
        add_form(parser)

    def run_on(self, source, arguments):
        since_ns = None if arguments.since is None else parse_time(arguments.since, self.now_ns)
        found = adoptions(source.logs)
        gone = {name.removeprefix(SCHEDULER) for name in arguments.gone}
        _check_gone(gone, {one.service.removeprefix(SCHEDULER) for one in found})
        shown = [
            one
            for one in found
            if (arguments.service is None or one.service == arguments.service)
            and (arguments.digest is None or one.digest.startswith(arguments.digest))
            and (since_ns is None or one.at_ns >= since_ns)
            and not (arguments.changes and one.is_start)
        ]
        structured = arguments.output in ("json", "ndjson")
        rows = Rows(self.out, arguments.output, COLUMNS, ("position",), self.paint)
        for one in shown:
            changes = list(one.changes)
            if arguments.full:
                options = json.loads(one.options)
                changes = options if structured else [f"{key}={json.dumps(options[key])}" for key in sorted(options)]
            elif not structured:
                changes = ["the same again"] if one.is_start else changes or ["the defaults"]
            rows.write(
                {
                    "time": stamp(one.at_ns),
                    "service": one.service,
                    "digest": one.digest,
                    "cell": one.cell,
                    "position": one.position,
                    "changes": changes if structured else one_line("; ".join(changes)),
                }
            )
        rows.end()
        if not shown:
            self.say("no policy was adopted that is as wanted")
        now = in_force([one for one in found if one.service.removeprefix(SCHEDULER) not in gone])
        for digest, services in now.items():
            self.say(one_line(f"{digest} was adopted last by {', '.join(services)}"))
        if len(now) > 1:
            self.say(
                f"{len(now)} policies are in use: give all schedulers one configuration, and restart those that "
                "differ; name those that do not run any more with --gone"
            )
        return errors.EXIT_NEGATIVE if len(now) > 1 or not shown else errors.EXIT_OK


def _check_gone(gone, known):
    """NovaSchedError for a name of --gone that no service has."""
    for name in sorted(gone - known):
        raise errors.NovaSchedError(
            f"no scheduler {name!r} adopted a policy in the logs, wanted one of "
            f"{', '.join(sorted(known)) or '(none)'}; fix --gone"
        )
