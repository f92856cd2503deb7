"""Whose fault it is: what the class of a deployer raises becomes the error of one request."""

from contextlib import contextmanager

from rpc_api import errors

MAX_TEXT = 200


@contextmanager
def blamed(what: str, request_id: str):
    """Raise a PluginFault for whatever is raised inside, which is its ``__cause__``; ``what`` names the class."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as fault:
        # Also what is no Exception: sys.exit() in a filter is not meant for the thread that decides.
        raise errors.PluginFault(
            f"{what} fell over request {request_id} ({_told(fault)}); fix its package, "
            "or take it out of the configuration"
        ) from fault


def _told(fault):
    try:
        text = " ".join(str(fault).split())
    except Exception:
        text = ""
    return f"{type(fault).__name__}: {text[:MAX_TEXT]}" if text else type(fault).__name__
