"""Why a request went where it went, or nowhere: all facts of it, from the logs."""

from nova_sched.filters.compute import CELL_UNREACHABLE
from nova_sched.process.text import one_line
from nova_sched.replay.decisions import endings, story, verdicts
from nova_sched.replay.decisions.not_loaded import words_for
from nova_sched.replay.decisions.policies import HOW_TO_LOAD
from nova_sched.replay.decisions.recorded import Scene, scene
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.decide import Candidate, candidate_of
from rpc_api import errors
from rpc_api.wording import number_of


def facts_of(history, policies, uuid, decisions, recorded):
    """All that is known of an instance."""
    steps = story.steps_of(history.logs, uuid)
    fates = story.fates(history, steps, decisions)
    facts = {
        "instance": uuid,
        "request": recorded.decision.request_id,
        "attempt": attempt_of(recorded.decision),
        "summary": summary_line(recorded),
        "asked": None,
        "reasons": [],
        "attempts": _attempts(decisions, fates),
        "behind": {},
        "closed": [],
        "hints": [],
        "end": endings.ending(decisions, steps, fates)._asdict(),
        "fault": recorded.fault,
    }
    evidence = recorded.evidence
    if evidence is None:
        return facts
    facts["asked"] = asked_for(evidence.request)
    facts["closed"] = [position.cell for position in evidence.positions if position.closed]
    facts["behind"] = {cell: count for cell, count in story.lag(history.logs, recorded).items() if count}
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
        _look_nearer(history, policies, recorded, facts)
    except errors.NovaSchedError as fault:
        facts["fault"] = f"what the scheduler knew cannot be re-created: {fault}"
    facts["hints"] = list(_hints(history, facts, fates, decisions, recorded, steps))
    return facts


def _attempts(decisions, fates):
    return (
        [
            {
                "request": recorded.decision.request_id,
                "attempt": attempt_of(recorded.decision),
                "at_ns": recorded.at_ns,
                "scheduler": recorded.producer,
                **_said_of(recorded, fates),
            }
            for recorded in decisions
        ]
        if len(decisions) > 1 or any(fate.verdict != story.ACCEPTED for fate in fates.values())
        else []
    )


def _said_of(recorded, fates):
    if not recorded.is_selected:
        return {
            "code": "cells-unreachable" if recorded.unreachable else "no-valid-host",
            "said": recorded.decision.reason,
            "lost_to": [],
        }
    fate = fates.get(recorded.decision.claim_uuid)
    host = recorded.decision.hosts[0] if recorded.decision.hosts else "no host"
    if fate is None or fate.verdict == story.UNKNOWN:
        return {"code": "claim-not-known", "said": f"{host}, the verdict on the claim is not known", "lost_to": []}
    if fate.verdict == story.ACCEPTED:
        return {"code": "claim-accepted", "said": f"{host}, claim accepted", "lost_to": []}
    others = [cause for cause in fate.lost_to if cause.producer != recorded.producer]
    stale = "claim-lost-to-another" if others else "stale-knowledge"
    return {
        "code": stale,
        "said": f"{host}, claim refused: {fate.reason}",
        "lost_to": [cause._asdict() for cause in others],
    }


def _look_nearer(history, policies, recorded, facts):
    """For each reason the host that was nearest to pass."""
    re_created = scene(history, recorded, policies)
    by_reason = verdicts.hosts_by_reason(re_created)
    # What the decision recorded are texts: they are compared with the texts of the reasons that are found again.
    by_text = {(name, str(reason)): (key, rows) for key, rows in by_reason.items() if key for name, reason in [key]}
    exact, silent = re_created.exact_reasons, re_created.adopted.filters
    if silent:
        facts["fault"] = (
            f"its policy {recorded.evidence.policy_digest} is {re_created.adopted.where}, and names "
            f"{words_for(silent, ())}, not loaded here: what it says of hosts is left out; {HOW_TO_LOAD}"
        )
    for reason in facts["reasons"]:
        key = reason["filter"], reason["reason"]
        found = by_text.get(key) if key in exact else None
        if found:
            name, finding = verdicts.nearest(history, re_created, *found)
            if name is not None:
                reason.update(nearest=name, nearest_text=finding.text, values=finding.values)
    facts["group_hosts"] = list(
        _hosts_of_group(history, re_created, [found for key, found in by_text.items() if key in exact])
    )
    if not recorded.is_selected and not silent:
        facts["now"] = _would_pass_now(history, re_created)


def _hosts_of_group(history, scene_, found):
    """Why the hosts of an affinity group, to which alone the instance could go, were refused; ``found`` are pairs of
    (filter, Reason) and root rows."""
    group = scene_.request.server_group
    if group is None or group.policy != "affinity":
        return
    for (name, reason), rows in found:
        for row in rows:
            look = verdicts.look_at(scene_, row, scene_.request)
            if row in (look.scope.affinity_rows(look.policy) or ()):
                yield {
                    "host": look.host,
                    "filter": name,
                    "reason": str(reason),
                    "text": verdicts.explain(history, scene_, look, name, reason).text,
                }


def _would_pass_now(history, scene_):
    """Hosts that would do at the end of the logs; None if the end is so far away that it takes long to find out."""
    positions = {cell: log.bounds().last for cell, log in history.logs.items() if cell in scene_.world.projections}
    if sum(positions[cell] - projection.position for cell, projection in scene_.world.projections.items()) > story.FAR:
        return None
    world = history.world_at(positions)
    now = Scene(scene_.recorded, world, scene_.policy, FilterChain(world.table, scene_.policy), [])
    rows = verdicts.hosts_by_reason(now).get(None, ())
    rules = verdicts.rules_of(now, now.request)
    return [world.table.host_names[row] for row in rows if isinstance(candidate_of(rules, row, now.policy), Candidate)][
        :100
    ]


def _hints(history, facts, fates, decisions, recorded, steps):
    """What kind of end it was, and what would have had to change."""
    code = facts["end"]["code"]
    if code == "retries-exhausted":
        built, taken = story.failed_hosts(steps, fates)
        if built:
            yield f"hosts were found; the builds on {', '.join(built)} failed: see the compute hosts"
        older = story.refused_as_older(steps, fates)
        if older:
            yield (
                f"claims on {', '.join(dict.fromkeys(older))} were refused, as their scheduler or conductor does not "
                "know the level of the log: upgrade it (nova-sched-replay doctor names it)"
            )
        taken = [host for host in taken if host not in older]
        if taken:
            yield f"others took the room on {', '.join(taken)} meanwhile: nothing was built there"
    elif code == "claim-refused":
        yield "a host was found, and its claim lost; the scheduler did not try again"
    elif code == "claim-lost":
        yield "the decision is in a log without its claim: name the logs of all cells"
    if code not in ("no-valid-host", "cells-unreachable"):
        return
    if any(reason["reason"] == str(CELL_UNREACHABLE) for reason in facts["reasons"]):
        yield "a cell was closed: its hosts count once its log can be read again"
    for host in facts.get("group_hosts", ())[:3]:
        yield f"the group's own host {host['host']} was refused for {host['reason']} ({host['filter']}): {host['text']}"
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


def few(names, most=5):
    """The first of some names, and how many more there are."""
    names = sorted(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def asked_for(request) -> str:
    """What a request asks for, in one line."""
    parts = [f"{request.flavor_name}:"] if request.flavor_name else []
    for group in request.groups:
        amounts = " ".join(f"{amount.amount} {amount.resource_class}" for amount in group.resources)
        traits = " ".join([*group.required_traits, *(f"!{trait}" for trait in group.forbidden_traits)])
        parts.append(" ".join(filter(None, (f"[{group.suffix}]" if group.suffix else "", amounts, traits))))
    more = []
    if request.numa:
        more.append(number_of(len(request.numa.cells), "NUMA node"))
    if request.pci:
        more.append(number_of(sum(device.count for device in request.pci), "PCI device"))
    if request.availability_zone:
        more.append(f"zone {request.availability_zone}")
    group = request.server_group
    if group:
        more.append(
            f"{group.policy} in group {group.uuid}"
            + (f", partition {group.partition}" if group.partition is not None else "")
        )
    for name, hosts in (
        ("forced to", (*request.force_hosts, *request.force_nodes)),
        ("not on", request.ignore_hosts),
        ("only on", filter(None, (request.target_host, request.target_node))),
        ("in cell", filter(None, (request.target_cell,))),
    ):
        hosts = list(hosts)
        if hosts:
            more.append(f"{name} {few(hosts)}")
    if request.check_only:
        more.append("a rebuild: its host is checked only")
    return one_line("; ".join([" ".join(parts), *more]))


def summary_line(recorded) -> str:
    """The first line: the outcome, each host counted once under the first reason in the chain's order."""
    decision = recorded.decision
    return one_line(
        f"chosen {decision.hosts[0]}: {decision.reason}" if recorded.is_selected and decision.hosts else decision.reason
    )


def attempt_of(decision) -> int:
    """The number of an attempt, counted from 1 on; events count from 0."""
    return decision.attempt + 1
