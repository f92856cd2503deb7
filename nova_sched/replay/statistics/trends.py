"""The state of a cloud over time: one row for each interval, from the logs alone."""

from collections import Counter
from typing import NamedTuple

from nova_sched.projection.claim_refusals import is_conflict
from nova_sched.projection.host_status import counts_of
from nova_sched.replay.logs.moments import time_of
from nova_sched.replay.logs.reading import decoded_records
from nova_sched.replay.state.hosts import Sums
from nova_sched.replay.statistics.intervals import starts_between
from rpc_api.codec import Event


class TrendRow(NamedTuple):
    """The end of an interval: hosts by status, instances (consumers), resource class -> (used, capacity); and what
    happened in it: decisions, those without a host, claims of schedulers that lost, builds that failed, and ``losses``
    of hosts."""

    at_ns: int
    hosts: dict
    instances: int
    amounts: dict
    decisions: int
    no_valid_host: int
    conflicts: int
    failed_builds: int
    losses: int


def trends(history, first: dict, last: dict, interval_ns: int, unknown: dict) -> list[TrendRow]:
    """Fold the records from the positions ``first`` to ``last`` of each cell, and return a row for each interval that
    has a record, and for those between them, in their order. A cell without a record in an interval, or in all of them,
    has the state of before.

    A cell whose state before the range is not known is left out, and noted in ``unknown``. UsageError for too many
    intervals."""
    steps, counts, known = {}, {}, {}
    for cell in sorted(first):
        world = history.world_at({cell: first[cell] - 1}, unknown)
        if cell in world.projections:
            known[cell] = _state(world.projections[cell])
            _fold_cell(history, world.projections[cell], cell, last[cell], interval_ns, steps, counts)
    rows = []
    for start in starts_between(steps, interval_ns):
        known.update(steps.get(start, {}))
        rows.append(_row(start + interval_ns, known, counts.get(start, Counter())))
    return rows


def _fold_cell(history, projection, cell, last, interval_ns, steps, counts):
    """Note the state of a cell at the end of each interval, and count what happened in it."""
    current = None
    for position, record in decoded_records(history.logs[cell], projection.position + 1, last):
        at_ns = time_of(record.events)
        if at_ns is not None:
            start = at_ns // interval_ns * interval_ns
            # (A clock that is behind does not go back to an earlier interval.)
            if current is not None and start > current:
                steps.setdefault(current, {})[cell] = _state(projection)
            current = start if current is None else max(current, start)
        outcomes, _ = projection.fold([(position, record)])
        if current is not None:
            _count(counts.setdefault(current, Counter()), record, outcomes)
    if current is not None:
        steps.setdefault(current, {})[cell] = _state(projection)
    history.folded(projection)


def _count(counted, record, outcomes):
    counted["conflicts"] += sum(
        outcome.reason is not None and is_conflict(outcome.reason) and outcome.producer.startswith("scheduler/")
        for outcome in outcomes
    )
    for event in record.events:
        if isinstance(event, Event):
            counted["decisions"] += event.name == "DecisionMade"
            counted["no_valid_host"] += event.name == "DecisionMade" and event.data.outcome != "selected"
            counted["failed_builds"] += event.name == "BuildFailed"
            counted["losses"] += event.name == "HostLost"


def _state(projection):
    """(Hosts by status, instances, resource class -> (used, capacity)) of one log; its table has no other one."""
    sums = Sums(projection.table)
    amounts = {}
    for host in projection.hosts.values():
        for name, (used, capacity) in sums.of(host.root).items():
            before = amounts.get(name, (0, 0))
            amounts[name] = before[0] + used, before[1] + capacity
    return counts_of(projection), len(projection.consumers), amounts


def _row(at_ns, known, counted):
    hosts, instances, amounts = Counter(), 0, {}
    for of_status, held, of_class in known.values():
        hosts.update(of_status)
        instances += held
        for name, (used, capacity) in of_class.items():
            before = amounts.get(name, (0, 0))
            amounts[name] = before[0] + used, before[1] + capacity
    return TrendRow(
        at_ns,
        dict(hosts),
        instances,
        amounts,
        *(counted[name] for name in ("decisions", "no_valid_host", "conflicts", "failed_builds", "losses")),
    )
