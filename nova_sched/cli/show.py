"""``nova-sched-replay show``: everything that logs have about a decision and its result."""

import json
import textwrap

from nova_sched.cli.event_text import build_of, text_of
from nova_sched.cli.numbers import Number
from nova_sched.cli.output import aligned, stamp
from nova_sched.cli.requests import RequestCommand, milliseconds, only_attempt
from nova_sched.process.text import one_line
from nova_sched.projection.write_handlers import WRITE_HANDLERS
from nova_sched.replay.decisions import endings, story
from nova_sched.replay.decisions.explanation import asked_for, attempt_of, summary_line
from nova_sched.replay.logs.plain import plain
from rpc_api.wording import number_of

EPILOG = """\
Latencies are differences between the times of events, by the clocks of their
producers.

examples:
  nova-sched-replay --log out/demo show $INSTANCE
  nova-sched-replay --log out/demo show $REQUEST -o json
  nova-sched-replay --log out/demo show $INSTANCE --attempt 1

exit codes: 0 shown, 1 there is no such decision, 2 wrong usage, or the id is
ambiguous, 3 a log cannot be reached
"""
#: Longest line of names, in characters.
WIDTH = 100


class Show(RequestCommand):
    """Show the decisions of a request: what it asked, counts per filter, scores, claims, retries, build, latencies."""

    EPILOG = EPILOG

    def add_more(self, parser):
        parser.add_argument("--attempt", action=Number, help="only this attempt, counted from 1 (default: all)")

    def tell(self, source, history, policies, by_instance, arguments):
        if arguments.output == "json":
            self.out.write(
                json.dumps(
                    [self._as_json(history, policies, uuid, decisions) for uuid, decisions in by_instance.items()],
                    indent=2,
                )
                + "\n"
            )
            return 0
        compact = len(by_instance) > 1
        if compact:
            first = next(iter(by_instance.values()))[0]
            self.lines(
                [
                    self.paint(
                        f"request {first.decision.request_id}: {number_of(len(by_instance), 'instance')}", "bold"
                    ),
                    *self._table(history, by_instance),
                    "",
                ]
            )
        for uuid, decisions in by_instance.items():
            steps = story.steps_of(history.logs, uuid)
            fates = story.fates(history, steps, decisions)
            for recorded in decisions if arguments.attempt is None else [only_attempt(decisions, arguments.attempt)]:
                self.lines(self._decision(recorded, decisions, fates, policies, compact))
            if not compact:
                self.lines(self._afterwards(decisions, steps, fates))
        return 0

    # --- several instances ---------------------------------------------------------------------------------------

    def _table(self, history, by_instance):
        rows = []
        for uuid, decisions in by_instance.items():
            steps = story.steps_of(history.logs, uuid)
            end = endings.ending(decisions, steps, story.fates(history, steps, decisions))
            rows.append(
                (
                    uuid,
                    len(decisions),
                    decisions[-1].decision.hosts[0] if decisions[-1].decision.hosts else "-",
                    end.code,
                    end.text,
                )
            )
        return aligned(("instance", "attempts", "host", "end", "text"), rows, ("attempts",), self.paint)

    # --- a decision ------------------------------------------------------------------------------------------------

    def _decision(self, recorded, decisions, fates, policies, compact):
        decision, evidence = recorded.decision, recorded.evidence
        yield self.paint(
            one_line(
                f"instance {decision.instance_uuid} of {decision.request_id}, attempt "
                f"{attempt_of(decision)} of {attempt_of(decisions[-1].decision)}"
            ),
            "bold",
        )
        yield f"  outcome    {summary_line(recorded)}"
        yield one_line(
            f"  decided    {stamp(recorded.at_ns)} by {recorded.producer} in {milliseconds(decision.took_ns)} "
            f"({recorded.cell} {recorded.position})"
        )
        if evidence is None:
            yield one_line(f"  the evidence cannot be read: {recorded.fault}")
            return
        yield one_line(
            f"  policy     {evidence.policy_digest} ({_known(policies, evidence.policy_digest)}), seed {evidence.seed}"
        )
        yield "  knowing    " + ", ".join(map(_knowledge, evidence.positions))
        yield f"  asked      {asked_for(evidence.request)}"
        if not compact:
            yield from self._funnel(evidence, policies)
            yield from self._scores(recorded)
        yield f"  candidates {one_line(', '.join(decision.hosts)) or 'none'}"
        yield from self._claim(recorded, fates)
        yield ""

    def _funnel(self, evidence, policies):
        left, rows = evidence.hosts_total, []
        for count in evidence.refusals:
            rows.append((f"  {count.filter}", count.reason, left, count.hosts, left - count.hosts))
            left -= count.hosts
        yield f"  funnel     {number_of(evidence.hosts_total, 'host')}, {evidence.survivors} left"
        if rows:
            yield from (
                "  " + line
                for line in aligned(
                    ("  filter", "reason", "start", "refused", "end"), rows, ("start", "refused", "end"), self.paint
                )
            )
        adopted = policies.adopted.get(evidence.policy_digest)
        quiet = (
            [
                filter_.name
                for filter_ in adopted.policy.filters
                if filter_.name not in {count.filter for count in evidence.refusals}
            ]
            if adopted
            else ()
        )
        if quiet:
            yield from textwrap.wrap(
                f"refused no host: {', '.join(quiet)}", WIDTH, initial_indent="    ", subsequent_indent="      "
            )

    def _scores(self, recorded):
        evidence, decision = recorded.evidence, recorded.decision
        if not evidence.scores:
            return
        # A weigher that gave all these hosts the same value is not recorded.
        weighers = list(dict.fromkeys(score.weigher for host in evidence.scores for score in host.weighers))
        rows = []
        for number, host in enumerate(evidence.scores):
            role = "chosen" if number == 0 else "alternate" if host.host in decision.hosts else "next"
            of = {score.weigher: f"{score.weighed:+.3f} ({score.raw:g})" for score in host.weighers}
            rows.append((f"  {host.host}", role, f"{host.score:+.3f}", *(of.get(name, "-") for name in weighers)))
        yield (
            f"  scores     weighed (raw); {evidence.equals} {'host' if evidence.equals == 1 else 'hosts'} shared "
            "the best score" + (", drawn by the seed" if evidence.equals > 1 else "")
        )
        yield from (
            "  " + line for line in aligned(("  host", "", "score", *weighers), rows, ("score", *weighers), self.paint)
        )

    def _claim(self, recorded, fates):
        uuid = recorded.decision.claim_uuid
        if uuid is None:
            return
        fate = fates.get(uuid)
        if fate is None:
            yield f"  claim      {uuid} {story.ABSENT}"
            return
        step = fate.step
        verdict = self.paint(fate.verdict, "green" if fate.verdict == story.ACCEPTED else "yellow")
        yield (
            f"  claim      {uuid} on {one_line(step.data.host)}: "
            f"{verdict}{one_line(f': {fate.reason}') if fate.reason else ''} ({step.cell} {step.position})"
        )
        for cause in fate.lost_to:
            yield one_line(
                f"             {cause.what} meanwhile, by {cause.producer} at {stamp(cause.at_ns)} "
                f"({cause.cell} {cause.position})"
            )

    # --- afterwards --------------------------------------------------------------------------------------------------

    def _afterwards(self, decisions, steps, fates):
        end = endings.ending(decisions, steps, fates)
        yield self.paint(one_line(f"end        {end.text}"), "bold")
        begun = decisions[0].at_ns - decisions[0].decision.took_ns
        rows, before = [], begun
        for step in steps:
            rows.append(
                (
                    stamp(step.at_ns),
                    milliseconds(step.at_ns - before),
                    step.name,
                    f"{step.cell} {step.position}",
                    step.producer,
                    _text_of(step, fates),
                )
            )
            before = step.at_ns
        yield from (
            "  " + line for line in aligned(("time", "after", "event", "at", "by", ""), rows, ("after",), self.paint)
        )
        yield "  latency    " + ", ".join(
            f"{name} {milliseconds(took)}" for name, took in latencies(decisions, steps, fates)
        )

    def _as_json(self, history, policies, uuid, decisions):
        steps = story.steps_of(history.logs, uuid)
        fates = story.fates(history, steps, decisions)
        return {
            "instance": uuid,
            "request": decisions[-1].decision.request_id,
            "end": endings.ending(decisions, steps, fates)._asdict(),
            "latency_ns": dict(latencies(decisions, steps, fates)),
            "decisions": [self._decision_json(decision, policies, fates) for decision in decisions],
            "events": [
                {
                    "cell": step.cell,
                    "position": step.position,
                    "at_ns": step.at_ns,
                    "producer": step.producer,
                    "event": step.name,
                    "verdict": _verdict_json(step, fates),
                    "data": plain(step.data),
                }
                for step in steps
                if step.name != "DecisionMade"
            ],
        }

    def _decision_json(self, recorded, policies, fates):
        fate = fates.get(recorded.decision.claim_uuid)
        return {
            "cell": recorded.cell,
            "position": recorded.position,
            "at_ns": recorded.at_ns,
            "scheduler": recorded.producer,
            **{name: value for name, value in recorded.decision._asdict().items() if name != "evidence"},
            "attempt": attempt_of(recorded.decision),
            "evidence": None if recorded.evidence is None else plain(recorded.evidence),
            "fault": recorded.fault,
            "policy": None if recorded.evidence is None else _policy_json(policies, recorded.evidence.policy_digest),
            "claim": None
            if fate is None
            else {
                "verdict": fate.verdict,
                "reason": fate.reason,
                "cell": fate.step.cell,
                "position": fate.step.position,
                "lost_to": [cause._asdict() for cause in fate.lost_to],
            },
        }


def _known(policies, digest):
    """Return what is known of a policy, in words."""
    adopted = policies.adopted.get(digest)
    if adopted is None:
        return policies.why_missing(digest)
    if adopted.is_whole:
        return "is known"
    return f"is {adopted.where}; {adopted.not_loaded} not loaded here"


def _policy_json(policies, digest):
    adopted = policies.adopted.get(digest)
    if adopted is None:
        return {"digest": digest, "cell": None, "position": None, "fault": policies.why_missing(digest)}
    return {
        "digest": digest,
        "cell": adopted.cell,
        "position": adopted.position,
        "not_loaded": {"filters": list(adopted.filters), "weighers": list(adopted.weighers)},
    }


def _verdict_json(step, fates):
    fate = fates.get(step.data.claim_uuid) if step.name == "ClaimProposed" else None
    return None if fate is None else {"verdict": fate.verdict, "reason": fate.reason}


def _knowledge(position):
    text = f"{position.cell} to {position.position}"
    if position.last_in_flight:
        text += f" and own events {position.first_in_flight}..{position.last_in_flight} under way"
    return text + (" (closed: its log could not be read)" if position.closed else "")


def _text_of(step, fates):
    data, parts = step.data, []
    if step.name == "DecisionMade":
        return f"attempt {attempt_of(data)}: {data.outcome}"
    if step.name in WRITE_HANDLERS:
        return text_of(step)
    if getattr(data, "host", None):
        parts.append(data.host)
    if step.name == "ClaimProposed" and data.claim_uuid in fates:
        fate = fates[data.claim_uuid]
        parts.append(f"{fate.verdict}{f': {fate.reason}' if fate.reason else ''}")
        if step.producer.startswith("conductor/"):
            parts.append("(an alternate)")
    if getattr(data, "reason", None):
        parts.append(data.reason)
    if step.name == "BuildFailed":
        parts.append(f"({build_of(data)}{', no alternate left' if data.final else ''})")
    return " ".join(parts)


def latencies(decisions, steps, fates):
    """Return [(step, nanoseconds)] between the events that matter, by the times of the events."""
    found = [(f"decision {attempt_of(decision.decision)}", decision.decision.took_ns) for decision in decisions]
    accepted = [fate.step for fate in fates.values() if fate.verdict == story.ACCEPTED]
    if accepted:
        first = min(accepted, key=lambda step: step.at_ns)
        found.append(("arrival to claim", first.at_ns - decisions[0].at_ns + decisions[0].decision.took_ns))
        for name, word in (
            ("InstanceStarted", "claim to started"),
            ("BuildFailed", "claim to failed"),
            ("ClaimExpired", "claim to expired"),
        ):
            end = next((step for step in steps if step.name == name and step.at_ns >= first.at_ns), None)
            if end is not None:
                found.append((word, end.at_ns - first.at_ns))
    last = next(
        (step for step in reversed(steps) if step.name in ("InstanceStarted", "BuildFailed", "DecisionMade")), None
    )
    if last is not None:
        found.append(("in all", last.at_ns - decisions[0].at_ns + decisions[0].decision.took_ns))
    return found
