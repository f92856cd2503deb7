"""The targets under atheris: libFuzzer keeps the inputs that reach new branches, and damages them again.

``python -m tests.fuzz.coverage [-runs=N] [-max_total_time=SECONDS] [-seed=N]`` ends with 0 when nothing was found. The
first inputs are made here; half of all later ones are made by the structure-aware mutator, the rest by libFuzzer.
"""

import random
import sys

from rpc_api import concurrency

concurrency.setup()

import atheris

with atheris.instrument_imports(include=["rpc_api", "nova_sched", "conductor", "placement_api"]):
    from tests.fuzz import engines, harness, requests, targets

TARGETS = (
    targets.Fold,
    targets.Fold,
    targets.Thaw,
    targets.Snapshots,
    targets.Opening,
    targets.Rpc,
    engines.Engines,
    engines.Tools,
    requests.Requests,
)
#: The largest input: a record's limit is far higher, and nothing depends on it but time.
INPUT_BYTES_MAX = 1 << 16


class Session:
    """One target of each kind, created again after each episode. The first byte of an input selects the target."""

    def __init__(self):
        self._numbers = [0] * len(TARGETS)
        self._targets = [self._new(kind) for kind in range(len(TARGETS))]

    def _new(self, kind):
        return TARGETS[kind](random.Random(kind))

    def one_input(self, data: bytes) -> None:
        """What libFuzzer calls; whatever is raised is a finding."""
        if not data:
            return
        kind = data[0] % len(TARGETS)
        self._targets[kind].feed(data[1:])
        self._numbers[kind] += 1
        if self._numbers[kind] % self._targets[kind].EPISODE == 0:
            self._targets[kind].settle()
            self._targets[kind] = self._new(kind)

    def mutated(self, data: bytes, size_max: int, seed: int) -> bytes:
        """What libFuzzer asks for the next input."""
        rng = random.Random(seed)
        if rng.random() < 0.5:
            return atheris.Mutate(data, size_max)
        kind = rng.randrange(len(TARGETS))
        target = self._targets[kind]
        target.rng = target.mutator.rng = rng
        return (bytes([kind]) + target.make())[:size_max]


def main(arguments) -> None:
    """Run; libFuzzer ends the process."""
    import logging

    logging.disable(logging.CRITICAL)
    session = Session()
    limits = [f"-max_len={INPUT_BYTES_MAX}", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, *arguments], session.one_input, custom_mutator=session.mutated)
    print(f"memory at the start {harness.resident_mb():.0f} MB", file=sys.stderr)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
