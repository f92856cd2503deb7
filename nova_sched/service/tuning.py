"""How a long-running reader keeps the garbage collector off its hot path."""

import gc

#: New objects before a young collection; a fold makes many that live long and almost none in cycles.
THRESHOLDS = (50_000, 20, 100)


def settle_memory() -> None:
    """Call when the state was loaded: what is there now is never looked at by the collector again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
