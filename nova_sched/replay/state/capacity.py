"""How many more instances of one kind fit into the cloud, and which resource runs out first.

Without a server group the answer for a host does not depend on other hosts, unless they share a pool. So each host is
filled alone: claims are put in flight there, one after the other, until the filters or the close fit refuse the next
one. A host of one provider that is asked for amounts alone needs no filling: a division gives the same answer. Hosts
that share a pool are filled again, one after the other, for the number of all together.
"""

import uuid
from collections import Counter
from typing import NamedTuple

import numpy as np

from nova_sched.filters import ALWAYS, BUILT_IN, HostView, Reason
from nova_sched.filters.resources import LACKING
from nova_sched.hosts.aggregates import host_aggregates
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.table import AMOUNTS
from nova_sched.projection.topology import pools_of, providers_of
from nova_sched.selection.chain import filters_for
from nova_sched.selection.claim_rules import CLAIM_RULES, ClaimRules
from nova_sched.selection.decide import Candidate, candidate_of
from nova_sched.selection.policy import Policy
from nova_sched.selection.prefilters import Refused, prefiltered
from nova_sched.selection.scope import Scope
from rpc_api import errors, events

#: Filters that do not depend on the claims on a host, if there is no server group.
_STEADY = frozenset(
    {
        "DestinationFilter",
        "CellFilter",
        "AvailabilityZoneFilter",
        "ComputeStatusFilter",
        "ComputeFilter",
        "ImagePropertiesFilter",
        "ServerGroupFaultDomainFilter",
        "ServerGroupAntiAffinityFilter",
        "ServerGroupAffinityFilter",
        "AggregateImagePropertiesIsolation",
        "AggregateInstanceExtraSpecsFilter",
        "AggregateMultiTenancyIsolation",
        "AggregateTypeAffinityFilter",
        "AllHostsFilter",
        "IsolatedHostsFilter",
        "MetricsFilter",
        "DifferentHostFilter",
        "SameHostFilter",
        "SimpleCIDRAffinityFilter",
    }
)
#: Filters that accept every host on which the close fit finds room, if they accepted the host when it was empty.
_CLOSE = frozenset({"ResourceFilter", "NUMATopologyFilter", "PciPassthroughFilter"})
#: Filters that read only the facts of a host that :meth:`_Filling._likeness` compares.
_ALIKE = _CLOSE | {
    "IoOpsFilter",
    "NumInstancesFilter",
    "AggregateIoOpsFilter",
    "AggregateNumInstancesFilter",
    "RamFilter",
    "CoreFilter",
    "DiskFilter",
}
_NAMESPACE = uuid.UUID("4f1d7a3e-0c6f-4f0e-9a51-6f6f2e7b7a10")


class HostCapacity(NamedTuple):
    """A host: how many ``fits``, the (``filter``, ``reason``) that refuses the next one, and the amounts ``left``
    then. The amounts of its ``shared`` classes include those of pools, which other hosts use, too."""

    cell: str
    host: str
    row: int
    fits: int
    filter: str
    reason: str
    left: dict
    shared: frozenset = frozenset()


def capacity(world, request, policy: Policy | None = None) -> list[HostCapacity]:
    """Return a :class:`HostCapacity` for each host of a world, by cell and name; the request has no server group."""
    table, policy = world.table, policy or Policy()
    roots = table.roots()
    request = prefiltered(request, table, policy)
    if isinstance(request, Refused):
        refusals = [tuple(request)] * len(roots)
        return _answers(
            world, roots, [0] * len(roots), refusals, np.zeros((len(table.classes.values), len(roots)), np.int64)
        )
    fill = _Filling(world, request, policy)
    refusals = fill.refusals(roots)
    # (Making it may have added classes to the table that no host has.)
    counts, taken = [0] * len(roots), np.zeros((len(table.classes.values), len(roots)), np.int64)
    plain = fill.plain_counts(roots) if fill.is_plain else None
    for place, row in enumerate(roots.tolist()):
        if refusals[place] is not None:
            continue
        if plain is not None and len(providers_of(table, row)) == 1:
            counts[place] = int(plain[0][place])
            refusals[place] = ("ResourceFilter", Reason(LACKING, (fill.classes[int(plain[1][place])],)))
            for index, amount in fill.indexed:
                taken[index, place] = amount * counts[place]
        else:
            counts[place], refusals[place] = fill.fill(row, taken[:, place])
    return _answers(world, roots, counts, refusals, taken)


def together(world, request, answers, policy: Policy | None = None) -> int:
    """Return how many more fit on all hosts together. The ``answers`` are of each host alone (see :func:`capacity`)."""
    table, policy = world.table, policy or Policy()
    sharing = pools_of(table).of_host
    total = sum(answer.fits for answer in answers if answer.row not in sharing)
    shared = [answer for answer in answers if answer.row in sharing and answer.fits]
    if not shared:
        return total
    fill = _Filling(world, prefiltered(request, table, policy), policy)
    claims = []
    try:
        for answer in shared:
            claims += fill.claimed(answer.row, np.zeros(len(table.classes.values), np.int64))[0]
    finally:
        for claim_uuid in claims:
            fill.in_flight.remove(claim_uuid)
    return total + len(claims)


def _free_of(table, index, row):
    return sum(int(table.free[index, provider]) for provider in providers_of(table, row))


def _answers(world, roots, counts, refusals, taken):
    table = world.table
    names = table.classes.values
    free = (
        np.stack(
            [
                np.array(
                    [
                        sum(int(table.free[index, provider]) for provider in providers_of(table, row))
                        for row in roots.tolist()
                    ],
                    np.int64,
                )
                if table.nested_rows or pools_of(table).of_host
                else table.free[index, roots]
                for index in range(len(names))
            ]
        )
        if names
        else taken
    )
    left = free - taken
    has = {index: np.flatnonzero(table.step_size[index, : table.count]) for index in range(len(names))}
    of_host = {index: set(table.root[rows].tolist()) for index, rows in has.items()}
    served = {index: _served(table, rows) for index, rows in has.items()}
    answers = [
        HostCapacity(
            table.cells.values[table.cell[row]],
            table.host_names[row],
            row,
            counts[place],
            *map(str, refusals[place]),
            {
                name: int(left[index, place])
                for index, name in enumerate(names)
                if row in of_host[index] or row in served[index]
            },
            frozenset(name for index, name in enumerate(names) if row in served[index]),
        )
        for place, row in enumerate(roots.tolist())
    ]
    return sorted(answers, key=lambda answer: answer[:2])


def _served(table, rows):
    """The root rows of the hosts that some of these rows serve as pools."""
    pools, hosts = pools_of(table).pairs
    return set(hosts[np.isin(pools, rows)].tolist())


class _Filling:
    """Puts claims of one request in flight on hosts, one host after the other."""

    def __init__(self, world, request, policy):
        self.table, self.request, self.policy = world.table, request, policy
        self.in_flight = InFlight(world.table)
        self.filters = filters_for(policy, request)
        self.scope = Scope(world.table, list(world.projections.values()), self.in_flight, request, _uuid(0))
        self.rules = ClaimRules(world._replace(in_flight=self.in_flight), self.scope)
        self.unsteady = [filter_ for filter_ in self.filters if not _is_steady(filter_, request)]
        #: Filters that must run after each claim.
        self.counting = [filter_ for filter_ in self.unsteady if filter_.name not in _CLOSE or not _is_own(filter_)]
        self.has_likeness = all(filter_.name in _ALIKE and _is_own(filter_) for filter_ in self.unsteady) and not any(
            group.in_tree for group in (*request.groups, *request.fallback_groups)
        )
        self.minds_aggregates = bool(self.counting) or any(
            group.member_of or group.forbidden_aggregates for group in (*request.groups, *request.fallback_groups)
        )
        self.number = 0
        self.known = {}
        #: Whether only the amounts of one group of resources decide how many fit.
        self.is_plain = (
            request.numa is None
            and not request.pci
            and not request.fallback_groups
            and len(request.groups) == 1
            and not request.groups[0].suffix
            and bool(request.groups[0].resources)
            and all(amount for _, amount in request.groups[0].resources)
            and [filter_.name for filter_ in self.unsteady] == ["ResourceFilter"]
        )
        amounts = request.groups[0].resources if self.is_plain else ()
        self.classes = [name for name, _ in amounts]
        self.indexed = [(self.table.class_index(name), amount) for name, amount in amounts]

    def refusals(self, rows):
        """Return the first (filter, reason) of the chain that refuses each host, None for hosts that pass."""
        found = [None] * len(rows)
        left = np.arange(len(rows))
        for filter_ in self.filters:
            if not len(left):
                break
            refused = np.zeros(len(left), bool)
            for refusal in filter_.refusals(HostView(self.table, rows[left]), self.request, self.policy, self.scope):
                for place in left[refusal.hosts & ~refused].tolist():
                    found[place] = filter_.name, refusal.reason
                refused |= refusal.hosts
            left = left[~refused]
        for place in left.tolist() if self.policy.check_claims else ():
            refusal = self.rules.refusal_on(rows[place], self.rules.rule_on(rows[place]))
            found[place] = refusal and (CLAIM_RULES, refusal)
        return found

    def plain_counts(self, rows):
        """Return how many fit on hosts of one provider, and which class runs out first (int64, shape [hosts] each)."""
        fits = np.stack([self.table.free[index, rows] // amount for index, amount in self.indexed])
        return fits.min(axis=0), fits.argmin(axis=0)

    def fill(self, row, taken):
        """Return how many fit on a host, and what refuses the next one; ``taken`` (int64, shape [classes]) is the sum
        that they take. The host is unchanged afterwards. Of equal hosts only one is filled."""
        likeness = self._likeness(row) if self.has_likeness else None
        known = self.known.get(likeness)
        if known is None:
            known = (*self._filled(row, taken), taken.copy())
            if likeness is not None:
                self.known[likeness] = known
        taken[:] = known[2]
        return known[:2]

    def _likeness(self, row):
        """Return a key that is equal for hosts with the same answer: providers, free amounts, and facts that filters
        read."""
        table = self.table
        tree, classes = list(providers_of(table, row)), len(table.classes.values)
        places = {provider: place for place, provider in enumerate(tree)}
        devices = table.devices(row)
        return (
            *(getattr(table, name)[:classes, tree].tobytes() for name in (*AMOUNTS, "ratio")),
            table.trait_words[:, tree].tobytes(),
            tuple(places.get(int(table.parent[provider]), -1) for provider in tree),
            None if devices is None else devices.key,
            (tuple(table.row_aggregates[provider] for provider in tree), int(host_aggregates(table).column[row]))
            if self.minds_aggregates
            else None,
            tuple(int(getattr(table, name)[row]) for name in ("num_instances", "num_io_ops", "held_claims"))
            if self.counting
            else None,
        )

    def _filled(self, row, taken):
        claims, refusal = self.claimed(row, taken)
        for claim_uuid in claims:
            self.in_flight.remove(claim_uuid)
        return len(claims), refusal

    def claimed(self, row, taken):
        """Put claims in flight on a host until the next one is refused. Return their uuids, and the refusal."""
        claims, view = [], np.array([row])
        while True:
            candidate = candidate_of(self.rules, row, self.policy)
            if not isinstance(candidate, Candidate):
                # The reasons of the filters come first, as in a decision.
                return claims, self._refusal(view, self.unsteady) or candidate.refusal
            refusal = self._refusal(view, self.counting) if claims else None
            if refusal is not None:
                return claims, refusal
            if not candidate.assignment.allocations and not candidate.guest:
                raise errors.UsageError(
                    "the request takes no resource of a host, so any number fits; name a request that takes one"
                )
            claims.append(self._claim(candidate))
            for _, name, amount in candidate.assignment.allocations:
                taken[self.table.class_index(name)] += amount

    def _refusal(self, view, filters):
        """Return the first (filter, reason) that refuses the one host in view; None if it passes."""
        hosts = HostView(self.table, view)
        return next(
            (
                (filter_.name, refusal.reason)
                for filter_ in filters
                for refusal in filter_.refusals(hosts, self.request, self.policy, self.scope)
                if refusal.hosts[0]
            ),
            None,
        )

    def _claim(self, candidate):
        self.number += 1
        claim_uuid = _uuid(self.number)
        self.in_flight.add(
            events.ClaimProposed(
                claim_uuid,
                claim_uuid,
                claim_uuid,
                self.request.request_id,
                self.request.project_id,
                candidate.host,
                candidate.assignment.allocations,
                None,
                False,
                candidate.guest,
            )
        )
        return claim_uuid


def _is_own(filter_):
    """Return whether a filter is a built-in one, and not a deployer's filter with its name."""
    return filter_ is BUILT_IN.get(filter_.name) or filter_ in ALWAYS


def _is_steady(filter_, request):
    if not _is_own(filter_):
        return False
    # Extra specs may compare the free amounts of a host.
    return filter_.name in _STEADY or (filter_.name == "ComputeCapabilitiesFilter" and not request.extra_specs)


def _uuid(number):
    return str(uuid.uuid5(_NAMESPACE, str(number)))


# --- summed up --------------------------------------------------------------------------------------------------------


def by_reason(answers) -> list[tuple[str, int, int]]:
    """Return (what refuses the next one, hosts, how many fit on them before), most hosts first."""
    hosts, fits = Counter(), Counter()
    for answer in answers:
        hosts[answer.reason] += 1
        fits[answer.reason] += answer.fits
    return [
        (reason, count, fits[reason]) for reason, count in sorted(hosts.items(), key=lambda item: (-item[1], item[0]))
    ]


def stranded(answers, asked) -> dict[str, int]:
    """Return resource class -> the free amount on hosts where another class ran out, for the ``asked`` classes. What a
    pool has left does not count: other hosts can use it."""
    left = Counter()
    for answer in answers:
        if answer.filter in ("ResourceFilter", "NUMATopologyFilter", "PciPassthroughFilter"):
            for name in asked:
                left[name] += 0 if name in answer.shared else max(0, answer.left.get(name, 0))
    return dict(left)
