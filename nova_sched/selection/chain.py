"""The filter chain: from all hosts to the survivors, each refused host with its first reason.

The result of the static filters is kept for each shape of request. It is only
computed again for hosts that the log has touched since, so it is always exact.
The same is done with the scores of the survivors.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nova_sched.filters import ALWAYS, OF_ONE_HOST, Filter, HostView
from nova_sched.projection.pools import have_class
from nova_sched.projection.reason import Reason
from nova_sched.projection.table import Flags, HostTable, RowNumbers
from nova_sched.projection.topology import pools_of
from nova_sched.selection.policy import Policy
from nova_sched.selection.scope import Scope
from nova_sched.selection.weigh import KeptScores, SelectedScores
from nova_sched.weighers.base import Weigher
from rpc_api.events import SchedulingRequest

MAX_SHAPES = 128
#: Up to this many survivors are weighed faster than their kept scores are selected.
FEW = 64
#: Up to this many touched hosts are shown one by one to the filters that have a form for that, which is as exact and
#: faster.
FEW_TOUCHED = 4

#: (filter, Reason, number of hosts) of each reason.
Refusals = list[tuple[str, Reason, int]]
#: (filter, Reason) -> its code, from 1 in the order in which they were first met.
Codes = dict[tuple[str, Reason], int]


class Filtered(NamedTuple):
    """``rows`` are the root rows of the survivors, ascending; ``refusals`` is a list of (filter, Reason, number of
    hosts): those of the static filters, then those of the others, each in the order of the chain. A host that several
    refuse counts under the first. ``total`` is the number of hosts looked at. ``kept`` are the kept scores of exactly
    these survivors, or None."""

    rows: RowNumbers
    refusals: Refusals
    total: int
    kept: KeptScores | SelectedScores | None = None


def shape_of(request: SchedulingRequest, seers: Iterable[Filter | Weigher]) -> tuple[Hashable, ...]:
    """What static filters and weighers read of a request, hashable: equal shapes have equal results."""
    return (is_forced(request), request.check_only, *[each.seen(request) for each in seers])


def seers_of(those: Iterable[Filter | Weigher]) -> list[Filter | Weigher]:
    """The filters or weighers among some that are static and read something of requests."""
    return [each for each in those if each.static and type(each).seen not in (Filter.seen, Weigher.seen)]


def is_forced(request: SchedulingRequest) -> bool:
    """Whether a request skips the enabled filters: its hosts are named by force, and no check is requested."""
    return bool((request.force_hosts or request.force_nodes) and not request.scheduler_hints.get("_nova_check_type"))


def filters_for(policy: Policy, request: SchedulingRequest) -> Sequence[Filter]:
    """The filters that run for a request. If hosts are named by force, the enabled filters are skipped, as in Nova. For
    a rebuild, only those run that need nothing which the instance has already."""
    if request.check_only:
        return [each for each in policy.filters if each.on_rebuild]
    if is_forced(request):
        return ALWAYS
    return policy.filters


def _spread(values: Flags, places: RowNumbers, count: int) -> Flags:
    """A boolean vector of all hosts from that of the hosts at some places."""
    spread = np.zeros(count, bool)
    spread[places] = values
    return spread


class _Met(NamedTuple):
    """The filters that run for a request: those whose results are kept and the others, each in the order of the chain;
    and all filters and weighers that read something of it."""

    static: list[Filter]
    others: list[Filter]
    seers: list[Filter | Weigher]


class _Kept:
    """One shape: the static filters that run for it, and those of them that follow the use of hosts; the code of each
    host (0: it passes, else the number of its reason in ``reasons``), how many hosts have each code, and the survivors:
    their ``places`` among all hosts, their rows, and their scores."""

    __slots__ = (
        "classes",
        "codes",
        "counts",
        "following",
        "places",
        "plain_version",
        "pool_rooms",
        "reasons",
        "rows",
        "scores",
        "static",
        "topology_version",
        "version",
    )

    classes: int
    codes: npt.NDArray[np.int64]
    counts: list[int]
    places: RowNumbers
    #: The version of :attr:`HostTable.plain_touched` then, and for each pool which amounts of the request it has room
    #: for.
    plain_version: int
    pool_rooms: dict[int, tuple[bool, ...]]
    reasons: Codes
    rows: RowNumbers
    scores: KeptScores | None

    def __init__(self, static: list[Filter], request: SchedulingRequest) -> None:
        self.static = static
        self.following = [each for each in static if each.follows(request)]
        self.version = -1
        self.topology_version = -1
        self.plain_version = -1
        self.pool_rooms = {}
        self.scores = None

    def settle(self, roots: RowNumbers) -> None:
        """Take the survivors from the codes."""
        self.places = np.flatnonzero(self.codes == 0)
        self.rows = roots[self.places]
        self.scores = None

    def refusals(self) -> Refusals:
        return [(*reason, self.counts[code]) for reason, code in self.reasons.items() if self.counts[code]]


class FilterChain:
    """The chain of one policy over one table."""

    def __init__(self, table: HostTable, policy: Policy) -> None:
        self.table = table
        self.policy = policy
        self._shapes: OrderedDict[tuple[Hashable, ...], _Kept] = OrderedDict()
        self._seers = seers_of(
            weigher for weigher, multiplier in policy.weighing if multiplier or not weigher.zero_is_off
        )
        self._met: dict[tuple[bool, bool], _Met] = {}

    def run(self, request: SchedulingRequest, scope: Scope) -> Filtered:
        """Filter all hosts for a request."""
        met = self._met_by(request)
        roots = self.table.roots()
        kept = self._static(request, met, roots)
        refusals = kept.refusals()
        hosts = HostView(self.table, roots)
        passes: Flags | None = None
        for filter_ in met.others:
            left = None
            if filter_.costly:
                left = kept.places if passes is None else kept.places[passes]
            for refusal in filter_.refusals(
                hosts if left is None else HostView(self.table, roots[left]), request, self.policy, scope
            ):
                refused = (refusal.hosts if left is None else _spread(refusal.hosts, left, len(roots))).take(
                    kept.places
                )
                if passes is not None:
                    refused &= passes
                count = int(np.count_nonzero(refused))
                if count:
                    refusals.append((filter_.name, refusal.reason, count))
                    passes = ~refused if passes is None else passes & ~refused
        if passes is not None and np.count_nonzero(passes) <= FEW:
            return Filtered(kept.rows[passes], refusals, len(roots))
        if kept.scores is None:
            kept.scores = KeptScores(self.table, kept.rows, request, self.policy, scope)
        if passes is None:
            return Filtered(kept.rows, refusals, len(roots), kept.scores)
        selected = kept.scores.selected(passes)
        return Filtered(selected.of(kept.rows), refusals, len(roots), selected)

    def _met_by(self, request: SchedulingRequest) -> _Met:
        """The filters that run for a request, sorted once for all requests with the same filters."""
        sort = is_forced(request), request.check_only
        if sort not in self._met:
            chain = filters_for(self.policy, request)
            static = [each for each in chain if each.static]
            self._met[sort] = _Met(static, [each for each in chain if not each.static], seers_of(static) + self._seers)
        return self._met[sort]

    def _static(self, request: SchedulingRequest, met: _Met, roots: RowNumbers) -> _Kept:
        """The kept result of the request's shape, up to date."""
        table = self.table
        shape = shape_of(request, met.seers)
        kept = self._shapes.get(shape)
        if kept is None:
            kept = self._shapes[shape] = _Kept(met.static, request)
            if len(self._shapes) > MAX_SHAPES:
                self._shapes.popitem(last=False)
        else:
            self._shapes.move_to_end(shape)
        touched = None
        # A weigher may have looked for this class before, and found it on no host.
        if kept.topology_version == table.topology_version and kept.classes == len(table.classes.values):
            touched = table.touched.since(kept.version)
        if kept.plain_version != table.plain_touched.version:
            crossed = self._crossed_pools(kept, request)
            if touched is not None:
                touched |= crossed
        if touched is None or len(touched) > len(roots) // 8:
            self._renew_all(kept, request, roots)
        elif touched:
            self._renew(kept, request, roots, np.array(sorted(touched), np.int64))
        kept.version = table.touched.version
        kept.plain_version = table.plain_touched.version
        kept.topology_version = table.topology_version
        kept.classes = len(table.classes.values)
        return kept

    def _crossed_pools(self, kept: _Kept, request: SchedulingRequest) -> set[int]:
        """The hosts of the pools that have room for something of the request since the result was kept, or no more. As
        long as it stays so, the use of a pool changes nothing for the hosts that it serves."""
        table, pools = self.table, pools_of(self.table)
        asked = [
            (table.classes.get(resource_class), amount)
            for group in (*request.groups, *request.fallback_groups)
            for resource_class, amount in group.resources
        ]
        # Of a class without an inventory an amount of 1 or more has no room.
        had = {index for index, amount in asked if index >= 0 and (not amount or have_class(table, pools, index))}
        rooms = {
            pool: tuple([index in had and table.row_has_room(pool, index, amount) for index, amount in asked])
            for pool in pools.rows
        }
        crossed = [pool for pool, room in rooms.items() if kept.pool_rooms.get(pool, room) != room]
        kept.pool_rooms = rooms
        if pools.of_host and kept.scores is not None:
            kept.scores.touch_pools()
        return {host for pool in crossed for host in pools.hosts_of(pool).tolist()}

    def _renew_all(self, kept: _Kept, request: SchedulingRequest, roots: RowNumbers) -> None:
        kept.reasons = {}
        kept.codes = self._codes(kept.static, roots, request, kept.reasons)
        kept.counts = np.bincount(kept.codes, minlength=len(kept.reasons) + 1).tolist()
        kept.settle(roots)

    def _renew(self, kept: _Kept, request: SchedulingRequest, roots: RowNumbers, rows: RowNumbers) -> None:
        places, said = roots.searchsorted(rows), self.table.touched.beyond_use_since(kept.version, rows)
        were = kept.codes[places]
        # If only the use of a host changed, and it passed before, it passes all other filters again.
        all_again = said | (were != 0)
        codes = np.zeros(len(rows), np.int64)
        for among, asked in ((all_again, kept.static), (~all_again, kept.following)):
            if among.any():
                codes[among] = self._codes(asked, rows[among], request, kept.reasons, len(rows) <= FEW_TOUCHED)
        kept.counts += [0] * (len(kept.reasons) + 1 - len(kept.counts))
        moved = False
        for before, code in zip(were.tolist(), codes.tolist(), strict=True):
            kept.counts[before] -= 1
            kept.counts[code] += 1
            moved |= (before == 0) != (code == 0)
        kept.codes[places] = codes
        if moved:
            kept.settle(roots)
        elif kept.scores is not None:
            passing = codes == 0
            kept.scores.touch(rows[passing].tolist(), rows[passing & said].tolist())

    def _ask_one_by_one(
        self,
        filter_: Filter,
        rows: RowNumbers,
        codes: npt.NDArray[np.int64],
        request: SchedulingRequest,
        reasons: Codes,
    ) -> None:
        refusal_of_host = OF_ONE_HOST[type(filter_)]
        for place, row in enumerate(rows.tolist()):
            if not codes.item(place):
                reason = refusal_of_host(self.table, row, request)
                if reason is not None:
                    codes[place] = reasons.setdefault((filter_.name, reason), len(reasons) + 1)

    def _codes(
        self, chain: Iterable[Filter], rows: RowNumbers, request: SchedulingRequest, reasons: Codes, few: bool = False
    ) -> npt.NDArray[np.int64]:
        hosts = HostView(self.table, rows)
        codes = np.zeros(len(rows), np.int64)
        for filter_ in chain:
            if few and type(filter_) in OF_ONE_HOST:
                self._ask_one_by_one(filter_, rows, codes, request, reasons)
                continue
            left = np.flatnonzero(codes == 0) if filter_.costly else None
            view = hosts if left is None or len(left) == len(rows) else HostView(self.table, rows[left])
            for refusal in filter_.refusals(view, request, self.policy, None):
                code = reasons.setdefault((filter_.name, refusal.reason), len(reasons) + 1)
                if np.count_nonzero(refusal.hosts):
                    if left is None or view is hosts:
                        codes[(codes == 0) & refusal.hosts] = code
                    else:
                        refused = left[refusal.hosts]
                        codes[refused[codes[refused] == 0]] = code
        return codes
