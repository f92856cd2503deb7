"""``nova-sched-replay what-if``: run recorded requests with another policy, other ratios or other hosts."""

import json
import math
from pathlib import Path

from nova_sched.cli import what_if_picture
from nova_sched.cli.catalogue import add_config_file, catalogue
from nova_sched.cli.command import REFUSED, ReplayCommand
from nova_sched.cli.output import add_form, aligned, progress
from nova_sched.process.text import decoded, one_line
from nova_sched.process.tuning import prepare_memory
from nova_sched.replay.decisions.policies import PolicyBook
from nova_sched.replay.verify.decisions import spooled
from nova_sched.replay.verify.spool import Spool
from nova_sched.replay.what_if.changes import Changes, ratio_of
from nova_sched.replay.what_if.comparison import COLUMNS, facts_of
from nova_sched.replay.what_if.run import Run
from nova_sched.replay.what_if.traffic import as_recorded, traffic_of
from rpc_api import errors
from rpc_api.wording import number_of

EPILOG = """\
The recorded requests run twice: with the recorded policies (re-run), which
shows the effect of chance and order, and with the changes (what-if). Schedulers
know as little of each other's claims as they did. An instance is placed if a
claim of it was accepted. It is built unless all its builds failed, or its claim
expired, in the logs. Instances are deleted at their recorded times; an instance
that found a host only here stays. Hosts used are hosts on which an instance was
built. Stranded resources are free on providers that cannot take even the
smallest amount that a request asked for.

--policy FILE is either JSON with options as in PolicyAdopted, which change the
recorded policies, or a configuration file of the schedulers, which replaces
them. --set takes values as JSON.

examples:
  nova-sched-replay --log out/demo what-if --weigher RAMWeigher=1.0 --weigher CPUWeigher=1.0
  nova-sched-replay --log out/demo what-if --ratio VCPU=4.0 --ratio MEMORY_MB=1.5
  nova-sched-replay --log out/demo what-if --drop-host $HOST
  nova-sched-replay --log out/demo what-if --add-host 4=$HOST -o json
  nova-sched-replay --log out/demo what-if --set host_subset_size=3

exit codes: 0 compared, 1 there are no decisions, 2 wrong usage, 3 a log cannot
be reached, 4 some decisions could not be made, or a log lacks its beginning
"""
#: Number of reasons that the table names.
REASONS = 5
NOTHING = {"amount": 0, "share": 0.0}


class WhatIf(ReplayCommand):
    """Run the recorded requests again with other filters, weighers, options, ratios or hosts, and compare."""

    EPILOG = EPILOG
    when_down = REFUSED

    def add_arguments(self, parser):
        parser.add_argument("--policy", metavar="FILE", help="a file with options as JSON, or a configuration file")
        for flag, dest, metavar, text in (
            ("--set", "options", "OPTION=VALUE", "one option"),
            ("--weigher", "weighers", "NAME=MULTIPLIER", "the multiplier of a weigher"),
            ("--ratio", "ratios", "CLASS=RATIO", "the allocation ratio of a resource class on all hosts"),
            ("--drop-host", "dropped", "NAME", "remove this host, or the hosts that match a glob"),
            ("--add-host", "added", "N=LIKE_HOST", "add N hosts like an existing one"),
        ):
            parser.add_argument(
                flag, action="append", default=[], dest=dest, metavar=metavar, help=f"{text} (repeatable)"
            )
        add_config_file(parser)
        add_form(parser, ("table", "json"))
        parser.add_argument(
            "--picture",
            metavar="FILE",
            help="draw VCPUs and hosts in use, refused instances and stranded VCPUs over time (needs matplotlib)",
        )

    def run_on(self, source, arguments):
        known = catalogue(arguments)
        changes = _changes(arguments, known)
        if arguments.picture:
            what_if_picture.pyplot()
        prepare_memory()
        with Spool() as spool, progress(self.err, not self.option(arguments, "no_progress")) as update:
            policies = PolicyBook(known)
            spooled(source.logs, spool, policies)
            if not spool.count():
                raise errors.NovaSchedError(
                    f"the logs of {', '.join(sorted(source.logs))} have no decision; name the missing logs"
                )
            for policy in policies.policies.values():
                changes.policy_for(policy)
            traffic = traffic_of(spool)
            tallies = [as_recorded(source.logs, traffic, update)]
            changes.check_classes(tallies[0].classes)
            changes = changes.with_hosts(tallies[0].hosts)
            for label, changed in (("re-run", Changes()), ("what-if", changes)):
                run = Run(source.logs, policies, spool, traffic, changed, label, update)
                tallies.append(run.run())
                for projection in run.truth.projections.values():
                    source.folded(projection)
        facts = facts_of(tallies)
        if arguments.output == "json":
            self.out.write(json.dumps(facts, indent=2) + "\n")
        else:
            self.out.write("\n".join(aligned(("", *COLUMNS), _rows(facts), COLUMNS, self.paint)) + "\n")
        if arguments.picture:
            what_if_picture.draw(
                Path(arguments.picture), _question(arguments), dict(zip(COLUMNS, tallies, strict=True))
            )
        return self._partial(source, tallies)

    def _partial(self, source, tallies):
        code = errors.EXIT_OK
        for why, count in sorted((tallies[1].missing | tallies[2].missing).items()):
            self.say(one_line(f"nova-sched-replay what-if: {number_of(count, 'decision')} could not be made: {why}"))
            code = errors.EXIT_GAP
        for cell, log in sorted(source.logs.items()):
            if log.bounds().first > 0:
                self.say(
                    f"nova-sched-replay what-if: the log of {cell} begins at position {log.bounds().first}; "
                    "this comparison lacks the records before it"
                )
                code = errors.EXIT_GAP
        return code


# --- what is asked --------------------------------------------------------------------------------------------------


def _changes(arguments, known):
    options, policy = {}, None
    if arguments.policy:
        options, policy = _policy_of(arguments.policy, known)
    options = {**options, **dict(_option(text) for text in arguments.options)}
    weighers = {}
    for text in arguments.weighers:
        name, multiplier = _pair(text, "--weigher", "NAME=MULTIPLIER")
        if name not in known.weighers:
            raise errors.UsageError(
                f"there is no weigher {name!r}, wanted one of {', '.join(sorted(known.weighers))}; fix --weigher"
            )
        weighers[name] = _multiplier(name, multiplier, known.weighers[name].least)
    ratios = {
        name: ratio_of(ratio) for name, ratio in (_pair(text, "--ratio", "CLASS=RATIO") for text in arguments.ratios)
    }
    added = {}
    for text in arguments.added:
        number, like = _pair(text, "--add-host", "N=LIKE_HOST")
        if not number.isdigit() or not 0 < int(number) <= 100_000:
            raise errors.UsageError(f"--add-host has {number!r}, wanted a number of hosts from 1 to 100000; fix it")
        added[like] = added.get(like, 0) + int(number)
    return Changes(options, policy, weighers, ratios, frozenset(arguments.dropped), added)


def _pair(text, option, wanted):
    name, found, value = text.partition("=")
    if not found or not name or not value:
        raise errors.UsageError(f"{option} has {text!r}, wanted {wanted}; fix it")
    return name, value


def _multiplier(name, text, least):
    try:
        multiplier = float(text)
    except ValueError:
        multiplier = math.nan
    if not math.isfinite(multiplier) or (least is not None and multiplier < least):
        wanted = "a number" if least is None else f"a number, {least:g} or more"
        raise errors.UsageError(f"--weigher {name} has the multiplier {text!r}, wanted {wanted}; fix it")
    return multiplier


def _option(text):
    name, value = _pair(text, "--set", "OPTION=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _policy_of(path, known):
    """Read a file: return (options that change the recorded policies, None), or ({}, a whole Policy)."""
    try:
        text = decoded(Path(path).read_bytes(), f"--policy {path}")
    except OSError as fault:
        raise errors.UsageError(f"--policy {path} cannot be read ({fault}); name another file") from None
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text), None
        except ValueError as fault:
            raise errors.UsageError(f"--policy {path} is not valid JSON ({fault}); fix it") from None
    from nova_sched.cli import command_config
    from nova_sched.scheduler import config

    return {}, config.policy_of(command_config.read([path]))


def _question(arguments):
    """Return the changes in the words of the options."""
    asked = [
        f"{option} {value}"
        for option, values in (
            ("policy", [Path(arguments.policy).name] if arguments.policy else []),
            ("set", arguments.options),
            ("weigher", arguments.weighers),
            ("ratio", arguments.ratios),
            ("without host", arguments.dropped),
            ("add host", arguments.added),
        )
        for value in values
    ]
    return ", ".join(asked) or "nothing is changed"


# --- what is shown --------------------------------------------------------------------------------------------------


def _part(amount, share):
    return f"{amount} ({100 * share:.1f} %)"


def _rows(facts):
    def row(title, value):
        return title, *(value(facts[name]) for name in COLUMNS)

    yield row("instances asked", lambda column: column["asked"])
    yield row("placed", lambda column: column["placed"])
    yield row("built", lambda column: column["built"])
    yield row("refused", lambda column: column["refused"])
    totals = {}
    for column in facts.values():
        for reason, count in column["refused_for"].items():
            totals[reason] = totals.get(reason, 0) + count
    reasons = sorted(totals, key=lambda reason: (-totals[reason], reason))
    for reason in reasons[:REASONS]:
        yield row(f"  {reason}", lambda column, reason=reason: column["refused_for"].get(reason, 0))
    if len(reasons) > REASONS:
        yield row(
            "  other reasons", lambda column: sum(column["refused_for"].get(reason, 0) for reason in reasons[REASONS:])
        )
    yield row("hosts used", lambda column: column["hosts_used"])
    # Amounts first: a change of the capacity changes a share that is used as much as before.
    yield row("VCPUs in use at the end", lambda column: _part(column["vcpus_used_at_end"], column["vcpu_fill_at_end"]))
    yield row("VCPU capacity at the end", lambda column: column["vcpu_capacity_at_end"])
    for name in sorted({name for column in facts.values() for name in column["stranded"]}):
        yield row(f"stranded {name}", lambda column, name=name: _part(**column["stranded"].get(name, NOTHING)))
    yield row("conflicts (claims refused)", lambda column: column["conflicts"])
    yield (
        "placed elsewhere than",
        "",
        f"{facts['re-run']['placed_elsewhere']} (recorded)",
        f"{facts['what-if']['placed_elsewhere']} (re-run)",
    )
