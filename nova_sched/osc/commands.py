"""The commands of nova-sched and of the replay tool as commands of python-openstackclient.

Each is the same class with another name: it reads the logs itself (``--scheduler-log``, ``NOVA_SCHED_LOG``, or
``[cells]`` of the services' configuration), so it runs where these can be reached. A session with Keystone is made only
for hosts of Nova.
"""

import re
from functools import partial

from rpc_api import concurrency, errors

concurrency.setup()

from nova_sched.cli import (  # noqa: E402
    aggregate,
    capacity,
    conflicts,
    doctor,
    dry_run,
    explain,
    fragmentation,
    history,
    host_change,
    host_list,
    instances,
    policy_history,
    services,
    show,
    smoke,
    stats,
    tail,
    trend,
    usage,
    why_not,
)
from nova_sched.cli.command import parsed  # noqa: E402
from nova_sched.process.text import one_line  # noqa: E402

WHERE = "the plugin reads the logs itself, so run it where their broker or files can be reached"
#: python-openstackclient takes --log for an abbreviation of its own --log-file, wherever it is typed.
LOG, OURS = "--scheduler-log", "--log"
_EXAMPLE = re.compile(r"^  nova-sched(?:-replay)?((?: --log \S+)*) (.+)$", re.MULTILINE)
_OURS = re.compile(rf"{OURS}(?![\w-])")


class _Plugin:
    """What is different in python-openstackclient: no login before the command, and our exit codes."""

    auth_required = False

    def get_parser(self, prog_name):
        """The parser of the command; its options and examples have the names that are typed here."""
        parser = super().get_parser(prog_name)
        action = parser._option_string_actions.pop(OURS)
        action.option_strings = [LOG]
        parser._option_string_actions[LOG] = action
        parser.parse_args = partial(parsed, parser)
        parser.epilog = _OURS.sub(LOG, _EXAMPLE.sub(r"  openstack scheduler \2\1", parser.epilog))
        return parser

    def run(self, parsed_args):
        """Run the command, and return its exit code. An error of the project is one sentence."""
        try:
            return super().run(parsed_args)
        except errors.NovaSchedError as fault:
            where = f" ({WHERE})" if isinstance(fault, errors.LogUnavailable) else ""
            text = _OURS.sub(LOG, f"{fault}{where}")
            self.app.stderr.write(f"openstack {self.cmd_name}: {one_line(text)}\n")
            return fault.exit_code


def _of(command):
    """A command of nova-sched as one of the plugin."""
    return type(command.__name__, (_Plugin, command), {"__doc__": command.__doc__, "__module__": __name__})


ServiceList = _of(services.ServiceList)
HostList = _of(host_list.HostList)
HostDisable = _of(host_change.HostDisable)
HostEnable = _of(host_change.HostEnable)
HostDrain = _of(host_change.HostDrain)
HostRemove = _of(host_change.HostRemove)
AggregateList = _of(aggregate.AggregateList)
AggregateCreate = _of(aggregate.AggregateCreate)
AggregateSet = _of(aggregate.AggregateSet)
AggregateDelete = _of(aggregate.AggregateDelete)
DryRun = _of(dry_run.DryRun)
Smoke = _of(smoke.Smoke)
PolicyHistory = _of(policy_history.PolicyHistory)
Conflicts = _of(conflicts.Conflicts)
Usage = _of(usage.Usage)
Fragmentation = _of(fragmentation.Fragmentation)
Trend = _of(trend.Trend)
Explain = _of(explain.Explain)
WhyNot = _of(why_not.WhyNot)
Show = _of(show.Show)
History = _of(history.ShowHistory)
Instances = _of(instances.Instances)
Capacity = _of(capacity.Capacity)
Stats = _of(stats.Stats)
Tail = _of(tail.Tail)
Doctor = _of(doctor.Doctor)
