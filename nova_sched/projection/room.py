"""Whether an amount of a resource class fits on a provider: the one rule for claims and for allocations of the API."""

import enum
from typing import NamedTuple

from nova_sched.projection.table import HostTable


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


def values_of(table: HostTable, row: int, index: int) -> tuple[int, int, int, int, int]:
    """The values of a :class:`Room`; the step is 0 without an inventory."""
    return (
        table.capacity.item(index, row),
        table.used.item(index, row),
        table.min_unit.item(index, row),
        table.max_unit.item(index, row),
        table.step_size.item(index, row),
    )


def misfit(
    capacity: int,
    used: int,
    min_unit: int,
    max_unit: int,
    step_size: int,
    amount: int,
    given_back: int = 0,
    asked: int = 0,
) -> Misfit | None:
    """Why an amount of one consumer does not fit the values of a :class:`Room`; None if it does.

    In the same step ``given_back`` is freed, and ``asked`` is asked for by others. As in Placement, a step may leave a
    class that is used beyond its capacity no worse than it was.
    """
    if not min_unit <= amount <= max_unit or amount % step_size:
        return Misfit.UNITS
    after = used - given_back + asked + amount
    if after > capacity and not (used and after <= used):
        return Misfit.CAPACITY
    return None
