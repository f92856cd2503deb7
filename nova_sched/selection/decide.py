"""The decision: filter, weigh, draw among equals, look closely, and pick the host and its alternates.

Pure: the answer follows from the table, the projections, the claims in
flight, the request, the policy and the seed.
"""

from typing import NamedTuple

import numpy as np

from nova_sched import weighers
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.ledger import MEMBER, SPREAD, TOGETHER
from nova_sched.selection.chain import FilterChain, Filtered
from nova_sched.selection.draw import draw
from nova_sched.selection.fit import Assignment, allocate
from nova_sched.selection.scope import Scope
from rpc_api import events

#: How many hosts beside the chosen one have their scores recorded.
SCORES_KEPT = 3
#: How many of the best hosts are sorted at once.
BATCH = 32


class Cloud(NamedTuple):
    """All that a decision looks at: one table, the projection of each cell, the claims in flight, the filter chain."""

    table: object
    projections: dict
    in_flight: InFlight
    chain: FilterChain


class Candidate(NamedTuple):
    """A host that can take the instance: its root row, what would be allocated, and the group rule of the claim."""

    row: int
    host: str
    assignment: Assignment
    rule: object


class Decision(NamedTuple):
    """``candidates``: the chosen host, then alternates of its cell; empty when no host was found.

    ``refusals`` are (filter, reason, hosts); with ``survivors`` they add up to ``hosts_total``. ``scores`` are the
    HostScore records of the first candidates and the next best; ``equals`` hosts shared the best score.
    """

    candidates: tuple
    refusals: list
    hosts_total: int
    survivors: int
    equals: int
    scores: tuple

    @property
    def summary(self) -> str:
        """One line for the operator: ``0/1710 hosts: 1200 VCPU, 400 anti-affinity, 110 disabled``."""
        return summarize(self.survivors, self.hosts_total, self.refusals)


def summarize(survivors, hosts_total, refusals) -> str:
    """The funnel in one line, most frequent reason first."""
    by_reason = {}
    for _, reason, hosts in refusals:
        by_reason[reason] = by_reason.get(reason, 0) + hosts
    counted = sorted(by_reason.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{hosts} {reason}" for reason, hosts in counted)
    return f"{survivors}/{hosts_total} hosts" + (f": {text}" if text else "")


def decide(cloud: Cloud, request, instance_uuid: str, policy, seed: int, attempt: int = 0, alternates: int = 0) -> Decision:
    """Choose a host for one instance of a request, and up to ``alternates`` more of the same cell."""
    scope = Scope(cloud.table, list(cloud.projections.values()), cloud.in_flight, request, instance_uuid)
    filtered = cloud.chain.run(request, scope)
    scores, parts = weigh(cloud.table, filtered.rows, request, scope, policy)
    candidates, unfit, equals = [], 0, 0
    if len(scores):
        equals = int((scores == scores.max()).sum())
        candidates, unfit = _pick(cloud, request, policy, filtered, scores, seed, attempt, alternates)
    refusals = list(filtered.refusals)
    if unfit:
        refusals.append(("ResourceFilter", "request groups together", unfit))
    kept = _scores_of(cloud.table, filtered.rows, scores, parts, candidates)
    return Decision(tuple(candidates), refusals, filtered.total, len(filtered.rows) - unfit, equals, kept)


def weigh(table, rows, request, scope, policy):
    """Scores of the survivors (float64, shape [hosts]) and, for each weigher that applied, (name, raw, weighed)."""
    scores, parts = np.zeros(len(rows)), []
    if len(rows) < 2:
        return scores, parts
    for name, multiplier in policy.weighers:
        weigher = weighers.BUILT_IN[name]
        raw = weigher.raw(table, rows, request, scope)
        if raw is None:
            continue
        factor = weighers.multipliers(weigher, table, rows, multiplier)
        if np.ndim(factor) == 0 and factor == 0:
            continue
        weighed = factor * weighers.normalized(raw, weigher.floor)
        parts.append((name, raw, weighed))
        scores += weighed
    return scores, parts


def ranked(scores: np.ndarray, seed: int, attempt: int):
    """Yield indices from the best score to the worst; where scores are equal, from a drawn place on, round."""
    count = len(scores)
    start = draw(seed, attempt, count)
    best = np.flatnonzero(scores == scores.max())
    cut = int(np.searchsorted(best, start))
    yield from map(int, best[cut:])
    yield from map(int, best[:cut])
    done, wanted = len(best), BATCH
    turn = (np.arange(count) - start) % count
    while done < count:
        # Everything from the score that closes the batch upward: a set that does not depend on how it was sorted.
        bound = np.partition(scores, count - min(count, done + wanted))[count - min(count, done + wanted)]
        rest = np.flatnonzero(scores >= bound)
        order = rest[np.lexsort((turn[rest], -scores[rest]))]
        yield from map(int, order[done:])
        done, wanted = len(order), wanted * 8


def _pick(cloud, request, policy, filtered: Filtered, scores, seed, attempt, alternates):
    """The candidates, best first, and how many hosts the close look refused on the way to the first."""
    table = cloud.table
    order = ranked(scores, seed, attempt)
    first, unfit = [], 0
    for index in order:
        candidate = candidate_of(table, int(filtered.rows[index]), request)
        if candidate is None:
            unfit += 1
            continue
        first.append(candidate)
        if len(first) == policy.host_subset_size:
            break
    if not first:
        return [], unfit
    chosen = first.pop(draw(seed + 1, attempt, len(first)) if len(first) > 1 else 0)
    cell = table.cell[chosen.row]
    picked = [chosen, *(one for one in first if table.cell[one.row] == cell)][:alternates + 1]
    if len(picked) <= alternates:
        for index in order:
            row = int(filtered.rows[index])
            if table.cell[row] == cell:
                candidate = candidate_of(table, row, request)
                if candidate is not None:
                    picked.append(candidate)
                    if len(picked) > alternates:
                        break
    return picked, unfit


def candidate_of(table, row: int, request) -> Candidate | None:
    """Look closely at one host; None when the groups of the request do not fit it together."""
    assignment = allocate(table, row, request)
    if assignment is None:
        return None
    return Candidate(row, table.host_names[row], assignment, None)


def rule_of(table, candidate: Candidate, request, instance_uuid: str):
    """The GroupRule that a claim on this host must keep; None without a server group."""
    group = request.server_group
    if group is None:
        return None
    if group.policy == "fault-domain":
        domain = table.domains(group.scope)[candidate.row]
        return events.GroupRule(group.uuid, SPREAD, domain, group.partition or instance_uuid, group.limit)
    policy = {"anti-affinity": SPREAD, "affinity": TOGETHER}.get(group.policy, MEMBER)
    limit = group.limit if policy == SPREAD else 0
    return events.GroupRule(group.uuid, policy, candidate.host, instance_uuid, limit)


def _scores_of(table, rows, scores, parts, candidates):
    """HostScore records: the candidates, then the best of the others."""
    if not len(scores):
        return ()
    wanted = [int(np.searchsorted(rows, candidate.row)) for candidate in candidates]
    kept = []
    for index in wanted[:1 + SCORES_KEPT]:
        kept.append(events.HostScore(table.host_names[rows[index]], float(scores[index]), tuple(
            events.WeigherScore(name, float(raw[index]), float(weighed[index])) for name, raw, weighed in parts)))
    return tuple(kept)
