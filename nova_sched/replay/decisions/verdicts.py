"""What each filter has to say of hosts in the scene of a decision, and where a host stood among those that passed."""

from typing import NamedTuple

import numpy as np

from nova_sched.filters import HostView
from nova_sched.filters.base import Filter
from nova_sched.replay.decisions import explainers as causes
from nova_sched.replay.decisions.explainers import Finding, Look
from nova_sched.replay.decisions.not_loaded import FilterNotLoaded
from nova_sched.selection.chain import filters_for
from nova_sched.selection.decide import Candidate, candidate_of, ranked
from nova_sched.selection.draw import host_keys
from nova_sched.selection.prefilters import Refused, prefiltered
from nova_sched.selection.scope import Scope
from nova_sched.selection.weigh import weigh

PASS, REFUSE, NOT_APPLICABLE, NOT_RUN = "pass", "refuse", "not applicable", "not run"
#: Of a filter that this process has not loaded.
NOT_LOADED = "not loaded"
#: So many of the hosts with one reason are looked at for the nearest one.
LOOKED_AT = 200
CLOSE_LOOK = "close look"


class Verdict(NamedTuple):
    """What one filter says of one host: a ``verdict`` (pass, refuse, not applicable, not run, not loaded), the stable
    ``reason`` of a refusal, and the Finding (None where the filter did not look)."""

    filter: str
    verdict: str
    reason: str | None
    finding: Finding | None


class Standing(NamedTuple):
    """Where a host stands among those that pass: ``rank`` (1 is the best score; equal scores share one), ``of``
    hosts, how many ``equals`` share its score, its ``place`` in the order in which hosts were tried, and (weigher,
    raw, weighed) lists of it and of the chosen host (None where no host was)."""

    rank: int
    of: int
    equals: int
    place: int
    score: float
    scores: list
    chosen: str | None
    chosen_score: float | None
    chosen_scores: list | None


def of_host(history, scene, row: int) -> list[Verdict]:
    """What every filter of the scene's policy says of the host of a root row, in the order of the chain, and at the
    end whether what was asked fits there together. PluginFault where a class of a deployer falls."""
    request = prefiltered(scene.request, scene.table, scene.policy)
    chain = scene.policy.filters
    if isinstance(request, Refused):
        return [
            Verdict(request.filter, REFUSE, request.reason, Finding(request.reason, {})),
            *(Verdict(one.name, NOT_RUN, None, None) for one in chain),
        ]
    look = Look(history, scene, row, request)
    asked = filters_for(scene.policy, request)
    verdicts = [_verdict(one, look, scene) if one in asked else Verdict(one.name, NOT_RUN, None, None) for one in chain]
    if not any(one.verdict == REFUSE for one in verdicts):
        verdicts.append(_close_look(look, scene))
    return verdicts


def _verdict(one: Filter, look, scene):
    if isinstance(one, FilterNotLoaded):
        return Verdict(one.name, NOT_LOADED, None, None)
    refusals = list(one.refusals(HostView(look.table, np.array([look.row])), look.request, scene.policy, look.scope))
    reason = next((refusal.reason for refusal in refusals if refusal.hosts[0]), None)
    if not refusals:
        return Verdict(one.name, NOT_APPLICABLE, None, None)
    return Verdict(one.name, REFUSE if reason else PASS, reason, causes.explain(look, one.name, reason))


def _close_look(look, scene):
    candidate = candidate_of(look.table, look.row, look.request, scene.policy)
    if isinstance(candidate, Candidate):
        return Verdict(CLOSE_LOOK, PASS, None, Finding("all that was asked fits together", {}))
    name, reason = candidate.refusal
    return Verdict(name, REFUSE, reason, causes.explain(look, name, reason))


def standing(scene, row: int) -> Standing | None:
    """Where a host stands among those that pass all filters; None where it is none of them, they cannot be weighed, or
    a class that had a say in it is not loaded."""
    if scene.silent_filters or (scene.adopted is not None and scene.adopted.weighers):
        return None
    request = prefiltered(scene.request, scene.table, scene.policy)
    scope = Scope(
        scene.table,
        list(scene.world.projections.values()),
        scene.world.in_flight,
        request,
        scene.recorded.decision.instance_uuid,
    )
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

    def of(one):
        return [(part.name, *part.at(one)) for part in parts]

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
    """(Filter, reason) -> root rows of the hosts that were refused for it first, in the order in which the chain
    counts them; the survivors under None."""
    request = prefiltered(scene.request, scene.table, scene.policy)
    roots = scene.table.roots()
    if isinstance(request, Refused):
        return {tuple(request): roots.tolist()}
    scope = Scope(
        scene.table,
        list(scene.world.projections.values()),
        scene.world.in_flight,
        request,
        scene.recorded.decision.instance_uuid,
    )
    found, left = {}, np.ones(len(roots), bool)
    chain = filters_for(scene.policy, request)
    for static in (True, False):
        for one in chain:
            if one.static is static:
                places = np.flatnonzero(left)
                for refusal in one.refusals(HostView(scene.table, roots[places]), request, scene.policy, scope):
                    refused = places[refusal.hosts]
                    refused = refused[left[refused]]
                    if len(refused):
                        found.setdefault((one.name, refusal.reason), []).extend(roots[refused].tolist())
                        left[refused] = False
    if not scene.recorded.is_selected:
        for place in np.flatnonzero(left).tolist():
            candidate = candidate_of(scene.table, int(roots[place]), request, scene.policy)
            if not isinstance(candidate, Candidate):
                found.setdefault(candidate.refusal, []).append(int(roots[place]))
                left[place] = False
    if left.any():
        found[None] = roots[left].tolist()
    return found


def nearest(history, scene, key, rows) -> tuple[str, Finding]:
    """Of the hosts refused for one (filter, reason) the one that was nearest to pass: (its name, the Finding)."""
    name, reason = key
    request = prefiltered(scene.request, scene.table, scene.policy)
    if isinstance(request, Refused):
        return None, Finding(reason, {})
    table = scene.table
    index = table.classes.get(reason)
    order = sorted(
        rows,
        key=lambda row: (
            -max(int(table.free[index, one]) for one in table.trees[row]) if index >= 0 else 0,
            table.host_names[row],
        ),
    )
    best = None
    for row in order[:LOOKED_AT]:
        finding = causes.explain(Look(history, scene, row, request), name, reason)
        if best is None or (finding.near or 0) > (best[1].near or 0):
            best = table.host_names[row], finding
        if finding.near is None:
            break
    return best
