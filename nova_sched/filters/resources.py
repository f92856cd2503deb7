"""ResourceFilter: refuses hosts whose tree of providers cannot hold what is asked for.

A host that passes has, for each group by itself, a provider that can hold it, and enough providers if groups are to be
isolated; or it has that for each of the groups to fall back on, if a request has such groups. Whether all groups fit
together is checked host by host, best host first, when hosts are chosen (:mod:`nova_sched.fit.providers`).
"""

from collections import Counter

import numpy as np

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.explanation import NAMED, Finding, by_words
from nova_sched.filters.shortage import asked_of, last_taker, latest, room
from nova_sched.fit.serving import allowed, keeps_out
from nova_sched.hosts.providers import Providers
from nova_sched.hosts.view import HostView
from nova_sched.projection.reason import Reason
from nova_sched.projection.topology import providers_of

MISSING_TRAIT = "trait {trait}"
FORBIDDEN_TRAIT = "forbidden trait {trait}"
NONE_OF_TRAITS = "trait {trait: or }"
TRAITS_OR_AGGREGATES = Reason("traits or aggregates")
LACKING = "{resource class}"
ON_ONE = "{resource class:+} on one provider"
ON_SEVERAL = "{resource class:+} on {number} providers"
TRAITS_ON_SEVERAL = "traits on {number} providers"
TOGETHER = Reason("request groups together")


class ResourceFilter(Filter):
    """Refuses hosts whose providers do not have the inventory, traits, aggregates or tree that each request group
    wants, in Placement's semantics."""

    name = "ResourceFilter"
    reasons = {
        MISSING_TRAIT: "no provider of the host has the trait, which the request requires",
        FORBIDDEN_TRAIT: "a provider of the host has the trait, which the request forbids",
        NONE_OF_TRAITS: "no provider of the host has one of these traits",
        TRAITS_OR_AGGREGATES.code: "no provider of the host is in the aggregates and the tree that a group of the "
        "request asks for, without a forbidden trait",
        LACKING: "no provider of the host has that much of the resource class left",
        ON_ONE: "each amount fits on some provider of the host, but not all of them on one, as a group of the request "
        "asks",
        ON_SEVERAL: "too few providers of the host have these amounts left, and the groups must be on different ones",
        TRAITS_ON_SEVERAL: "too few providers of the host have the traits, and the groups must be on different ones",
        TOGETHER.code: "each group of the request fits on the host by itself, but not all of them together",
    }

    def seen(self, request):
        return (
            _unnamed(request.groups),
            _unnamed(request.fallback_groups),
            request.group_policy,
            request.root_required,
            request.root_forbidden,
        )

    def refusals(self, hosts, request, policy, scope):
        table = hosts.table
        for trait in request.root_required:
            yield Refusal(Reason(MISSING_TRAIT, (trait,)), ~table.has_trait(trait, hosts.rows))
        for trait in request.root_forbidden:
            yield Refusal(Reason(FORBIDDEN_TRAIT, (trait,)), table.has_trait(trait, hosts.rows))
        providers = Providers(hosts)
        refusals = _groups_refusals(providers, request.groups, request.group_policy)
        if request.fallback_groups:
            # A host that cannot hold those either is refused for what was asked first.
            neither = np.zeros(len(hosts), bool)
            for refusal in _groups_refusals(providers, request.fallback_groups, request.group_policy):
                neither |= refusal.hosts
            refusals = (refusal._replace(hosts=refusal.hosts & neither) for refusal in refusals)
        yield from refusals

    def explain(self, look, reason):
        """Inventories, traits, aggregates and trees of providers, also as the close look at one host sees them."""
        if reason is None:
            rooms = _rooms(look)
            return Finding(
                "; ".join(found.text for found in rooms) or "nothing asked",
                {"resources": [found.values for found in rooms]},
            )
        if reason.code in _EXPLAINED:
            return _EXPLAINED[reason.code](look, *reason.facts)
        return by_words(reason, self.reasons.get(reason.code))


# --- one host --------------------------------------------------------------------------------------------------------


def refusal_of_host(table, row: int, request) -> Reason | None:
    """The first reason to refuse one host, by its root row; None if it passes.

    It is the rule of :class:`ResourceFilter` a second time, on numbers instead of columns: each claim touches one host,
    and asking about it takes 4 us this way, against 22 us, in each decision (``python -m bench chain``).
    """
    if request.group_policy == "isolate":
        view = HostView(table, np.array([row]))
        refusals = ResourceFilter().refusals(view, request, None, None)
        return next((refusal.reason for refusal in refusals if refusal.hosts[0]), None)
    for trait in request.root_required:
        if not table.row_has_trait(trait, row):
            return Reason(MISSING_TRAIT, (trait,))
    for trait in request.root_forbidden:
        if table.row_has_trait(trait, row):
            return Reason(FORBIDDEN_TRAIT, (trait,))
    tree = providers_of(table, row)
    reason = _groups_refusal_of(table, tree, request.groups)
    if reason is not None and request.fallback_groups:
        neither = _groups_refusal_of(table, tree, request.fallback_groups) is not None
        return reason if neither else None
    return reason


def _groups_refusal_of(table, tree, groups):
    """As :func:`_groups_refusals` of one host, by the rows of its providers."""
    for group in groups:
        reason = _group_refusal_of(table, tree, group)
        if reason is not None:
            return reason
    return None


def _group_refusal_of(table, tree, group):
    has, root, usable = table.row_has_trait, tree[0], tree
    serving = tree if group.suffix or group.resources else tree[:1]
    for trait in group.required_traits:
        if not any([has(trait, row) for row in serving]):
            return Reason(MISSING_TRAIT, (trait,))
    for traits in group.any_traits:
        if not any([has(trait, row) for row in serving for trait in traits]):
            return Reason(NONE_OF_TRAITS, (tuple(traits),))
    restricted = keeps_out(group)
    if restricted or (group.suffix and (group.required_traits or group.any_traits)):
        usable = [row for row in tree if allowed(table, row, root, group)]
        if restricted and not set(usable).intersection(serving):
            return TRAITS_OR_AGGREGATES
    together = usable
    for resource_class, amount in group.resources:
        index = table.classes.get(resource_class)
        if index < 0:
            return Reason(LACKING, (resource_class,))
        if len(usable) == 1:
            if not table.row_has_room(usable[0], index, amount):
                return Reason(LACKING, (resource_class,))
            continue
        room = [row for row in usable if table.row_has_room(row, index, amount)]
        if not room:
            return Reason(LACKING, (resource_class,))
        together = [row for row in together if row in room]
    return None if together or not group.suffix or len(group.resources) < 2 else _on_one(group)


def _on_one(group):
    return Reason(ON_ONE, (tuple(resource_class for resource_class, _ in group.resources),))


def _unnamed(groups):
    """Groups without their suffixes, which may be the ids of ports: only whether a group has a suffix is seen."""
    return tuple([group._replace(suffix="*") if group.suffix else group for group in groups])


# --- all hosts -------------------------------------------------------------------------------------------------------


def usable_providers(providers: Providers, group) -> np.ndarray:
    """Which providers a group may use at all: no forbidden trait, in its aggregates and in its tree."""
    single = group.suffix != ""
    usable = providers.all()
    for trait in group.forbidden_traits:
        usable &= ~providers.has_trait(trait)
    if group.member_of:
        usable &= providers.in_aggregates(group.member_of, not single)
    for uuid in group.forbidden_aggregates:
        usable &= ~providers.in_aggregates([[uuid]], not single, of_pools=True)
    if group.in_tree:
        usable &= providers.in_tree(group.in_tree, of_pools=single)
    if single:
        for trait in group.required_traits:
            usable &= providers.has_trait(trait)
        for traits in group.any_traits:
            usable &= np.logical_or.reduce([providers.has_trait(trait) for trait in traits])
    return usable


def _groups_refusals(providers, groups, policy):
    for group in groups:
        yield from _group_refusals(providers, group)
    if policy == "isolate":
        yield from _isolation_refusals(providers, groups)


def _group_refusals(providers, group):
    usable = usable_providers(providers, group)
    if group.required_traits or group.any_traits or keeps_out(group):
        # If nothing is taken of any provider, the host itself must meet the group.
        serving = providers.roots() if not group.suffix and not group.resources else providers.all()
    for trait in group.required_traits:
        yield Refusal(Reason(MISSING_TRAIT, (trait,)), ~providers.any(serving & providers.has_trait(trait)))
    for traits in group.any_traits:
        yield Refusal(
            Reason(NONE_OF_TRAITS, (tuple(traits),)),
            ~providers.any(serving & np.logical_or.reduce([providers.has_trait(trait) for trait in traits])),
        )
    if keeps_out(group):
        yield Refusal(TRAITS_OR_AGGREGATES, ~providers.any(serving & usable))
    together = usable
    single = group.suffix != "" and len(group.resources) > 1 and providers.owner is not None
    for resource_class, amount in group.resources:
        room = providers.room(resource_class, amount)
        room &= usable
        yield Refusal(Reason(LACKING, (resource_class,)), ~providers.any(room))
        if single:
            together = together & room
    if single:
        yield Refusal(_on_one(group), ~providers.any(together))


def _isolation_refusals(providers, groups):
    same = Counter(group._replace(suffix="") for group in groups if group.suffix != "")
    for group, times in same.items():
        if times == 1:
            continue
        fits = usable_providers(providers, group._replace(suffix="any"))
        for resource_class, amount in group.resources:
            fits = fits & providers.room(resource_class, amount)
        classes = tuple(resource_class for resource_class, _ in group.resources)
        reason = Reason(ON_SEVERAL, (classes, times)) if classes else Reason(TRAITS_ON_SEVERAL, (times,))
        yield Refusal(reason, providers.count(fits) < times)


# --- explanation -----------------------------------------------------------------------------------------------------


def _rooms(look):
    return [room(look, *asked) for asked in asked_of(look.request)]


def _of_trait(look, trait, has=False):
    table = look.table
    traits = sorted(
        {
            name
            for name in table.traits.values
            for row in providers_of(table, look.row)
            if table.row_has_trait(name, row)
        }
    )
    return Finding(
        f"it has {trait}" if has else f"none of its providers has {trait}",
        {"trait": trait, "traits": traits},
        lambda traces: traces.reported(),
    )


def _of_aggregates(look):
    names = sorted(
        {
            uuid
            for group in look.request.groups
            for uuids in (*group.member_of, group.forbidden_aggregates)
            for uuid in uuids
        }
    )
    return Finding(
        "no provider is where a group of the request must be"
        + (f" (aggregates {', '.join(names[:NAMED])})" if names else ""),
        {"aggregates": names},
        lambda traces: traces.aggregate_event(names) or traces.reported(),
    )


def _of_class(look, resource_class):
    rooms = [room(look, *asked) for asked in asked_of(look.request) if asked[1] == resource_class]
    reason = Reason(LACKING, (resource_class,))
    return min(rooms, key=lambda found: found.near, default=None) or by_words(reason, ResourceFilter.reasons[LACKING])


def _of_together(look):
    rooms = _rooms(look)
    return Finding(
        "each group fits alone, not all together: " + "; ".join(found.text for found in rooms),
        {"resources": [found.values for found in rooms]},
        latest([found.trace for found in rooms]),
    )


def _of_one_provider(look, classes):
    return _of_providers(look, classes, 1, Reason(ON_ONE, (classes,)))


def _of_several_providers(look, classes, number):
    return _of_providers(look, classes, number, Reason(ON_SEVERAL, (classes, number)))


def _of_providers(look, classes, wanted, reason):
    """All that a group asks for must be free on one provider, or on each of several (``wanted``)."""
    table = look.table
    group = next(
        (
            group
            for group in look.request.groups
            if group.suffix and tuple(asked.resource_class for asked in group.resources) == classes
        ),
        None,
    )
    if group is None:
        return by_words(reason, ResourceFilter.reasons[reason.code])
    asked = [(each.resource_class, table.classes.get(each.resource_class), each.amount) for each in group.resources]
    rows = [
        row
        for row in providers_of(table, look.row)
        if allowed(table, row, look.row, group) and any(index >= 0 and table.total[index, row] for _, index, _ in asked)
    ]
    shares = {row: min(_share(table, row, index, amount) for _, index, amount in asked) for row in rows}
    rows.sort(key=lambda row: -shares[row])
    free = [
        {
            "provider": table.provider_names[row],
            **{name: int(table.free[index, row]) if index >= 0 else 0 for name, index, _ in asked},
        }
        for row in rows
    ]
    shown = "; ".join(
        f"{each['provider']} " + " ".join(f"{each[name]} {name}" for name, _, _ in asked) for each in free[:NAMED]
    )
    takers = [
        last_taker(look, table.uuids[row], name, index < 0 or amount > table.capacity[index, row])
        for row in rows
        for name, index, amount in asked
        if not table.row_has_room(row, index, amount)
    ]
    return Finding(
        f"{' + '.join(f'{amount} {name}' for name, _, amount in asked)} asked on "
        f"{f'each of {wanted} providers' if wanted > 1 else 'one provider'}, free: "
        f"{shown or 'nothing'}{f' and {len(free) - NAMED} more' if len(free) > NAMED else ''}",
        {"asked": {name: amount for name, _, amount in asked}, "providers": wanted, "free": free},
        latest(takers),
        sum(shares[row] for row in rows[:wanted]) / wanted,
    )


def _share(table, row, index, amount):
    """How much of an amount is free on a provider: 1 if all of it."""
    if table.row_has_room(row, index, amount):
        return 1.0
    return min(table.free[index, row] / amount, 0.999) if index >= 0 and amount else 0.0


_EXPLAINED = {
    MISSING_TRAIT: _of_trait,
    FORBIDDEN_TRAIT: lambda look, trait: _of_trait(look, trait, True),
    NONE_OF_TRAITS: lambda look, traits: _of_trait(look, " or ".join(traits)),
    TRAITS_OR_AGGREGATES.code: _of_aggregates,
    LACKING: _of_class,
    ON_ONE: _of_one_provider,
    ON_SEVERAL: _of_several_providers,
    TOGETHER.code: _of_together,
}
