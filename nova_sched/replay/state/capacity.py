"""How many more instances of one kind the cloud would take, and what runs out first.

Without a server group no host's answer depends on what is put on another one, so each host is filled by itself:
claims are put in flight there, one after the other, until the project's own filters or the close look refuse the next
one. Hosts of one provider that are asked for amounts alone need no filling: what is left divided by what is asked for
is the same.
"""

import re
import uuid
from collections import Counter
from typing import NamedTuple

import numpy as np

from nova_sched.filters import ALWAYS, BUILT_IN, HostView, Reason
from nova_sched.filters.resources import LACKING
from nova_sched.hosts.aggregates import host_aggregates
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.table import AMOUNTS
from nova_sched.replay.logs.reading import holding
from nova_sched.selection.chain import filters_for
from nova_sched.selection.decide import Candidate, candidate_of
from nova_sched.selection.policy import Policy
from nova_sched.selection.prefilters import Refused, prefiltered
from nova_sched.selection.scope import Scope
from rpc_api import errors, events
from rpc_api.codec import Event

_AMOUNTS = re.compile(r"[A-Z0-9_]+=\d{1,15}(,[A-Z0-9_]+=\d{1,15})*")
_SIZES = re.compile(r"\d{1,15}(:\d{1,15}){0,2}")
_USUAL = ("VCPU", "MEMORY_MB", "DISK_GB")
#: Filters that do not look at what was put on a host, where there is no server group.
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
#: Filters that let every host through on which the close look finds room, if they did so before anything was put there.
_CLOSE = frozenset({"ResourceFilter", "NUMATopologyFilter", "PciPassthroughFilter"})
#: Filters that look at nothing else of a host than what :meth:`_Filling._likeness` tells apart.
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
    """A host: how many ``fits``, the (``filter``, ``reason``) that refuses the next one, and what is left of each
    resource class then."""

    cell: str
    host: str
    row: int
    fits: int
    filter: str
    reason: str
    left: dict


# --- what is asked ----------------------------------------------------------------------------------------------------


def amounts_in(text: str) -> dict[str, int] | None:
    """Resource class -> amount of ``VCPU=4,MEMORY_MB=8192`` or ``4:8192:40``; None for a text of another form (a name).
    UsageError for a class that is there twice, and where nothing is asked for."""
    if _SIZES.fullmatch(text):
        amounts = dict(zip(_USUAL, map(int, text.split(":")), strict=False))
    elif _AMOUNTS.fullmatch(text):
        pairs = [one.split("=") for one in text.split(",")]
        amounts = {name: int(amount) for name, amount in pairs}
        if len(amounts) < len(pairs):
            raise errors.UsageError(f"{text} names a resource class twice; name each once")
    else:
        return None
    amounts = {name: amount for name, amount in amounts.items() if amount}
    if not amounts:
        raise errors.UsageError(f"{text} asks for nothing; name an amount above 0")
    return amounts


def request_for(amounts: dict):
    """A SchedulingRequest for some amounts, and nothing else."""
    group = events.ResourceGroup(
        "", tuple(events.ResourceAmount(*one) for one in sorted(amounts.items())), (), (), (), (), (), None
    )
    return _plain(
        events.SchedulingRequest(
            request_id="capacity",
            project_id=None,
            flavor_name="",
            extra_specs={},
            image_properties={},
            groups=(group,),
            group_policy="",
            same_subtree=(),
            root_required=(),
            root_forbidden=(),
            availability_zone=None,
            force_hosts=(),
            force_nodes=(),
            ignore_hosts=(),
            target_host=None,
            target_node=None,
            target_cell=None,
            server_group=None,
            vcpus=amounts.get("VCPU", 0) + amounts.get("PCPU", 0),
            memory_mb=amounts.get("MEMORY_MB", 0),
            root_gb=amounts.get("DISK_GB", 0),
        )
    )


def _plain(request):
    """A request without what belongs to one instance of a flavor: where it was to go, whose it was, what it was
    to be near."""
    return request._replace(
        request_id="capacity",
        project_id=None,
        user_id=None,
        availability_zone=None,
        force_hosts=(),
        force_nodes=(),
        ignore_hosts=(),
        target_host=None,
        target_node=None,
        target_cell=None,
        preferred_cell=None,
        server_group=None,
        scheduler_hints={},
        image_id=None,
        image_properties={},
        check_only=False,
        disk_format=None,
        segments=(),
    )


class Recorded(NamedTuple):
    """What the logs say for a question: the request that was looked for (None: it is not there), the names of
    all flavors that were met on the way, and the text of the policy that was adopted last with its digest, cell and
    position (None: none was)."""

    request: object
    flavors: frozenset
    policy: str | None
    digest: str | None
    cell: str | None = None
    position: int | None = None


def recorded_in(logs, positions, flavor: str | None = None, like: str | None = None) -> Recorded:
    """Look through logs up to some positions for the last request for a flavor, or the last one with a request id or
    of an instance; and for the policy."""
    request = policy = digest = where = at = None
    latest, adopted, flavors = -1, -1, set()
    words = [b"PolicyAdopted"]
    if flavor is not None or like is not None:
        words.append(b"DecisionMade" if flavor is not None else like.encode("utf-8", "surrogatepass"))
    for cell, log in sorted(logs.items()):
        for position, record in holding(log, words, last=positions.get(cell)):
            for event in record.events:
                if not isinstance(event, Event):
                    continue
                if event.name == "PolicyAdopted" and event.at_ns > adopted:
                    policy, digest, adopted = event.data.options, event.data.digest, event.at_ns
                    where, at = cell, position
                elif event.name == "DecisionMade" and len(words) > 1:
                    found = _asked(event.data, like)
                    if found is None:
                        continue
                    flavors.add(found.flavor_name)
                    if event.at_ns > latest and (like is not None or flavor in (found.flavor_name, found.flavor_id)):
                        request, latest = found, event.at_ns
    if request is not None:
        request = request._replace(server_group=None, check_only=False) if like is not None else _plain(request)
    return Recorded(request, frozenset(flavors), policy, digest, where, at)


def _asked(decision, like):
    if like is not None and like not in (decision.request_id, decision.instance_uuid):
        return None
    try:
        return events.thaw("Evidence", decision.evidence).request
    except errors.InvalidEvent:
        return None


# --- the answer -------------------------------------------------------------------------------------------------------


def capacity(world, request, policy: Policy | None = None) -> list[HostCapacity]:
    """A :class:`HostCapacity` for each host of a world, by cell and name; the request has no server group."""
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
    # (Its making may have told the table of classes that no host has.)
    counts, taken = [0] * len(roots), np.zeros((len(table.classes.values), len(roots)), np.int64)
    plain = fill.plain_counts(roots) if fill.is_plain else None
    for place, row in enumerate(roots.tolist()):
        if refusals[place] is not None:
            continue
        if plain is not None and len(table.trees[row]) == 1:
            counts[place] = int(plain[0][place])
            refusals[place] = ("ResourceFilter", Reason(LACKING, (fill.classes[int(plain[1][place])],)))
            for index, amount in fill.indexed:
                taken[index, place] = amount * counts[place]
        else:
            counts[place], refusals[place] = fill.fill(row, taken[:, place])
    return _answers(world, roots, counts, refusals, taken)


def _answers(world, roots, counts, refusals, taken):
    table = world.table
    names = table.classes.values
    free = (
        np.stack(
            [
                np.array(
                    [sum(int(table.free[index, one]) for one in table.trees[row]) for row in roots.tolist()], np.int64
                )
                if table.nested_rows
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
    answers = [
        HostCapacity(
            table.cells.values[table.cell[row]],
            table.host_names[row],
            row,
            counts[place],
            *map(str, refusals[place]),
            {name: int(left[index, place]) for index, name in enumerate(names) if row in of_host[index]},
        )
        for place, row in enumerate(roots.tolist())
    ]
    return sorted(answers, key=lambda one: one[:2])


class _Filling:
    """Puts claims of one request in flight on hosts, one host after the other."""

    def __init__(self, world, request, policy):
        self.table, self.request, self.policy = world.table, request, policy
        self.in_flight = InFlight(world.table)
        self.filters = filters_for(policy, request)
        self.scope = Scope(world.table, list(world.projections.values()), self.in_flight, request, _uuid(0))
        self.unsteady = [one for one in self.filters if not _is_steady(one, request)]
        #: Those that must be asked after each claim.
        self.counting = [one for one in self.unsteady if one.name not in _CLOSE or not _is_own(one)]
        self.has_likeness = all(one.name in _ALIKE and _is_own(one) for one in self.unsteady) and not any(
            group.in_tree for group in (*request.groups, *request.fallback_groups)
        )
        self.minds_aggregates = bool(self.counting) or any(
            group.member_of or group.forbidden_aggregates for group in (*request.groups, *request.fallback_groups)
        )
        self.number = 0
        self.known = {}
        #: Whether nothing but the amounts of one group of resources decides on how many fit.
        self.is_plain = (
            request.numa is None
            and not request.pci
            and not request.fallback_groups
            and len(request.groups) == 1
            and not request.groups[0].suffix
            and bool(request.groups[0].resources)
            and all(amount for _, amount in request.groups[0].resources)
            and [one.name for one in self.unsteady] == ["ResourceFilter"]
        )
        amounts = request.groups[0].resources if self.is_plain else ()
        self.classes = [name for name, _ in amounts]
        self.indexed = [(self.table.class_index(name), amount) for name, amount in amounts]

    def refusals(self, rows):
        """The first (filter, reason) that refuses each host, None where none does, in the order of the chain."""
        found = [None] * len(rows)
        left = np.arange(len(rows))
        for one in self.filters:
            if not len(left):
                break
            refused = np.zeros(len(left), bool)
            for refusal in one.refusals(HostView(self.table, rows[left]), self.request, self.policy, self.scope):
                for place in left[refusal.hosts & ~refused].tolist():
                    found[place] = one.name, refusal.reason
                refused |= refusal.hosts
            left = left[~refused]
        return found

    def plain_counts(self, rows):
        """How many fit on hosts of one provider, and which of the classes runs out (int64, shape [hosts] each)."""
        fits = np.stack([self.table.free[index, rows] // amount for index, amount in self.indexed])
        return fits.min(axis=0), fits.argmin(axis=0)

    def fill(self, row, taken):
        """How many fit on a host, and what refuses the next one; ``taken`` (int64, shape [classes]) counts what they
        take. The host is as it was afterwards. Of hosts that are alike one is filled."""
        likeness = self._likeness(row) if self.has_likeness else None
        known = self.known.get(likeness)
        if known is None:
            known = (*self._filled(row, taken), taken.copy())
            if likeness is not None:
                self.known[likeness] = known
        taken[:] = known[2]
        return known[:2]

    def _likeness(self, row):
        """The same for hosts that take the same: their providers, what is left of them, and what the
        filters look at."""
        table = self.table
        tree, classes = list(table.trees[row]), len(table.classes.values)
        places = {one: place for place, one in enumerate(tree)}
        devices = table.devices(row)
        return (
            *(getattr(table, name)[:classes, tree].tobytes() for name in (*AMOUNTS, "ratio")),
            table.trait_words[:, tree].tobytes(),
            tuple(places.get(int(table.parent[one]), -1) for one in tree),
            None if devices is None else devices.key,
            (tuple(table.row_aggregates[one] for one in tree), int(host_aggregates(table).column[row]))
            if self.minds_aggregates
            else None,
            tuple(int(getattr(table, name)[row]) for name in ("num_instances", "num_io_ops", "held_claims"))
            if self.counting
            else None,
        )

    def _filled(self, row, taken):
        claims, view = [], np.array([row])
        try:
            while True:
                candidate = candidate_of(self.table, row, self.request, self.policy)
                if not isinstance(candidate, Candidate):
                    # What the filters say stands in front of it, as in a decision.
                    return len(claims), self._refusal(view, self.unsteady) or candidate.refusal
                refusal = self._refusal(view, self.counting) if claims else None
                if refusal is not None:
                    return len(claims), refusal
                if not candidate.assignment.allocations and not candidate.guest:
                    raise errors.UsageError(
                        "the request takes nothing of a host, so that any number of it fits; "
                        "name one that takes something"
                    )
                claims.append(self._claim(candidate))
                for _, name, amount in candidate.assignment.allocations:
                    taken[self.table.class_index(name)] += amount
        finally:
            for claim_uuid in claims:
                self.in_flight.remove(claim_uuid)

    def _refusal(self, view, filters):
        """The first (filter, reason) of some filters that refuses the one host in view; None where none does."""
        hosts = HostView(self.table, view)
        return next(
            (
                (one.name, refusal.reason)
                for one in filters
                for refusal in one.refusals(hosts, self.request, self.policy, self.scope)
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


def _is_own(one):
    """Whether a filter is the project's own, and none of a deployer's with its name."""
    return one is BUILT_IN.get(one.name) or one in ALWAYS


def _is_steady(one, request):
    if not _is_own(one):
        return False
    # Extra specs may ask for what is left of a host.
    return one.name in _STEADY or (one.name == "ComputeCapabilitiesFilter" and not request.extra_specs)


def _uuid(number):
    return str(uuid.uuid5(_NAMESPACE, str(number)))


# --- summed up --------------------------------------------------------------------------------------------------------


def by_reason(answers) -> list[tuple[str, int, int]]:
    """(What refuses the next one, hosts, how many fit on them before), most hosts first."""
    hosts, fits = Counter(), Counter()
    for one in answers:
        hosts[one.reason] += 1
        fits[one.reason] += one.fits
    return [
        (reason, count, fits[reason]) for reason, count in sorted(hosts.items(), key=lambda item: (-item[1], item[0]))
    ]


def stranded(answers, asked) -> dict[str, int]:
    """Resource class -> what is left of it on hosts where another one ran out, so that no more of these instances can
    use it; of the classes that are ``asked`` for."""
    left = Counter()
    for one in answers:
        if one.filter in ("ResourceFilter", "NUMATopologyFilter", "PciPassthroughFilter"):
            for name in asked:
                left[name] += max(0, one.left.get(name, 0))
    return dict(left)
