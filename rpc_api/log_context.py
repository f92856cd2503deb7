"""The request that a thread works on, for its log lines: oslo.log writes the ids of oslo.context's current context."""

import contextlib
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from oslo_context.context import RequestContext, get_current

P = ParamSpec("P")
T = TypeVar("T")


@contextlib.contextmanager
def of(context: object) -> Iterator[None]:
    """Within the block, log lines of this thread have the ids of a request; no ids if ``context`` is not a
    RequestContext."""
    before = get_current()
    _store(context if isinstance(context, RequestContext) else None)
    try:
        yield
    finally:
        _store(before)


def current() -> RequestContext | None:
    """The RequestContext of this thread; None without one."""
    return get_current()


def bound(function: Callable[P, T]) -> Callable[P, T]:
    """``function`` for another thread, with the ids of the request of this thread."""
    context = get_current()

    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with of(context):
            return function(*args, **kwargs)

    return run


def _store(context: RequestContext | None) -> None:
    # The method of the class also stores None; no other public function can do that.
    RequestContext.update_store(context)  # type: ignore[arg-type]  # None is stored as well: see above
