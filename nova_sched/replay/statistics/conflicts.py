"""Conflicts between schedulers: claims that lost, because another claim or write came first in the log."""

from collections import Counter
from typing import NamedTuple

from nova_sched.projection.claim_refusals import OF_CONSUMER, OF_GROUP, ClaimRefused, is_conflict
from nova_sched.projection.reason import Reason, kind_of
from nova_sched.replay.logs.matching import consumers_in
from nova_sched.replay.logs.reading import records_between
from nova_sched.replay.statistics.intervals import starts_between
from nova_sched.replay.statistics.places import add_places, mark_of
from rpc_api import codec
from rpc_api.codec import Event


class Conflict(NamedTuple):
    """A claim of a scheduler that was refused because another one came first: which scheduler lost it, and which
    producer had the last accepted claim or write before it, on that host, in that server group, or for that consumer
    (None: no such one is known)."""

    at_ns: int
    cell: str
    position: int
    host: str
    reason: Reason
    lost_by: str
    won_by: str | None


class Conflicts(NamedTuple):
    """The conflicts in a range of logs, the number of claims of schedulers, by (cell, host) and by interval (start in
    ns), and the number of those that were ``refused`` for another reason than a conflict."""

    found: list
    by_host: Counter
    by_interval: Counter
    refused: Counter

    @property
    def claims(self) -> int:
        """The number of claims of schedulers."""
        return self.by_host.total()


def conflicts_in(
    history, first: dict, last: dict, interval_ns: int | None, unknown: dict, host: str | None = None
) -> Conflicts:
    """Fold the records from the positions ``first`` to ``last`` of each cell, and return the Conflicts in them; with
    ``host`` those of this host alone.

    A cell whose state before the range is not known is left out, and noted in ``unknown``."""
    result = Conflicts([], Counter(), Counter(), Counter())
    for cell in sorted(first):
        if first[cell] > last[cell]:
            continue
        projection = history.world_at({cell: first[cell] - 1}, unknown).projections.get(cell)
        if projection is None:
            continue
        winners = {}
        for record in records_between(history.logs[cell], first[cell], last[cell]):
            decoded = codec.decode_record(record.payload, record.account)
            projection.writes, places = [], {}
            outcomes, _ = projection.fold([(record.position, decoded)])
            add_places(projection, decoded, places)
            reasons = {outcome.claim_uuid: outcome.reason for outcome in outcomes}
            written = {tuple(write[1:4]) for write in projection.writes if write.reason is None}
            for event in decoded.events:
                if not isinstance(event, Event):
                    continue
                if event.name == "ClaimProposed" and event.data.claim_uuid in reasons:
                    if host is None or event.data.host == host:
                        _count(result, winners, cell, record.position, event, reasons, interval_ns)
                    if reasons[event.data.claim_uuid] is None:
                        _won(winners, event)
                elif mark_of(event) in written:
                    _written(winners, event, places.get(mark_of(event)))
        history.folded(projection)
    return result


_GROUP, _CONSUMER = "group", "consumer"


def _won(winners, event):
    """Note an accepted claim as the last one on its host, in its group and for its consumer."""
    data = event.data
    winners[data.host] = winners[_CONSUMER, data.consumer_uuid] = event.producer
    if data.rule is not None:
        winners[_GROUP, data.rule.group_uuid] = event.producer


def _written(winners, event, places):
    """Note an accepted write of Placement's API as the last one on its hosts and for its consumers."""
    dropped = (event.data.consumer_uuid,) if event.name == "AllocationsDropped" else ()
    for consumer in (*dropped, *(each.consumer_uuid for each in consumers_in(event.data))):
        winners[_CONSUMER, consumer] = event.producer
    for host in places.hosts if places is not None else ():
        winners[host] = event.producer


def _count(result, winners, cell, position, event, reasons, interval_ns):
    """Count a claim of a scheduler, and note it if it lost."""
    data, reason = event.data, reasons[event.data.claim_uuid]
    if not event.producer.startswith("scheduler/"):
        return
    result.by_host[cell, data.host] += 1
    if interval_ns is not None:
        result.by_interval[event.at_ns // interval_ns * interval_ns] += 1
    if reason is None:
        return
    if not is_conflict(reason):
        result.refused[_kind(reason)] += 1
        return
    if reason.code in OF_CONSUMER:
        won_by = winners.get((_CONSUMER, data.consumer_uuid))
    else:
        # (A rule of the group may be broken by a member on another host.)
        group = data.rule.group_uuid if data.rule is not None and reason.code in OF_GROUP else None
        won_by = winners.get((_GROUP, group)) or winners.get(data.host)
    result.found.append(Conflict(event.at_ns, cell, position, data.host, reason, event.producer, won_by))


def _kind(reason):
    """The words under which a reason is counted: the resource class is one of them, other facts are not."""
    return str(reason) if reason.code == ClaimRefused.NO_ROOM else kind_of(reason.code)


def counted(conflicts: Conflicts, by: str, interval_ns: int | None = None) -> list[dict]:
    """Return one row for each host, pair of schedulers, reason or interval, the most conflicts first (intervals in
    their order, those without a claim too). ``share`` is the share of the claims of that host or interval that lost, in
    percent."""
    keys = {
        "host": lambda one: (one.cell, one.host),
        "pair": lambda one: (one.lost_by, one.won_by),
        "reason": lambda one: (_kind(one.reason),),
        "time": lambda one: (one.at_ns // interval_ns * interval_ns,),
    }
    names = {"host": ("cell", "host"), "pair": ("lost_by", "won_by"), "reason": ("reason",), "time": ("time",)}
    counts = Counter(keys[by](one) for one in conflicts.found)
    rows = []
    if by == "time":
        order = [((at_ns,), counts[(at_ns,)]) for at_ns in starts_between(conflicts.by_interval, interval_ns)]
    else:
        order = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    for key, count in order:
        row = {**dict(zip(names[by], key, strict=True)), "conflicts": count}
        if by in ("host", "time"):
            row["claims"] = conflicts.by_host[key] if by == "host" else conflicts.by_interval[key[0]]
            row["share"] = round(100 * count / row["claims"], 1) if row["claims"] else 0.0
        rows.append(row)
    return rows
