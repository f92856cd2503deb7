"""Runs targets for a number of inputs, measures, and tells the seed and the input of what it finds."""

import gc
import os
import random
import time
import traceback
from typing import NamedTuple

#: CPU seconds that one input may take: the largest record of a log, damaged, takes some hundredths.
INPUT_SECONDS_MAX = 2.0
#: Growth of resident memory over a whole run, after the first tenth of it.
GROWTH_MB_MAX = 64


class Found(AssertionError):
    """A finding, with how to make it again."""


class Report(NamedTuple):
    """What a run came to. Times in seconds, memory (resident) in MB after the first tenth and at the end."""

    seed: int
    inputs: int
    seconds: float
    slowest: float
    before_mb: float
    after_mb: float

    def __str__(self):
        return (
            f"seed {self.seed}: {self.inputs} inputs in {self.seconds:.1f} s, {self.inputs / self.seconds:.0f}/s, "
            f"the slowest {self.slowest * 1e3:.0f} ms, memory {self.before_mb:.0f} to {self.after_mb:.0f} MB"
        )


def resident_mb() -> float:
    """Resident memory of this process."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def run(target_class, inputs: int, seed: int) -> Report:
    """Feed so many inputs to a target; raises :class:`Found` for the first that does not do.

    Each episode has a seed of its own, which a finding names: with ``inputs`` of one episode it is found again at once.
    """
    begun, slowest, fed, before = time.monotonic(), 0.0, 0, None
    while fed < inputs:
        episode = seed + fed
        target, payload = target_class(random.Random(episode)), b""
        try:
            for _ in range(min(target.EPISODE, inputs - fed)):
                payload = target.make()
                started = time.thread_time()
                target.feed(payload)
                took = time.thread_time() - started
                if took > INPUT_SECONDS_MAX:
                    raise TimeoutError(f"the input took {took:.1f} s, wanted at most {INPUT_SECONDS_MAX} s")
                slowest, fed = max(slowest, took), fed + 1
            payload = b""
            target.settle()
        except Exception as fault:
            raise Found(
                f"{target_class.__name__}, seed {episode}, {fault!r} at "
                f"{payload[:400].hex() or 'the end of the episode'}\n"
                f"{traceback.format_exc(limit=-6)}"
            ) from None
        if before is None and fed * 10 >= inputs:
            gc.collect()
            before = resident_mb()
    gc.collect()
    report = Report(seed, fed, time.monotonic() - begun, slowest, before, resident_mb())
    if report.after_mb - report.before_mb > GROWTH_MB_MAX:
        raise Found(f"{target_class.__name__}: memory grew by more than {GROWTH_MB_MAX} MB; {report}")
    return report
