"""Settings that keep the garbage collector off the hot path of a long-running reader."""

import contextlib
import gc

#: New objects before a young collection. A fold makes many objects that live long, and almost none in cycles.
THRESHOLDS = (50_000, 20, 100)


def prepare_memory() -> None:
    """Set the collector's thresholds. Call it before the state is loaded."""
    gc.set_threshold(*THRESHOLDS)


def settle_memory() -> None:
    """Freeze the present objects, so that the collector never looks at them again. Call it when the state is loaded."""
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def collector_paused():
    """Pause the collector while millions of objects are made that all stay. A snapshot then loads in half the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
