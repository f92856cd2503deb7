"""Many requests side by side, in a bounded number of threads."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
#: Called with a label, and how many of how many are done.
Progress = Callable[[str, int, int], None]


def no_progress(label: str, done: int, total: int) -> None:
    """Draw nothing."""


def each(function: Callable[[T], R], items: Iterable[T], threads: int, label: str, progress: Progress) -> list[R]:
    """``function(item)`` of each item, in their order. After a fault, or an interruption of the command, no further one
    is begun, and those that are under way end."""
    results, items = [], list(items)
    pool = ThreadPoolExecutor(threads, label.partition(" ")[0])
    try:
        for number, result in enumerate(pool.map(function, items), 1):
            results.append(result)
            progress(label, number, len(items))
    finally:
        pool.shutdown(cancel_futures=True)
    return results
