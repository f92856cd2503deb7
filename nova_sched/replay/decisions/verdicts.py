"""What each filter answers for hosts in the scene of a decision, and the rank of a host among those that passed."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nova_sched.filters import Filter, HostView, Reason
from nova_sched.filters.explanation import Look
from nova_sched.filters.resources import LACKING
from nova_sched.projection.topology import providers_of
from nova_sched.replay.decisions.causes import Cause, LogTraces
from nova_sched.replay.decisions.not_loaded import FilterNotLoaded
from nova_sched.selection.chain import filters_for
from nova_sched.selection.claim_rules import ClaimRules
from nova_sched.selection.decide import Candidate, candidate_of, ranked
from nova_sched.selection.draw import host_keys
from nova_sched.selection.judge import finding_of
from nova_sched.selection.prefilters import Refused, prefiltered
from nova_sched.selection.scope import Scope
from nova_sched.selection.weigh import weigh

PASS, REFUSE, NOT_APPLICABLE, NOT_RUN = "pass", "refuse", "not applicable", "not run"
#: The verdict of a filter that this process has not loaded.
NOT_LOADED = "not loaded"
#: Up to this many of the hosts with one reason are looked at for the nearest one.
LOOKED_AT = 200
CLOSE_LOOK = "close look"


class Finding(NamedTuple):
    """What a filter compared on one host: ``text`` in one line, ``values`` for programs; ``find()`` looks for the Cause
    in the logs (None if no event is known). ``near`` is the greater the nearer a refused host was to pass; None if that
    is not a question of more or less."""

    text: str
    values: dict
    find: Callable[[], Cause | None] = lambda: None
    near: float | None = None


class Verdict(NamedTuple):
    """What one filter answers for one host: a ``verdict`` (pass, refuse, not applicable, not run, not loaded), the text
    of the ``reason`` of a refusal, and the Finding (None if the filter did not look)."""

    filter: str
    verdict: str
    reason: str | None
    finding: Finding | None


class Standing(NamedTuple):
    """The place of a host among those that pass: ``rank`` (1 is the best score; equal scores share one), ``of``
    hosts, how many ``equals`` share its score, its ``place`` in the order in which hosts were tried, and (weigher,
    raw, weighed) lists of it and of the chosen host (None if no host was)."""

    rank: int
    of: int
    equals: int
    place: int
    score: float
    scores: list
    chosen: str | None
    chosen_score: float | None
    chosen_scores: list | None


def look_at(scene, row: int, request) -> Look:
    """The Look at the host of a root row of a scene; ``request`` is as the filters see it."""
    world = scene.world
    return Look(scene.table, row, request, scene.policy, world.projections, scope_of(scene, request), scene.held)


def scope_of(scene, request) -> Scope:
    """The Scope of the request of a scene."""
    world = scene.world
    return Scope(
        scene.table, list(world.projections.values()), world.in_flight, request, scene.recorded.decision.instance_uuid
    )


def rules_of(scene, request) -> ClaimRules:
    """The ClaimRules of the request of a scene; ``request`` is as the filters see it."""
    return ClaimRules(scene.world, scope_of(scene, request))


def explain(history, scene, look: Look, name: str, reason: Reason | None) -> Finding:
    """What the filter of a name compared on a host."""
    found = finding_of(scene.policy, look, name, reason)
    return Finding(found.text, found.values, lambda: found.trace(LogTraces(history, scene, look)), found.near)


def of_host(history, scene, row: int) -> list[Verdict]:
    """What every filter of the scene's policy answers for the host of a root row, in the order of the chain, and at the
    end whether what was asked fits there together. PluginFault if a class of a deployer raises an error."""
    request = prefiltered(scene.request, scene.table, scene.policy)
    chain = scene.policy.filters
    if isinstance(request, Refused):
        return [
            Verdict(request.filter, REFUSE, str(request.reason), of_request(request)),
            *(Verdict(each.name, NOT_RUN, None, None) for each in chain),
        ]
    look = look_at(scene, row, request)
    asked = filters_for(scene.policy, request)
    verdicts = [
        _verdict(history, scene, each, look) if each in asked else Verdict(each.name, NOT_RUN, None, None)
        for each in chain
    ]
    if not any(verdict.verdict == REFUSE for verdict in verdicts):
        verdicts.append(_close_look(history, scene, look))
    return verdicts


def of_request(refused: Refused) -> Finding:
    """Why a request filter refused a request: the same for every host."""
    return Finding(str(refused.reason), {})


def _verdict(history, scene, filter_: Filter, look):
    if isinstance(filter_, FilterNotLoaded):
        return Verdict(filter_.name, NOT_LOADED, None, None)
    view = HostView(look.table, np.array([look.row]))
    refusals = list(filter_.refusals(view, look.request, scene.policy, look.scope))
    reason = next((refusal.reason for refusal in refusals if refusal.hosts[0]), None)
    if not refusals:
        return Verdict(filter_.name, NOT_APPLICABLE, None, None)
    finding = explain(history, scene, look, filter_.name, reason)
    return Verdict(filter_.name, REFUSE, str(reason), finding) if reason else Verdict(filter_.name, PASS, None, finding)


def _close_look(history, scene, look):
    candidate = candidate_of(rules_of(scene, look.request), look.row, scene.policy)
    if isinstance(candidate, Candidate):
        return Verdict(CLOSE_LOOK, PASS, None, Finding("all that was asked fits together", {}))
    name, reason = candidate.refusal
    return Verdict(name, REFUSE, str(reason), explain(history, scene, look, name, reason))


def standing(scene, row: int) -> Standing | None:
    """The Standing of a host among those that pass all filters; None if it is not one of them, they cannot be weighed,
    or a class that took part in the decision is not loaded."""
    if scene.silent_filters or (scene.adopted is not None and scene.adopted.weighers):
        return None
    request = prefiltered(scene.request, scene.table, scene.policy)
    scope = scope_of(scene, request)
    filtered = scene.chain.run(request, scope)
    scores, parts = weigh(scene.table, filtered.rows, request, scope, scene.policy, filtered.kept)
    places = np.flatnonzero(filtered.rows == row)
    if not len(places) or np.isnan(scores).any():
        return None
    index = int(places[0])
    evidence, decision = scene.recorded.evidence, scene.recorded.decision
    best = np.flatnonzero(scores == scores.max())
    order = list(
        ranked(scores, best, lambda tied: host_keys(scene.table)[filtered.rows[tied]], evidence.seed, decision.attempt)
    )
    chosen = decision.hosts[0] if decision.hosts else None
    mine = scene.table.row_of_host.get(chosen)
    other = np.flatnonzero(filtered.rows == mine) if mine is not None else []

    def of(place):
        return [(part.name, *part.at(place)) for part in parts]

    return Standing(
        int((scores > scores[index]).sum()) + 1,
        len(scores),
        int((scores == scores[index]).sum()),
        order.index(index) + 1,
        float(scores[index]),
        of(index),
        chosen,
        float(scores[other[0]]) if len(other) else None,
        of(int(other[0])) if len(other) else None,
    )


# --- all hosts ------------------------------------------------------------------------------------------------------


def hosts_by_reason(scene) -> dict:
    """(Filter, Reason) -> root rows of the hosts that were refused for it first, in the order in which the chain
    counts them; the survivors under None."""
    request = prefiltered(scene.request, scene.table, scene.policy)
    roots = scene.table.roots()
    if isinstance(request, Refused):
        return {tuple(request): roots.tolist()}
    scope = scope_of(scene, request)
    found, left = {}, np.ones(len(roots), bool)
    chain = filters_for(scene.policy, request)
    for static in (True, False):
        for filter_ in chain:
            if filter_.static is static:
                places = np.flatnonzero(left)
                for refusal in filter_.refusals(HostView(scene.table, roots[places]), request, scene.policy, scope):
                    refused = places[refusal.hosts]
                    refused = refused[left[refused]]
                    if len(refused):
                        found.setdefault((filter_.name, refusal.reason), []).extend(roots[refused].tolist())
                        left[refused] = False
    if not scene.recorded.is_selected:
        rules = rules_of(scene, request)
        for place in np.flatnonzero(left).tolist():
            candidate = candidate_of(rules, int(roots[place]), scene.policy)
            if not isinstance(candidate, Candidate):
                found.setdefault(candidate.refusal, []).append(int(roots[place]))
                left[place] = False
    if left.any():
        found[None] = roots[left].tolist()
    return found


def nearest(history, scene, key, rows) -> tuple[str, Finding]:
    """Of the hosts refused for one (filter, Reason) the one that was nearest to pass: (its name, the Finding)."""
    name, reason = key
    request = prefiltered(scene.request, scene.table, scene.policy)
    if isinstance(request, Refused):
        return None, of_request(request)
    table = scene.table
    index = table.classes.get(reason.facts[0]) if reason.code == LACKING else -1
    order = sorted(
        rows,
        key=lambda row: (
            -max(int(table.free[index, provider]) for provider in providers_of(table, row)) if index >= 0 else 0,
            table.host_names[row],
        ),
    )
    best = None
    for row in order[:LOOKED_AT]:
        finding = explain(history, scene, look_at(scene, row, request), name, reason)
        if best is None or (finding.near or 0) > (best[1].near or 0):
            best = table.host_names[row], finding
        if finding.near is None:
            break
    return best
