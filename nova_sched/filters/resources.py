"""ResourceFilter: refuses hosts whose tree of providers cannot hold what is asked for.

What it lets through has, for each group by itself, a provider that can hold
it, and enough providers where groups are to be isolated; or so for each of the
groups to fall back on, where a request has some. Whether all groups
fit together is looked at host by host, best host first, when hosts are
chosen (:mod:`nova_sched.fit.providers`).
"""

from collections import Counter

import numpy as np

from nova_sched.filters.base import Filter, Refusal
from nova_sched.fit.providers import allowed
from nova_sched.hosts.providers import Providers


class ResourceFilter(Filter):
    """Refuses hosts whose providers have not the inventory, traits, aggregates or tree that each request group wants,
    in Placement's semantics."""

    name = "ResourceFilter"
    reasons = (
        "trait {trait}",
        "forbidden trait {trait}",
        "trait {trait} or {trait}",
        "traits or aggregates",
        "{resource class}",
        "{resource class}+{resource class} on one provider",
        "{resource class} on {number} providers",
        "request groups together",
    )

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
            yield Refusal(f"trait {trait}", ~table.has_trait(trait, hosts.rows))
        for trait in request.root_forbidden:
            yield Refusal(f"forbidden trait {trait}", table.has_trait(trait, hosts.rows))
        providers = Providers(hosts)
        refusals = _groups_refusals(providers, request.groups, request.group_policy)
        if request.fallback_groups:
            # A host that cannot hold those either is refused for what it was asked first.
            neither = np.zeros(len(hosts), bool)
            for refusal in _groups_refusals(providers, request.fallback_groups, request.group_policy):
                neither |= refusal.hosts
            refusals = (refusal._replace(hosts=refusal.hosts & neither) for refusal in refusals)
        yield from refusals

    def refusal_of(self, table, row, request, policy):
        if request.group_policy == "isolate":
            return super().refusal_of(table, row, request, policy)
        for trait in request.root_required:
            if not table.row_has_trait(trait, row):
                return f"trait {trait}"
        for trait in request.root_forbidden:
            if table.row_has_trait(trait, row):
                return f"forbidden trait {trait}"
        tree = table.trees[row]
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
            return f"trait {trait}"
    for traits in group.any_traits:
        if not any([has(trait, row) for row in serving for trait in traits]):
            return "trait " + " or ".join(traits)
    restricted = _keeps_out(group)
    if restricted or (group.suffix and (group.required_traits or group.any_traits)):
        usable = [row for row in tree if allowed(table, row, root, group)]
        if restricted and not set(usable).intersection(serving):
            return "traits or aggregates"
    together = usable
    for resource_class, amount in group.resources:
        index = table.classes.get(resource_class)
        if index < 0:
            return resource_class
        if len(usable) == 1:
            if not table.row_has_room(usable[0], index, amount):
                return resource_class
            continue
        room = [row for row in usable if table.row_has_room(row, index, amount)]
        if not room:
            return resource_class
        together = [row for row in together if row in room]
    return None if together or not group.suffix or len(group.resources) < 2 else _on_one(group)


def _on_one(group):
    return "+".join(resource_class for resource_class, _ in group.resources) + " on one provider"


def _keeps_out(group):
    return bool(group.forbidden_traits or group.member_of or group.forbidden_aggregates or group.in_tree)


def _unnamed(groups):
    """Groups without their suffixes, which may be the ids of ports: whether a group has one is all that is
    seen of it."""
    return tuple([group._replace(suffix="*") if group.suffix else group for group in groups])


def usable_providers(providers: Providers, group) -> np.ndarray:
    """Which providers a group may use at all: no forbidden trait, in its aggregates and in its tree."""
    single = group.suffix != ""
    usable = providers.all()
    for trait in group.forbidden_traits:
        usable &= ~providers.has_trait(trait)
    if group.member_of:
        usable &= providers.in_aggregates(group.member_of, not single)
    for uuid in group.forbidden_aggregates:
        usable &= ~providers.in_aggregates([[uuid]], not single)
    if group.in_tree:
        usable &= providers.in_tree(group.in_tree)
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
    if group.required_traits or group.any_traits or _keeps_out(group):
        # Where nothing is taken of any provider, it is the host itself that must meet the group.
        serving = providers.roots() if not group.suffix and not group.resources else providers.all()
    for trait in group.required_traits:
        yield Refusal(f"trait {trait}", ~providers.any(serving & providers.has_trait(trait)))
    for traits in group.any_traits:
        yield Refusal(
            "trait " + " or ".join(traits),
            ~providers.any(serving & np.logical_or.reduce([providers.has_trait(trait) for trait in traits])),
        )
    if _keeps_out(group):
        yield Refusal("traits or aggregates", ~providers.any(serving & usable))
    together = usable
    single = group.suffix != "" and len(group.resources) > 1 and providers.owner is not None
    for resource_class, amount in group.resources:
        room = providers.room(resource_class, amount)
        room &= usable
        yield Refusal(resource_class, ~providers.any(room))
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
        classes = "+".join(resource_class for resource_class, _ in group.resources) or "traits"
        yield Refusal(f"{classes} on {times} providers", providers.count(fits) < times)
