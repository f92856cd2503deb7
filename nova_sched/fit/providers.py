"""Look closely at one tree: which of its providers serve which group of the request.

:func:`assignments` finds all ways to assign groups to providers, :func:`allocate` the first one. In-flight claims count
as taken. A caller with further conditions (PCI devices, NUMA nodes) accepts an assignment, or lets the search continue.
"""

from collections.abc import Callable, Iterator, Sequence

from nova_sched.fit.options import Serves, TreeOptions
from nova_sched.fit.search import Assignment, Search, TooManySteps
from nova_sched.fit.serving import HOSTS, GroupsRequest, Reach, allowed, has_traits, keeps_out, room_for_sum
from nova_sched.projection.table import HostTable
from nova_sched.projection.topology import providers_of
from rpc_api import events
from rpc_api.events import ResourceGroup, SchedulingRequest

__all__ = ["MAX_STEPS", "Accept", "Assignment", "Serves", "TooManySteps", "allocate", "allowed", "assignments"]

MAX_STEPS = 10_000
#: Steps without an assignment after which the search for all of them gives up: about two seconds.
MAX_FRUITLESS_STEPS = 1_000_000
#: With more suffixed groups it is looked first whether they fit at all.
FEW_GROUPS = 3

#: Whether an assignment will do.
Accept = Callable[[Assignment], bool]


def assignments(table: HostTable, root: int, request: GroupsRequest, reach: Reach) -> Iterator[Assignment]:
    """All assignments of the groups of a request to the providers that serve the tree of ``root``, each once.

    The table is read before this returns, and not by the iterator: the search may take long, and nobody else should
    wait for it. There may be very many: an iterator that is not read to its end does no more than what was read.
    It raises TooManySteps after MAX_FRUITLESS_STEPS.
    """
    if len(reach.providers_of(table, root)) == 1:
        found = _allocate_on(table, root, request, reach)
        return iter(() if found is None else (found,))
    options = TreeOptions(table, root, request, reach)
    return _all_in(options, table.provider_names[root]) if options.are_enough else iter(())


def _all_in(options: TreeOptions, name: str) -> Iterator[Assignment]:
    if sum(group.suffix != "" for group in options.request.groups) > FEW_GROUPS and not _may_fit(options):
        return
    search = Search(options, most_steps=MAX_FRUITLESS_STEPS)
    for found in search.assignments():
        yield found
        search.steps_left = MAX_FRUITLESS_STEPS
    if not search.steps_left:
        raise TooManySteps(
            f"no candidate is found for {name} in {MAX_FRUITLESS_STEPS} steps, wanted a request "
            "with fewer groups; ask for less at once"
        )


def _may_fit(options: TreeOptions) -> bool:
    """Whether groups may fit together. That equal ones do not is found without all their orders."""
    search = Search(options, lambda group: _kind(group, options.request, False), most_steps=MAX_STEPS)
    return next(search.assignments(), None) is not None or not search.steps_left


def allocate(
    table: HostTable, root: int, request: SchedulingRequest, accept: Accept | None = None, serves: Serves | None = None
) -> Assignment | None:
    """Assign all groups of a request to providers of the host of ``root``, or else its fallback groups; None if neither
    fit together.

    ``accept(assignment)`` returns whether an assignment is good; the first good one is returned. It must treat groups
    as equal that request the same and have the same text before the last "-" of their suffix, such as ``<request>-0``
    and ``<request>-1``. ``serves(suffix, provider uuid)`` may exclude a provider for a suffixed group beforehand. The
    search ends after MAX_STEPS.
    """
    if len(providers_of(table, root)) == 1:
        found = _allocate_on(table, root, request, HOSTS)
        found = found if found is None or accept is None or accept(found) else None
    elif accept is None and _is_plain(request):
        found = _allocate_class_by_class(table, root, request.groups[0])
    else:
        search = Search(
            TreeOptions(table, root, request, HOSTS, serves),
            lambda group: _kind(group, request, accept is not None),
            most_steps=MAX_STEPS,
        )
        found = next((found for found in search.assignments() if accept is None or accept(found)), None)
    if found is None and request.fallback_groups:
        return allocate(
            table, root, request._replace(groups=request.fallback_groups, fallback_groups=()), accept, serves
        )
    return found


def _kind(group: ResourceGroup, request: GroupsRequest, has_accept: bool) -> tuple[object, ...]:
    """The kind of a group: groups of one kind can be exchanged."""
    whose = group.suffix.rpartition("-")[0] if has_accept else ""
    return group._replace(suffix=""), whose, tuple(group.suffix in suffixes for suffixes in request.same_subtree)


def _allocate_on(table: HostTable, row: int, request: GroupsRequest, reach: Reach) -> Assignment | None:
    """Like :func:`allocate`, for a tree of one provider, which needs no search."""
    sums: dict[str, int] = {}
    mappings: dict[str, list[str]] = {}
    for group in request.groups:
        if not allowed(table, row, row, group, reach) or (not group.suffix and not has_traits(table, (row,), group)):
            return None
        for resource_class, amount in group.resources:
            index, before = table.classes.get(resource_class), sums.get(resource_class, 0)
            if (
                index < 0
                or not table.row_has_room(row, index, amount)
                or (before and not room_for_sum(table, row, index, before + amount))
            ):
                return None
            sums[resource_class] = before + amount
        if group.suffix or group.resources:
            mappings[group.suffix] = [table.uuids[row]]
    if request.group_policy == "isolate" and len(mappings) - ("" in mappings) > 1:
        return None
    uuid = table.uuids[row]
    return Assignment(tuple(events.Allocation(uuid, name, amount) for name, amount in sorted(sums.items())), mappings)


def _is_plain(request: SchedulingRequest) -> bool:
    """Whether each class of a request can be served without a look at the others: it has one group without a suffix
    and without traits that its providers must have together."""
    groups = request.groups
    return (
        len(groups) == 1
        and not (groups[0].suffix or groups[0].required_traits or groups[0].any_traits or request.same_subtree)
        and bool(groups[0].resources)
    )


def _allocate_class_by_class(table: HostTable, root: int, group: ResourceGroup) -> Assignment | None:
    """Like :func:`allocate`, for a request that needs no search: what the search would find first."""
    rows: Sequence[int] = providers_of(table, root)
    if keeps_out(group):
        rows = [row for row in rows if allowed(table, row, root, group)]
    allocations, serving = [], set()
    for resource_class, amount in group.resources:
        index = table.classes.get(resource_class)
        options = [row for row in rows if table.row_has_room(row, index, amount)] if index >= 0 else []
        if not options:
            return None
        row = options[0] if len(options) == 1 else min(options, key=table.free[index].__getitem__)
        if amount:
            allocations.append(events.Allocation(table.uuids[row], resource_class, amount))
        serving.add(table.uuids[row])
    return Assignment(tuple(sorted(allocations)), {"": sorted(serving)})
