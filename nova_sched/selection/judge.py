"""How one host does for a request: the first filter that refuses it and what that compared, or its place among the
hosts that pass."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nova_sched.filters import ALWAYS, BUILT_IN
from nova_sched.filters.compute import CELL_UNREACHABLE
from nova_sched.filters.explanation import Finding, Look, by_words
from nova_sched.hosts.view import HostView
from nova_sched.projection.claim_refusals import OF_GROUP, ClaimRefused
from nova_sched.projection.reason import Reason
from nova_sched.projection.world import World
from nova_sched.selection.chain import FilterChain, filters_for
from nova_sched.selection.claim_rules import CLAIM_RULES, ClaimRules
from nova_sched.selection.decide import Candidate, candidate_of
from nova_sched.selection.policy import Policy
from nova_sched.selection.prefilters import Refused, prefiltered
from nova_sched.selection.scope import Scope
from nova_sched.selection.weigh import Part, PartOf, weigh
from rpc_api.events import SchedulingRequest

#: (Weigher, raw value, what it added to the score) of one host.
Scores = list[tuple[str, float, float]]


class Standing(NamedTuple):
    """The place of a host among the ``of`` hosts that pass: ``rank`` 1 is the best score, and hosts of one score share
    a rank. ``best`` is a host with the best score: the one that the caller names, if it is one of them."""

    rank: int
    of: int
    score: float
    scores: Scores
    best: str
    best_score: float
    best_scores: Scores


class Judged(NamedTuple):
    """``refusal`` is (filter, Reason), None for a host that passes; ``text`` says what the filter compared.
    ``standing`` is None for a host that is refused."""

    refusal: tuple[str, Reason] | None
    text: str
    standing: Standing | None


def judge(
    world: World,
    chain: FilterChain,
    request: SchedulingRequest,
    instance_uuid: str,
    policy: Policy,
    host: str,
    beside: str | None = None,
) -> Judged | None:
    """How a host does for one instance of a request; None for an unknown host. ``beside`` is as for a Standing.
    ``chain`` is the filter chain of the policy over the table of the world. PluginFault if a class of a deployer raises
    an error."""
    table = world.table
    row = table.row_of_host.get(host)
    if row is None:
        return None
    wanted = prefiltered(request, table, policy)
    if isinstance(wanted, Refused):
        return Judged((wanted.filter, wanted.reason), str(wanted.reason), None)
    scope = Scope(table, list(world.projections.values()), world.in_flight, wanted, instance_uuid)
    refusal = _first_refusal(world, wanted, policy, scope, row)
    if refusal is not None:
        look = Look(table, row, wanted, policy, world.projections, scope, ())
        return Judged(refusal, finding_of(policy, look, *refusal).text, None)
    rows = chain.run(wanted, scope).rows
    scores, parts = weigh(table, rows, wanted, scope, policy)
    place = int(np.flatnonzero(rows == row)[0])
    # Where weighers have no value for some host, no host is better than another.
    scores = np.nan_to_num(scores, nan=0.0)
    equals = np.flatnonzero(scores == scores.max())
    named = np.flatnonzero(rows[equals] == table.row_of_host.get(beside or "", -1))
    best = int(equals[named[0] if len(named) else 0])
    return Judged(
        None,
        "",
        Standing(
            int((scores > scores[place]).sum()) + 1,
            len(rows),
            float(scores[place]),
            _at(parts, place),
            table.host_names[int(rows[best])],
            float(scores[best]),
            _at(parts, best),
        ),
    )


def _first_refusal(
    world: World, request: SchedulingRequest, policy: Policy, scope: Scope, row: int
) -> tuple[str, Reason] | None:
    view = HostView(world.table, np.array([row]))
    for filter_ in filters_for(policy, request):
        for refusal in filter_.refusals(view, request, policy, scope):
            if refusal.hosts[0]:
                return filter_.name, refusal.reason
    candidate = candidate_of(ClaimRules(world, scope), row, policy)
    return None if isinstance(candidate, Candidate) else candidate.refusal


def _at(parts: Sequence[Part | PartOf], place: int) -> Scores:
    return [(part.name, *part.at(place)) for part in parts]


def finding_of(policy: Policy, look: Look, name: str, reason: Reason | None) -> Finding:
    """What the filter of a name compared on the host of a Look; CLAIM_RULES is the name for what the log would
    refuse."""
    if name != CLAIM_RULES or reason is None:
        by_name = {each.name: each for each in (*ALWAYS, *policy.filters)}
        return by_name[name].explain(look, reason)
    # What the filters of status and of groups compare, else the meaning of the reason.
    if reason == CELL_UNREACHABLE or reason.code in (ClaimRefused.DOWN, ClaimRefused.DISABLED):
        return BUILT_IN["ComputeFilter"].explain(look, reason)
    if reason.code in OF_GROUP:
        found = BUILT_IN["ServerGroupAffinityFilter"].explain(look, reason)
        return found._replace(text=f"the log would refuse a claim, {reason}; {found.text}")
    return by_words(reason, next(each.meaning for each in ClaimRefused if each == reason.code))
