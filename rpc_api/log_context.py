"""Whose request a thread works on, for its log lines: oslo.log writes the ids of oslo.context's current context."""

import contextlib

from oslo_context.context import RequestContext, get_current


@contextlib.contextmanager
def of(context):
    """Let log lines of this thread carry the ids of a request meanwhile; no ids if ``context`` is no RequestContext."""
    before = get_current()
    _store(context if isinstance(context, RequestContext) else None)
    try:
        yield
    finally:
        _store(before)


def current():
    """The RequestContext that this thread works on; None for none."""
    return get_current()


def bound(function):
    """``function`` for another thread, with the ids of the request that this thread works on."""
    context = get_current()

    def run(*args, **kwargs):
        with of(context):
            return function(*args, **kwargs)

    return run


def _store(context):
    # The method of the class also stores None, which there is no other public way to do.
    RequestContext.update_store(context)
