"""The query of ``GET /allocation_candidates``, read and checked."""

import re
import sys
from typing import NamedTuple

from placement_api import http_errors
from placement_api.candidates.params import (
    FORBIDS_TRAITS,
    NO_AGGREGATES,
    NO_TRAITS,
    aggregates_of,
    resources_of,
    traits_of,
    traits_of_root,
)
from placement_api.http_errors import BadRequest
from placement_api.request import uuid_of
from placement_api.schemas import allocation_candidates as schemas
from placement_api.schemas import common
from rpc_api.events import ResourceAmount, ResourceGroup

HAS_TEXT_SUFFIXES = (1, 33)
HAS_SUBTREES = (1, 36)

_NAMES = "(resources|required|member_of|in_tree)"
_NUMBERED = re.compile(rf"{_NAMES}({common.NUMBER_SUFFIX})?")
_NAMED = re.compile(rf"{_NAMES}({common.TEXT_SUFFIX})?")


class Query(NamedTuple):
    """What is asked for. ``groups`` are in the order of the query; ``limit`` is None without one.

    The other fields are those of a SchedulingRequest: see :class:`rpc_api.events.SchedulingRequest`.
    """

    groups: tuple[ResourceGroup, ...]
    group_policy: str
    same_subtree: tuple[tuple[str, ...], ...]
    root_required: tuple[str, ...]
    root_forbidden: tuple[str, ...]
    limit: int | None


def read(request) -> Query:
    """The query of a request; BadRequest if it makes no sense."""
    request.check_query(schemas.LIST)
    limits = request.GET.getall("limit")
    policy = request.GET.getall("group_policy")
    of_root = _root_traits(request)
    same_subtree = tuple(map(_suffixes, request.GET.getall("same_subtree")))
    groups = _groups(request)
    if request.version >= HAS_SUBTREES:
        _check_subtrees(groups, same_subtree)
    else:
        _check_resources(groups)
    if request.version >= FORBIDS_TRAITS:
        _check_conflicts(groups)
    if not policy and sum(group.suffix != "" for group in groups) > 1:
        raise BadRequest(
            'The "group_policy" parameter is required when specifying more than one "resources{N}" parameter.'
        )
    return Query(
        groups,
        policy[0] if policy else "none",
        same_subtree,
        of_root.required,
        of_root.forbidden,
        _limit(limits[0]) if limits else None,
    )


def _limit(value: str) -> int:
    # The schema has seen the last one of several; the first one counts.
    try:
        limit = int(value)
    except ValueError:
        limit = 0
    if limit < 1:
        raise BadRequest(f"Invalid query string parameters: limit is {value}, wanted a whole number from 1 on")
    return min(limit, sys.maxsize)


def _root_traits(request):
    values = request.GET.getall("root_required")
    if not values:
        return NO_TRAITS
    if len(values) > 1:
        raise BadRequest("Query parameter 'root_required' may be specified only once.", http_errors.DUPLICATE_KEY)
    traits = traits_of_root(values[0])
    both = sorted(set(traits.required) & set(traits.forbidden))
    if both:
        raise BadRequest(
            f"Conflicting required and forbidden traits found in root_required: {', '.join(both)}",
            http_errors.BAD_VALUE,
        )
    return traits


def _suffixes(value: str) -> tuple[str, ...]:
    """The suffixes of one ``same_subtree``, each once."""
    suffixes = dict.fromkeys(part.strip() for part in value.split(","))
    if "" in suffixes:
        raise BadRequest(
            "Empty string (unsuffixed group) can not be specified in `same_subtree` ", http_errors.BAD_VALUE
        )
    return tuple(suffixes)


# --- groups ----------------------------------------------------------------------------------------------------------


class _Parameters(NamedTuple):
    """What the parameters with one suffix say."""

    resources: dict
    traits: object
    aggregates: object
    in_tree: str | None


def _groups(request) -> tuple[ResourceGroup, ...]:
    pattern = _NAMED if request.version >= HAS_TEXT_SUFFIXES else _NUMBERED
    found: dict[str, _Parameters] = {}
    for key, value in request.GET.items():
        matched = pattern.fullmatch(key)
        if not matched:
            continue
        name, suffix = matched[1], matched[2] or ""
        group = found.get(suffix, _Parameters({}, NO_TRAITS, NO_AGGREGATES, None))
        if name == "resources":
            group = group._replace(resources=resources_of(value))
        elif name == "required":
            group = group._replace(traits=traits_of(request, suffix))
        elif name == "member_of":
            group = group._replace(aggregates=aggregates_of(request, suffix))
        else:
            group = group._replace(in_tree=_tree_of(value))
        found[suffix] = group
    return tuple(_group(suffix, group) for suffix, group in found.items())


def _tree_of(value: str) -> str:
    uuid = uuid_of(value.strip())
    if uuid is None:
        raise BadRequest(
            f"Invalid query string parameters: Expected 'in_tree' parameter to be a format of uuid. Got: {value}"
        )
    return uuid


def _group(suffix: str, found: _Parameters) -> ResourceGroup:
    return ResourceGroup(
        suffix,
        tuple(ResourceAmount(name, amount) for name, amount in found.resources.items()),
        found.traits.required,
        found.traits.forbidden,
        found.traits.any_of,
        found.aggregates.member_of,
        found.aggregates.forbidden,
        found.in_tree,
    )


# --- what does not go together ---------------------------------------------------------------------------------------


def _check_subtrees(groups, same_subtree) -> None:
    """From microversion 1.36 on a group may want no resources, if it is in a ``same_subtree``."""
    known = [group.suffix for group in groups]
    without = [group.suffix for group in groups if not group.resources]
    named = {suffix for suffixes in same_subtree for suffix in suffixes}
    if len(without) == len(groups):
        raise BadRequest("There must be at least one resources or resources[$S] parameter.", http_errors.MISSING_VALUE)
    lone = [suffix for suffix in without if suffix not in named]
    if lone:
        raise BadRequest(
            "Resourceless suffixed group request should be specified in `same_subtree` query param: bad group(s) - "
            f"{lone}.",
            http_errors.BAD_VALUE,
        )
    unknown = sorted(named.difference(known))
    if unknown:
        raise BadRequest(
            f"Real suffixes should be specified in `same_subtree`: {unknown} not found in {known}.",
            http_errors.BAD_VALUE,
        )


def _check_resources(groups) -> None:
    """Before microversion 1.36 each group wants resources."""
    without = [group for group in groups if not group.resources]
    lone = [f"required{group.suffix}" for group in without if group.required_traits or group.any_traits]
    if lone:
        raise BadRequest(
            "All traits parameters must be associated with resources.  Found the following orphaned traits keys: "
            f"{', '.join(lone)}"
        )
    lone = [f"member_of{group.suffix}" for group in without if group.member_of or group.forbidden_aggregates]
    if lone:
        raise BadRequest(
            "All member_of parameters must be associated with resources. Found the following orphaned member_of keys: "
            f"{', '.join(lone)}"
        )
    if without:
        raise BadRequest("All request groups must specify resources.")
    if not groups:
        raise BadRequest("At least one request group (`resources` or `resources{$S}`) is required.")


def _check_conflicts(groups) -> None:
    conflicts = []
    for group in groups:
        for names in (*zip(group.required_traits), *group.any_traits):
            if set(names) <= set(group.forbidden_traits):
                conflicts.append(f"required{group.suffix}: ({', '.join(sorted(names))})")
    if conflicts:
        raise BadRequest(
            "Conflicting required and forbidden traits found in the following traits keys: "
            f"{', '.join(sorted(conflicts))}"
        )
