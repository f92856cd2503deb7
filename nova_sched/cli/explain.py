"""``nova-sched-replay explain``: why a request went where it went, or nowhere, in a few lines."""

import json

from nova_sched.cli.event_text import attempt_of
from nova_sched.cli.output import stamp
from nova_sched.cli.requests import RequestCommand, asked_for, only_attempt, summary_line
from nova_sched.cli.text import one_line
from nova_sched.replay import causes, story, verdicts
from nova_sched.replay.decisions import Scene, scene
from nova_sched.replay.not_loaded import words_for
from nova_sched.replay.policies import HOW_TO_LOAD
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.decide import Candidate, candidate_of
from rpc_api import errors

EPILOG = """\
The first line counts each host once, under the first reason in the order of
the chain, so that the counts add up; of an instance that found a host it
begins with "chosen HOST:". How a request ended has a stable code: built,
claimed, no-valid-host, cells-unreachable, refused (for a reason that is in no
decision: a log or a service failed), retries-exhausted, claim-refused,
claim-lost, given-back, deleted.

examples:
  nova-sched-replay --log out/demo explain $INSTANCE
  nova-sched-replay --log out/demo explain $REQUEST -o json
  nova-sched-replay --log out/demo explain $INSTANCE --attempt 1

exit codes: 0 explained, 1 there is no such decision, 2 the id is ambiguous, 3
a log cannot be reached, 4 a log does not hold what the decision was made on
(what could be read is shown)
"""


class Explain(RequestCommand):
    """Explain a request: one line that counts every host, how near the nearest host was for each reason, and how it ended."""

    EPILOG = EPILOG

    def add_more(self, parser):
        parser.add_argument("--attempt", type=int, metavar="N", help="this attempt, from 1 on (the last one)")

    def tell(self, source, history, policies, by_instance, arguments):
        code, all_facts = errors.EXIT_OK, []
        for uuid, decisions in by_instance.items():
            facts = facts_of(history, policies, uuid, decisions, only_attempt(decisions, arguments.attempt))
            if facts["fault"]:
                self.say(f"nova-sched-replay explain: {facts['fault']}")
                code = errors.EXIT_GAP
            if arguments.output == "json":
                all_facts.append(facts)
            else:
                self.lines(self._text(facts, len(by_instance) > 1))
        if arguments.output == "json":
            self.out.write(json.dumps(all_facts, indent=2) + "\n")
        return code

    def _text(self, facts, several):
        if several:
            yield self.paint(facts["instance"], "bold")
        yield self.paint(facts["summary"], "bold")
        yield (
            one_line(f"  asked    {facts['asked']}")
            if facts["asked"]
            else "  asked    not known: the evidence cannot be read"
        )
        for reason in facts["reasons"]:
            text = (
                f"  {reason['hosts']:>5} {'host' if reason['hosts'] == 1 else 'hosts'} refused for {reason['reason']} "
                f"({reason['filter']})"
            )
            yield one_line(
                text + (f"; nearest: {reason['nearest']}: {reason['nearest_text']}" if reason["nearest"] else "")
            )
        for attempt in facts["attempts"]:
            yield one_line("  " + _attempt_text(attempt))
        if facts["behind"]:
            yield "  behind   the scheduler did not know of " + ", ".join(
                f"{count} {'record' if count == 1 else 'records'} of {cell}" for cell, count in facts["behind"].items()
            )
        if facts["closed"]:
            yield f"  closed   {', '.join(facts['closed'])}: the log could not be read, so nothing was placed there"
        for hint in facts["hints"]:
            yield one_line(f"  so       {hint}")
        yield one_line(f"  end      {facts['end']['code']}: {facts['end']['text']}")


def _attempt_text(attempt):
    text = f"attempt {attempt['attempt']} at {stamp(attempt['at_ns'])} by {attempt['scheduler']}: {attempt['said']}"
    others = attempt["lost_to"]
    for cause in others[-1:]:
        text += f"; {cause['what']} meanwhile, by {cause['producer']}"
    return text + (f", and {len(others) - 1} more" if len(others) > 1 else "")


def facts_of(history, policies, uuid, decisions, one):
    """All that is to be told of an instance."""
    steps = story.steps_of(history.logs, uuid)
    fates = story.fates(history, steps, decisions)
    facts = {
        "instance": uuid,
        "request": one.decision.request_id,
        "attempt": attempt_of(one.decision),
        "summary": summary_line(one),
        "asked": None,
        "reasons": [],
        "attempts": _attempts(decisions, fates),
        "behind": {},
        "closed": [],
        "hints": [],
        "end": story.ending(decisions, steps, fates)._asdict(),
        "fault": one.fault,
    }
    evidence = one.evidence
    if evidence is None:
        return facts
    facts["asked"] = asked_for(evidence.request)
    facts["closed"] = [position.cell for position in evidence.positions if position.closed]
    facts["behind"] = {cell: count for cell, count in story.lag(history.logs, one).items() if count}
    facts["reasons"] = [
        {
            "filter": count.filter,
            "reason": count.reason,
            "hosts": count.hosts,
            "nearest": None,
            "nearest_text": None,
            "values": None,
        }
        for count in evidence.refusals
    ]
    try:
        _look_nearer(history, policies, one, facts)
    except errors.NovaSchedError as fault:
        facts["fault"] = f"what the scheduler knew cannot be re-created: {fault}"
    facts["hints"] = list(_hints(history, facts, fates, decisions, one, steps))
    return facts


def _attempts(decisions, fates):
    return (
        [
            {"attempt": attempt_of(one.decision), "at_ns": one.at_ns, "scheduler": one.producer, **_said_of(one, fates)}
            for one in decisions
        ]
        if len(decisions) > 1 or any(fate.verdict != story.ACCEPTED for fate in fates.values())
        else []
    )


def _said_of(one, fates):
    if not one.is_selected:
        code = "cells-unreachable" if one.unreachable else "no-valid-host"
        return {"code": code, "said": one.decision.reason, "lost_to": []}
    fate = fates.get(one.decision.claim_uuid)
    host = one.decision.hosts[0] if one.decision.hosts else "no host"
    if fate is None or fate.verdict == story.UNKNOWN:
        return {"code": "claim-not-known", "said": f"{host}, what became of the claim is not known", "lost_to": []}
    if fate.verdict == story.ACCEPTED:
        return {"code": "claim-accepted", "said": f"{host}, claim accepted", "lost_to": []}
    others = [cause for cause in fate.lost_to if cause.producer != one.producer]
    stale = "claim-lost-to-another" if others else "stale-knowledge"
    return {
        "code": stale,
        "said": f"{host}, claim refused: {fate.reason}",
        "lost_to": [cause._asdict() for cause in others],
    }


def _look_nearer(history, policies, one, facts):
    """For each reason the host that was nearest to pass."""
    re_created = scene(history, one, policies)
    by_reason = verdicts.hosts_by_reason(re_created)
    exact, silent = re_created.exact_reasons, re_created.adopted.filters
    if silent:
        facts["fault"] = (
            f"its policy {one.evidence.policy_digest} is {re_created.adopted.where}, and names "
            f"{words_for(silent, ())}, not loaded here: what it says of hosts is left out; {HOW_TO_LOAD}"
        )
    for reason in facts["reasons"]:
        key = reason["filter"], reason["reason"]
        rows = by_reason.get(key) if key in exact else None
        if rows:
            name, finding = verdicts.nearest(history, re_created, (reason["filter"], reason["reason"]), rows)
            if name is not None:
                reason.update(nearest=name, nearest_text=finding.text, values=finding.values)
    facts["group_hosts"] = list(
        _hosts_of_group(history, re_created, {key: rows for key, rows in by_reason.items() if key in exact})
    )
    if not one.is_selected and not silent:
        facts["now"] = _would_pass_now(history, re_created)


def _hosts_of_group(history, scene_, by_reason):
    """Why the hosts of an affinity group, where alone the instance could go, were refused."""
    group = scene_.request.server_group
    if group is None or group.policy != "affinity":
        return
    for (name, reason), rows in ((key, rows) for key, rows in by_reason.items() if key):
        for row in rows:
            look = causes.Look(history, scene_, row, scene_.request)
            if row in (look.scope.affinity_rows() or ()):
                yield {
                    "host": look.host,
                    "filter": name,
                    "reason": reason,
                    "text": causes.explain(look, name, reason).text,
                }


def _would_pass_now(history, scene_):
    """Hosts that would do at the end of the logs; None where that is so far away that it takes long to tell."""
    positions = {cell: log.bounds().last for cell, log in history.logs.items() if cell in scene_.world.projections}
    if sum(positions[cell] - one.position for cell, one in scene_.world.projections.items()) > story.FAR:
        return None
    world = history.world_at(positions)
    now = Scene(scene_.recorded, world, scene_.policy, FilterChain(world.table, scene_.policy), [])
    rows = verdicts.hosts_by_reason(now).get(None, ())
    return [
        world.table.host_names[row]
        for row in rows
        if isinstance(candidate_of(world.table, row, scene_.request, scene_.policy), Candidate)
    ][:100]


def _hints(history, facts, fates, decisions, one, steps):
    """What kind of end it was, and what would have had to change."""
    code = facts["end"]["code"]
    if code == "retries-exhausted":
        built, taken = story.failed_hosts(steps, fates)
        if built:
            yield f"hosts were found; the builds on {', '.join(built)} failed: see the compute hosts"
        if taken:
            yield f"others took the room on {', '.join(taken)} meanwhile: nothing was built there"
    elif code == "claim-refused":
        yield "a host was found, and its claim lost; the scheduler did not try again"
    elif code == "claim-lost":
        yield "the decision stands in a log without its claim: name the logs of all cells"
    if code not in ("no-valid-host", "cells-unreachable"):
        return
    if any(reason["reason"] == "cell unreachable" for reason in facts["reasons"]):
        yield "a cell was closed: its hosts count once its log can be read again"
    for one in facts.get("group_hosts", ())[:3]:
        yield f"the group's own host {one['host']} was refused for {one['reason']} ({one['filter']}): {one['text']}"
    lacking = [reason for reason in facts["reasons"] if reason["values"] and "resource_class" in reason["values"]]
    if lacking and not facts.get("group_hosts"):
        near = max(lacking, key=lambda reason: reason["values"]["free"] / max(reason["values"]["asked"], 1))
        values = near["values"]
        lack = values["asked"] - values["free"]
        if lack > 0:
            yield f"{near['nearest']} lacked {lack} {values['resource_class']}"
    now = facts.get("now")
    if now is not None:
        yield f"at the end of the logs {len(now)}{'+' if len(now) == 100 else ''} " + (
            f"{'host' if len(now) == 1 else 'hosts'} would do ({', '.join(now[:3])})" if now else "hosts would do"
        )
