"""Conflicts between schedulers: claims that lost, because another one came first in the log."""

from collections import Counter
from typing import NamedTuple

from nova_sched.projection.claim_refusals import OF_GROUP, ClaimRefused
from nova_sched.projection.reason import template_of
from nova_sched.replay.logs.reading import records_between
from rpc_api import codec
from rpc_api.codec import Event


class Conflict(NamedTuple):
    """A claim of a scheduler that was refused: which scheduler lost it, and which producer had the last accepted claim
    on that host, or in that server group, before it (None: no claim is known)."""

    at_ns: int
    cell: str
    position: int
    host: str
    reason: str
    lost_by: str
    won_by: str | None


class Conflicts(NamedTuple):
    """The conflicts in a range of logs, and the number of claims of schedulers: all, by (cell, host), and by interval
    (start in ns)."""

    found: list
    claims: int
    by_host: Counter
    by_interval: Counter


def conflicts_in(history, first: dict, last: dict, interval_ns: int | None, unknown: dict) -> Conflicts:
    """Fold the records from the positions ``first`` to ``last`` of each cell, and return the Conflicts in them.

    A cell whose state before the range is not known is left out, and noted in ``unknown``."""
    result = Conflicts([], 0, Counter(), Counter())
    claims = 0
    for cell in sorted(first):
        if first[cell] > last[cell]:
            continue
        projection = history.world_at({cell: first[cell] - 1}, unknown).projections.get(cell)
        if projection is None:
            continue
        winners = {}
        for record in records_between(history.logs[cell], first[cell], last[cell]):
            decoded = codec.decode_record(record.payload, record.account)
            outcomes, _ = projection.fold([(record.position, decoded)])
            reasons = {outcome.claim_uuid: outcome.reason for outcome in outcomes}
            for event in decoded.events:
                if isinstance(event, Event) and event.name == "ClaimProposed" and event.data.claim_uuid in reasons:
                    claims += _see(result, winners, cell, record.position, event, reasons, interval_ns)
        history.folded(projection)
    return result._replace(claims=claims)


def _see(result, winners, cell, position, event, reasons, interval_ns):
    """Count a claim; 1 for one of a scheduler."""
    data, reason = event.data, reasons[event.data.claim_uuid]
    group = data.rule.group_uuid if data.rule is not None else None
    is_schedulers = event.producer.startswith("scheduler/")
    if is_schedulers:
        result.by_host[cell, data.host] += 1
        if interval_ns is not None:
            result.by_interval[event.at_ns // interval_ns * interval_ns] += 1
    if reason is None:
        winners[data.host] = event.producer
        if group is not None:
            winners[None, group] = event.producer
    elif is_schedulers:
        # (A rule of the group may be broken by a member on another host.)
        of_group = winners.get((None, group)) if reason.code in OF_GROUP else None
        result.found.append(
            Conflict(
                event.at_ns,
                cell,
                position,
                data.host,
                str(reason) if reason.code == ClaimRefused.NO_ROOM else template_of(reason.code),
                event.producer,
                of_group or winners.get(data.host),
            )
        )
    return int(is_schedulers)


def counted(conflicts: Conflicts, by: str, interval_ns: int | None = None) -> list[dict]:
    """Return one row for each host, pair of schedulers, reason or interval, the most conflicts first (intervals in
    their order). ``share`` is the share of the claims of that host or interval that lost, in percent."""
    keys = {
        "host": lambda one: (one.cell, one.host),
        "pair": lambda one: (one.lost_by, one.won_by),
        "reason": lambda one: (one.reason,),
        "time": lambda one: (one.at_ns // interval_ns * interval_ns,),
    }
    names = {"host": ("cell", "host"), "pair": ("lost_by", "won_by"), "reason": ("reason",), "time": ("time",)}
    counts = Counter(keys[by](one) for one in conflicts.found)
    rows = []
    if by == "time":
        order = [((at_ns,), counts[(at_ns,)]) for at_ns in sorted(conflicts.by_interval)]
    else:
        order = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    for key, count in order:
        row = {**dict(zip(names[by], key, strict=True)), "conflicts": count}
        if by in ("host", "time"):
            row["claims"] = conflicts.by_host[key] if by == "host" else conflicts.by_interval[key[0]]
            row["share"] = round(100 * count / row["claims"], 1) if row["claims"] else 0.0
        rows.append(row)
    return rows
