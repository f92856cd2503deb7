"""``nova-sched-replay why-not``: why a host was not chosen for a request, filter by filter, and since when."""

import json

from nova_sched.cli.numbers import Number
from nova_sched.cli.output import aligned, stamp
from nova_sched.cli.requests import RequestCommand, only_attempt, only_instance
from nova_sched.process.text import one_line
from nova_sched.replay.decisions import verdicts
from nova_sched.replay.decisions.explanation import asked_for, attempt_of, summary_line
from nova_sched.replay.decisions.not_loaded import words_for
from nova_sched.replay.decisions.why_not import answer_of
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
        answer = answer_of(history, policies, recorded, arguments.host)
        if arguments.output == "json":
            self.out.write(json.dumps(answer.as_json(), indent=2) + "\n")
        else:
            self.lines(
                self._text(
                    recorded, answer.scene, answer.row, answer.found, answer.causes, answer.standing, answer.open
                )
            )
        if answer.open:
            self.say(
                f"nova-sched-replay why-not: whether {words_for(answer.open, ())} refused {arguments.host} is not "
                f"known: its policy {policies.why_missing(recorded.evidence.policy_digest)}"
            )
            return errors.EXIT_GAP
        return errors.EXIT_NEGATIVE if answer.refusals else errors.EXIT_OK

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
