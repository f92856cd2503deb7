"""Whether an amount of a resource class fits on a provider: the one rule for claims and for allocations of the API."""

import enum
from collections.abc import Iterable
from typing import NamedTuple

from nova_sched.projection.table import FOR_ROOM, HostTable


class Room(NamedTuple):
    """What a provider has of one class: ``capacity`` and ``used``, and the units of one allocation."""

    capacity: int
    used: int
    min_unit: int
    max_unit: int
    step_size: int


class Misfit(enum.Enum):
    """Why an amount does not fit."""

    UNITS = "units"
    CAPACITY = "capacity"


def room_of(table: HostTable, row: int, index: int) -> Room | None:
    """The room of a class on a row as the log has it (claims in flight do not count); None without an inventory."""
    if index < 0 or not table.step_size.item(index, row):
        return None
    return Room(*values_of(table, row, index))


def values_of(table: HostTable, row: int, index: int) -> list[int]:
    """The values of a :class:`Room`; the step is 0 without an inventory."""
    values: list[int] = table.amounts[FOR_ROOM, index, row].tolist()
    return values


def misfit(room: Iterable[int], amount: int, given_back: int = 0, asked: int = 0) -> Misfit | None:
    """Why an amount of one consumer does not fit a :class:`Room` (or its values); None if it does.

    In the same step ``given_back`` is freed, and ``asked`` is asked for by others. As in Placement, a step may leave a
    class that is used beyond its capacity no worse than it was.
    """
    capacity, used, min_unit, max_unit, step_size = room
    if not min_unit <= amount <= max_unit or amount % step_size:
        return Misfit.UNITS
    after = used - given_back + asked + amount
    if after > capacity and not (used and after <= used):
        return Misfit.CAPACITY
    return None
