"""What is in the log of cell0 only: aggregates, with them zones, and the policy of the schedulers."""

from nova_sched.projection.state import CELL0
from rpc_api import errors

NAME_IT = "name it with --log cell0=URL"


def is_lacking(source, world) -> bool:
    """Whether no log of cell0 is named. (A world that has aggregates all the same lacks nothing.)"""
    return CELL0 not in source.logs and CELL0 not in source.down and not world.table.aggregates


def say_lacking_cell0(command, source, world) -> None:
    """Say on stderr what a command does not know without the log of cell0."""
    if is_lacking(source, world):
        command.say(
            f"aggregates are in the log of cell0, which is not named: zones, aggregates and the policy are not known; "
            f"{NAME_IT}"
        )


def need_cell0(source, world, option: str) -> None:
    """Raise UsageError if the log of cell0 is not named: the answer to an option depends on it."""
    if CELL0 in source.down:
        raise source.down[CELL0]
    if is_lacking(source, world):
        raise errors.UsageError(
            f"{option} needs aggregates, which are in the log of cell0, and that is not named; {NAME_IT}"
        )
