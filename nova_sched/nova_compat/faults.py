"""Faults of a deployer's class: they become the error of one request."""

from contextlib import contextmanager

from rpc_api import errors

MAX_TEXT = 200


@contextmanager
def blamed(what: str, request_id: str):
    """Raise a PluginFault for any exception inside, with the exception as ``__cause__``; ``what`` names the class."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as fault:
        # Also BaseException: sys.exit() in a filter must not end the thread that decides.
        raise errors.PluginFault(
            f"{what} raised an error for request {request_id} ({_text_of(fault)}); fix its package, "
            "or take it out of the configuration"
        ) from fault


def _text_of(fault):
    try:
        text = " ".join(str(fault).split())
    except Exception:
        text = ""
    return f"{type(fault).__name__}: {text[:MAX_TEXT]}" if text else type(fault).__name__
