"""The decision: filter, weigh, draw among equals, look closely, and pick the host and its alternates.

Pure: the answer follows from the table, the projections, the claims in
flight, the request, the policy and the seed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nova_sched.filters.compute import CELL_UNREACHABLE
from nova_sched.fit.providers import Assignment
from nova_sched.projection.reason import Reason
from nova_sched.projection.table import HostTable, RowNumbers
from nova_sched.projection.world import World
from nova_sched.selection.chain import FilterChain, Refusals, is_forced
from nova_sched.selection.claim_rules import CLAIM_RULES, ClaimRules
from nova_sched.selection.draw import Keys, draw, drawn, host_keys
from nova_sched.selection.host_fit import Fitted, Unfit, fit_on
from nova_sched.selection.policy import Policy
from nova_sched.selection.prefilters import Refused, prefiltered
from nova_sched.selection.scope import Scope
from nova_sched.selection.weigh import Part, PartOf, Values, weigh
from rpc_api import events
from rpc_api.events import HostScore, SchedulingRequest

#: Number of hosts beside the chosen one whose scores are recorded.
SCORES_KEPT = 3
#: Number of scores that are searched one by one, best first, before all hosts are sorted.
ROUNDS = 8


class Candidate(NamedTuple):
    """A host that can take the instance: its root row, what would be allocated, the packed Guest of the claim (None
    if it would be empty), the GroupRule that the claim must keep (None without a server group), and its companion in
    the group there (None without one)."""

    row: int
    host: str
    assignment: Assignment
    guest: bytes | None
    rule: events.GroupRule | None
    companion: str | None


class Decision(NamedTuple):
    """``candidates``: the chosen host, then alternates of its cell; empty when no host was found.

    ``refusals`` are (filter, Reason, hosts); with ``survivors`` they add up to ``hosts_total``. ``scores`` are the
    HostScore records of the first candidates and the next best; ``equals`` hosts shared the best score.
    """

    candidates: tuple[Candidate, ...]
    refusals: Refusals
    hosts_total: int
    survivors: int
    equals: int
    scores: tuple[HostScore, ...]

    @property
    def summary(self) -> str:
        """One line for the operator: ``0/1710 hosts: 1200 VCPU, 400 anti-affinity, 110 disabled``."""
        return summarize(self.survivors, self.hosts_total, self.refusals)


def summarize(survivors: int, hosts_total: int, refusals: Iterable[tuple[str, Reason | str, int]]) -> str:
    """The funnel in one line, most frequent reason first. A reason is a Reason, or its text as evidence has it."""
    by_reason: dict[str, int] = {}
    for _, reason, hosts in refusals:
        text = str(reason)
        by_reason[text] = by_reason.get(text, 0) + hosts
    counted = sorted(by_reason.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{hosts} {reason}" for reason, hosts in counted)
    return f"{survivors}/{hosts_total} hosts" + (f": {text}" if text else "")


def unreachable_cells(
    request: SchedulingRequest,
    cells: Iterable[str],
    closed: Iterable[str],
    unknown: Iterable[str],
    refusals: Iterable[tuple[str, Reason | str, int]],
) -> list[str]:
    """Closed cells that may have a host for a request that found none: one of the cell's hosts was refused only because
    the cell is closed, the cell's hosts are not known, or there is no other cell for the request.

    ``cells`` are all cells without cell0; the logs of ``closed`` cells cannot be read or appended to; the hosts of
    ``unknown`` cells are not known. ``refusals`` are the (filter, reason, hosts) of the decision, or of its evidence,
    which has the text of each reason.
    """
    wanted = {request.target_cell} if request.target_cell else {*cells}
    closed = wanted & {*closed}
    refused = any(str(reason) == str(CELL_UNREACHABLE) for _, reason, _ in refusals)
    return sorted(closed) if closed == wanted or closed & {*unknown} or refused else []


def decide(
    world: World,
    chain: FilterChain,
    request: SchedulingRequest,
    instance_uuid: str,
    policy: Policy,
    seed: int,
    attempt: int = 0,
    alternates: int = 0,
) -> Decision:
    """Choose a host for one instance of a request, and up to ``alternates`` more of the same cell. ``chain`` is the
    filter chain of the policy over the table of the world."""
    wanted = prefiltered(request, world.table, policy)
    if isinstance(wanted, Refused):
        total = len(world.table.roots())
        return Decision((), [(*wanted, total)], total, 0, 0, ())
    request = wanted
    scope = Scope(world.table, list(world.projections.values()), world.in_flight, request, instance_uuid)
    filtered = chain.run(request, scope)
    scores, parts = weigh(world.table, filtered.rows, request, scope, policy, filtered.kept)
    refusals = filtered.refusals
    if not len(scores):
        return Decision((), refusals, filtered.total, 0, 0, ())
    greatest = scores.max()
    if np.isnan(greatest):
        refusals.append(_unweighed(world.table, filtered.rows, parts, policy))
        return Decision((), refusals, filtered.total, 0, 0, ())
    best = np.flatnonzero(scores == greatest)
    ranking = _Ranking(ranked(scores, best, lambda tied: host_keys(world.table)[filtered.rows[tied]], seed, attempt))
    rules = ClaimRules(world, scope)
    picked, unfit = _pick(filtered.rows, rules, policy, ranking, seed, attempt, alternates)
    refusals += [(*refusal, hosts) for refusal, hosts in unfit.items()]
    shown = list(dict.fromkeys([*picked, *ranking.first(1 + SCORES_KEPT)]))[: 1 + SCORES_KEPT] if picked else ()
    return Decision(
        tuple(picked.values()),
        refusals,
        filtered.total,
        len(filtered.rows) - unfit.total(),
        len(best),
        tuple(_score_of(world.table, filtered.rows, scores, parts, index) for index in shown),
    )


def _unweighed(
    table: HostTable, rows: RowNumbers, parts: Sequence[Part | PartOf], policy: Policy
) -> tuple[str, Reason, int]:
    """Why the survivors could not be weighed: the reason of the first weigher that fails, for the first such host."""
    part = next(part for part in parts if np.isnan(part.raw).any())
    row = min(rows[np.isnan(part.raw)].tolist(), key=lambda row: table.host_names[row])
    return part.name, Reason(policy.catalogue.weighers[part.name].missing(table, row, policy)), len(rows)


def ranked(
    scores: Values, best: RowNumbers, keys_of: Callable[[RowNumbers], Keys], seed: int, attempt: int
) -> Iterator[int]:
    """Yield indices from the best score to the worst; hosts with equal scores come in a drawn order.

    ``best`` are the indices with the best score; ``keys_of(indices)`` are the numbers of hosts in draws
    (:func:`nova_sched.selection.draw.host_keys`).
    """
    rest, left, tied = scores, len(scores), best
    for number in range(ROUNDS):
        if number:
            tied = np.flatnonzero(rest == rest.max())
        yield from _drawn(tied, keys_of, seed, attempt)
        left -= len(tied)
        if not left:
            return
        if rest is scores:
            rest = scores.copy()
        rest[tied] = -np.inf
    order = np.argsort(-rest, kind="stable")[:left]
    ends = [*(np.flatnonzero(np.diff(rest[order])) + 1).tolist(), left]
    for start, end in zip([0, *ends], ends, strict=False):
        yield from _drawn(order[start:end], keys_of, seed, attempt)


def _drawn(tied: RowNumbers, keys_of: Callable[[RowNumbers], Keys], seed: int, attempt: int) -> Iterator[int]:
    if len(tied) == 1:
        yield int(tied[0])
        return
    for place in drawn(keys_of(tied), seed, attempt):
        yield int(tied[place])


class _Ranking:
    """Indices of the survivors in their order; can be iterated, and read from the beginning again."""

    def __init__(self, order: Iterator[int]) -> None:
        self._order = order
        self._seen: list[int] = []

    def __iter__(self) -> "_Ranking":
        return self

    def __next__(self) -> int:
        index = next(self._order)
        self._seen.append(index)
        return index

    def first(self, count: int) -> list[int]:
        """The first indices, whether they were iterated already or not."""
        while len(self._seen) < count and next(self, None) is not None:
            pass
        return self._seen[:count]


def _pick(
    rows: RowNumbers, rules: ClaimRules, policy: Policy, ranking: _Ranking, seed: int, attempt: int, alternates: int
) -> tuple[dict[int, Candidate], Counter[tuple[str, Reason]]]:
    """The candidates by their index, the chosen one first. Also the number of hosts that were ranked higher and do not
    fit when looked at closely, or would be refused by the log, by filter and reason."""
    table = rules.table
    first: dict[int, Candidate] = {}
    unfit: Counter[tuple[str, Reason]] = Counter()
    for index in ranking:
        candidate = candidate_of(rules, int(rows[index]), policy)
        if not isinstance(candidate, Candidate):
            unfit[candidate.refusal] += 1
            continue
        first[index] = candidate
        if len(first) == policy.host_subset_size:
            break
    if not first:
        return {}, unfit
    chosen = list(first)[draw(seed + 1, attempt, len(first)) if len(first) > 1 else 0]
    cell = table.cell[first[chosen].row]
    picked = {chosen: first.pop(chosen)}
    picked.update((index, candidate) for index, candidate in first.items() if table.cell[candidate.row] == cell)
    picked = dict(list(picked.items())[: alternates + 1])
    while len(picked) <= alternates:
        following = next(ranking, None)
        if following is None:
            break
        row = int(rows[following])
        alternate = candidate_of(rules, row, policy) if table.cell[row] == cell else None
        if isinstance(alternate, Candidate):
            picked[following] = alternate
    return picked, unfit


def candidate_of(rules: ClaimRules, row: int, policy: Policy) -> Candidate | Unfit:
    """Look closely at one host; Unfit if the parts of the request do not fit on it together, or if the log would refuse
    the claim."""
    table, request, rule = rules.table, rules.request, rules.rule_on(row)
    checked = policy.check_claims and not request.check_only
    companion = None if rule is None else rules.companion_on(row)
    refusal = rules.refusal_on(row, rule, companion) if checked else None
    if refusal is not None:
        return Unfit((CLAIM_RULES, refusal))
    fitted = Fitted(Assignment((), {})) if request.check_only else fit_on(table, row, request, policy)
    if isinstance(fitted, Unfit):
        return fitted
    if checked and (request.numa is not None or request.pci):
        # Only devices: amounts alone are fitted by the columns that the log compares them with.
        refusal = rules.refusal_of(row, fitted.assignment.allocations, fitted.guest)
        if refusal is not None:
            return Unfit((CLAIM_RULES, refusal))
    return Candidate(row, table.host_names[row], fitted.assignment, fitted.guest, rule, companion)


def claim_of(
    claim_uuid: str,
    instance_uuid: str,
    request: SchedulingRequest,
    chosen: Candidate,
    consumer_generation: int | None = None,
    caller: str | None = None,
) -> events.ClaimProposed:
    """The claim of an instance on its chosen host; with a generation beside what it holds already. ``caller`` is the
    user who sent the request."""
    return events.ClaimProposed(
        claim_uuid,
        instance_uuid,
        instance_uuid,
        request.request_id,
        request.project_id,
        chosen.host,
        chosen.assignment.allocations,
        chosen.rule,
        is_forced(request),
        chosen.guest,
        chosen.companion,
        consumer_generation,
        user_of(request, caller),
    )


def user_of(request: SchedulingRequest, caller: str | None) -> str | None:
    """The user of the consumer: that of the request, else the one who sent it, as in Nova."""
    return request.user_id or caller or None


def _score_of(
    table: HostTable, rows: RowNumbers, scores: Values, parts: Sequence[Part | PartOf], index: int
) -> HostScore:
    """The HostScore of one survivor."""
    return events.HostScore(
        table.host_names[rows[index]],
        float(scores[index]),
        tuple(events.WeigherScore(part.name, *part.at(index)) for part in parts),
    )
