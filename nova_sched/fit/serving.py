"""Whether a provider may serve a group of a request, its room left aside."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from nova_sched.projection.table import Flags, HostTable
from nova_sched.projection.topology import aggregate_rows, provider_aggregate_rows, providers_for, providers_of
from rpc_api.events import ResourceGroup


class GroupsRequest(Protocol):
    """What a search reads of a request; SchedulingRequest has it."""

    @property
    def groups(self) -> tuple[ResourceGroup, ...]:
        """The groups, at most one of them without a suffix."""

    @property
    def group_policy(self) -> str:
        """With "isolate" each group with a suffix gets a provider of its own."""

    @property
    def same_subtree(self) -> tuple[tuple[str, ...], ...]:
        """Suffixes of groups whose providers must be under one of them."""


class Reach(NamedTuple):
    """What is looked at for the tree of a root: ``providers_of(table, root)`` are the rows of the providers that serve
    it, the root first, and ``members_of(table, aggregate uuid)`` says which rows are in an aggregate."""

    providers_of: Callable[[HostTable, int], tuple[int, ...]]
    members_of: Callable[[HostTable, str], Flags]


#: As decisions see hosts: with their pools, and with the aggregates of Nova that name them.
HOSTS = Reach(providers_of, aggregate_rows)
#: As Placement sees all trees.
ALL_TREES = Reach(providers_for, provider_aggregate_rows)


def keeps_out(group: ResourceGroup) -> bool:
    """Whether a group without a suffix may not use some providers at all."""
    return bool(group.forbidden_traits or group.member_of or group.forbidden_aggregates or group.in_tree)


def allowed(table: HostTable, row: int, root: int, group: ResourceGroup, reach: Reach = HOSTS) -> bool:
    """Whether a group may use a provider for the tree of a root at all, also one of another tree that shares: its
    aggregates, tree and traits (required ones of suffixed groups)."""
    has, single, in_tree = table.row_has_trait, group.suffix != "", table.root.item(row) == root
    for trait in group.forbidden_traits:
        if has(trait, row):
            return False
    if single and not has_traits(table, (row,), group):
        return False
    if group.member_of and not (
        _in_all(table, row, group.member_of, reach)
        or (not single and in_tree and _in_all(table, root, group.member_of, reach))
    ):
        return False
    for uuid in group.forbidden_aggregates:
        members = reach.members_of(table, uuid)
        if members[row] or (not single and members[root]):
            return False
    return not group.in_tree or ((single or in_tree) and _is_in_tree(table, row, group.in_tree))


def has_traits(table: HostTable, rows: Sequence[int], group: ResourceGroup) -> bool:
    """Whether some providers together have the required traits of a group."""
    return all(
        any(table.row_has_trait(trait, row) for row in rows for trait in traits)
        for traits in (*zip(group.required_traits), *group.any_traits)
    )


def _in_all(table: HostTable, row: int, member_of: Iterable[Sequence[str]], reach: Reach) -> bool:
    """Whether one provider is in an aggregate of each list."""
    return all(any(reach.members_of(table, uuid)[row] for uuid in uuids) for uuids in member_of)


def _is_in_tree(table: HostTable, row: int, uuid: str) -> bool:
    """Whether a provider is in the tree of the one with this uuid."""
    known = table.row_of_uuid.get(uuid)
    return known is not None and table.root.item(known) == table.root.item(row)


def room_for_sum(table: HostTable, row: int, index: int, amount: int) -> bool:
    """Whether amounts of a class that fit one by one also fit as one allocation."""
    return amount <= room_for_all(table, row, index)


def room_for_all(table: HostTable, row: int, index: int) -> int:
    """How much of a class one consumer can have of a provider."""
    return min(table.free.item(index, row), table.max_unit.item(index, row))
