"""``nova-sched-replay why-not``: why a host was not chosen for a request, filter by filter, and since when."""

import difflib
import json

from nova_sched.cli.numbers import Number
from nova_sched.cli.output import aligned, stamp
from nova_sched.cli.requests import RequestCommand, only_attempt, only_instance
from nova_sched.process.text import one_line
from nova_sched.replay.decisions import verdicts
from nova_sched.replay.decisions.explanation import asked_for, attempt_of, summary_line
from nova_sched.replay.decisions.not_loaded import words_for
from nova_sched.replay.decisions.recorded import scene
from rpc_api import errors
from rpc_api.wording import number_of

EPILOG = """\
The verdict of each filter is pass, refuse, not applicable (the request asks
nothing of it), not run (forced hosts skip it) or not loaded (name the
schedulers' configuration with --config-file). A refusal shows the compared
values, and the event that caused it. The decisions of a shadow count, too: what
it counted in memory alone is in no log, and is left out.

examples:
  nova-sched-replay --log out/demo why-not $INSTANCE $HOST
  nova-sched-replay --log out/demo why-not $INSTANCE $HOST --attempt 1
  nova-sched-replay --log out/demo why-not $REQUEST $HOST -o json

exit codes: 0 the host passed (its rank is shown), 1 it was refused, or there is
no such decision or host, 2 wrong usage, or the id is ambiguous, 3 a log cannot
be reached, 4 the logs lack records that the decision knew, or only a filter
that is not loaded can have refused the host
"""


class WhyNot(RequestCommand):
    """Explain why a host was not chosen for a request: what each filter compared, and the event that caused it."""

    EPILOG = EPILOG
    DECISIONS = ("DecisionMade", "DecisionCompared")

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument("--attempt", action=Number, help="the attempt, counted from 1 (default: the last)")
        parser.add_argument("--instance", metavar="UUID", help="the instance, if the request has several")

    def add_more(self, parser):
        parser.add_argument("host", metavar="HOST", help="name of the host")

    def tell(self, source, history, policies, by_instance, arguments):
        recorded = only_attempt(only_instance(by_instance, arguments.instance), arguments.attempt)
        re_created = scene(history, recorded, policies)
        knew = f"at its decision at {recorded.cell} {recorded.position} the scheduler knew"
        row = row_named(re_created.table, arguments.host, knew)
        found = verdicts.of_host(history, re_created, row)
        refusals = [each for each in found if each.verdict == verdicts.REFUSE]
        standing = None if refusals else verdicts.standing(re_created, row)
        causes = {number: each.finding.find() for number, each in enumerate(found) if each.verdict == verdicts.REFUSE}
        open_ = () if refusals or arguments.host in recorded.decision.hosts else re_created.silent_filters
        if arguments.output == "json":
            self.out.write(
                json.dumps(_as_json(recorded, arguments.host, found, causes, standing, open_), indent=2) + "\n"
            )
        else:
            self.lines(self._text(recorded, re_created, row, found, causes, standing, open_))
        if open_:
            self.say(
                f"nova-sched-replay why-not: whether {words_for(open_, ())} refused {arguments.host} is not known: "
                f"its policy {policies.why_missing(recorded.evidence.policy_digest)}"
            )
            return errors.EXIT_GAP
        return errors.EXIT_NEGATIVE if refusals else errors.EXIT_OK

    def _text(self, recorded, re_created, row, found, causes, standing, open_):
        host, decision = re_created.table.host_names[row], recorded.decision
        refused = [each for each in found if each.verdict == verdicts.REFUSE]
        role = _role(decision, host)
        first = f"{host}: refused for {refused[0].reason} ({refused[0].filter})" if refused else f"{host}: {role}"
        if open_:
            first = f"{host}: passed all filters that are loaded here, and {words_for(open_, ())} may have refused it"
        if refused and len(refused) > 1:
            first += f", and by {', '.join(each.filter for each in refused[1:])}"
        yield self.paint(one_line(first), "bold")
        yield one_line(
            f"  request  {decision.instance_uuid} attempt {attempt_of(decision)}, {stamp(recorded.at_ns)}, "
            f"by {recorded.producer}: {summary_line(recorded)}"
        )
        yield f"  asked    {asked_for(recorded.evidence.request)}"
        yield from verdict_lines(found, causes, recorded.evidence)
        if standing is not None:
            yield from self._standing(standing, host)

    def _standing(self, standing, host):
        equals = f", {standing.equals} of this score" if standing.equals > 1 else ""
        yield (
            f"  rank     {standing.rank} of {standing.of} with {standing.score:+.3f}{equals}; "
            f"tried as number {standing.place}" + (" (drawn among equals)" if standing.equals > 1 else "")
        )
        if standing.chosen is None or standing.chosen_scores is None:
            return
        rows = [
            (f"  {name}", f"{weighed:+.3f} ({raw:g})", f"{other[2]:+.3f} ({other[1]:g})")
            for (name, raw, weighed), other in zip(standing.scores, standing.chosen_scores, strict=True)
        ]
        rows.append(("  score", f"{standing.score:+.3f}", f"{standing.chosen_score:+.3f}"))
        if standing.chosen != host:
            yield from (
                "  " + line
                for line in aligned(
                    ("  weigher: weighed (raw)", host, f"{standing.chosen} (chosen)"),
                    rows,
                    (host, f"{standing.chosen} (chosen)"),
                    self.paint,
                )
            )


def verdict_lines(found, causes=None, evidence=None):
    """Yield lines about the Verdicts of a host. ``causes`` is number of a verdict -> Cause or None (None: they are
    looked for), ``evidence`` that of a recorded decision."""
    for number, each in enumerate(found):
        if each.finding is not None and each.verdict in (verdicts.PASS, verdicts.REFUSE):
            text = each.finding.text if each.verdict == verdicts.REFUSE or each.finding.values else ""
            yield one_line(f"  {each.verdict:<8} {each.filter}{f': {text}' if text else ''}")
            if each.verdict == verdicts.REFUSE:
                yield one_line(f"           {_event_text(each.finding.find() if causes is None else causes[number])}")
    for each in found:
        if each.verdict == verdicts.NOT_LOADED:
            hosts = sum(count.hosts for count in evidence.refusals if count.filter == each.filter) if evidence else 0
            total = (
                f"which refused {hosts or 'none'} of {number_of(evidence.hosts_total, 'host')} then"
                if evidence
                else "not run"
            )
            yield one_line(f"  not loaded: {each.filter}, {total}")
    for verdict in (verdicts.NOT_APPLICABLE, verdicts.NOT_RUN):
        names = [each.filter for each in found if each.verdict == verdict]
        if names:
            yield f"  {verdict}: {', '.join(names)}"


def verdicts_as_json(found, causes=None) -> list[dict]:
    """Return the Verdicts of a host as plain values; ``causes`` as for :func:`verdict_lines`."""
    if causes is None:
        causes = {number: each.finding.find() for number, each in enumerate(found) if each.verdict == verdicts.REFUSE}
    return [
        {
            "filter": each.filter,
            "verdict": each.verdict,
            "reason": each.reason,
            "text": each.finding and each.finding.text,
            "values": each.finding and each.finding.values,
            "cause": causes[number]._asdict() if causes.get(number) else None,
        }
        for number, each in enumerate(found)
    ]


def _role(decision, host):
    if host in decision.hosts:
        return (
            "it was chosen"
            if host == decision.hosts[0]
            else f"it passed, and was alternate {decision.hosts.index(host)}"
        )
    return "it passed, another was chosen" if decision.hosts else "it passed"


def _event_text(cause):
    if cause is None:
        return "(the logs have no event that caused it)"
    where = f"{cause.cell} {cause.position}"
    if cause.at_ns is None:
        return f"{cause.what} ({where}, which the log does not have any more)"
    return f"{cause.what} at {stamp(cause.at_ns)} ({where}, by {cause.producer})"


def row_named(table, name, knew: str):
    """Return the row of a host; NovaSchedError for a name that no host has, with those that are like it. ``knew`` says
    whose knowledge the table is."""
    if name in table.row_of_host:
        return table.row_of_host[name]
    near = difflib.get_close_matches(name, table.row_of_host, 5, 0.5)
    raise errors.NovaSchedError(
        f"{knew} no host {name!r}, of {number_of(len(table.row_of_host), 'host')}"
        + (f"; there are {', '.join(near)}" if near else "")
        + "; name another"
    )


def _as_json(recorded, host, found, causes, standing, open_):
    return {
        "host": host,
        "instance": recorded.decision.instance_uuid,
        "request": recorded.decision.request_id,
        "attempt": attempt_of(recorded.decision),
        "cell": recorded.cell,
        "position": recorded.position,
        "refused": None if open_ else any(each.verdict == verdicts.REFUSE for each in found),
        "verdicts": verdicts_as_json(found, causes),
        "standing": standing and standing._asdict(),
    }
