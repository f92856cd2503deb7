"""The script of a simulation: its actions and their times, drawn from a seed. Parts of it can be left out."""

import random
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Faults:
    """Chances of faults. ``slow``: a message or append takes seconds; ``lost``: a message is lost; ``not_appended`` and
    ``not_acknowledged``: an append fails, or succeeds without an answer; ``skewed``: a process starts with
    a wrong clock; ``failing_builds``: a build fails on a host; ``torn``: a process dies while it writes a snapshot;
    ``broken_things``: share of the actions that break something."""

    slow: float = 0.02
    lost: float = 0.02
    not_appended: float = 0.03
    not_acknowledged: float = 0.03
    skewed: float = 0.2
    failing_builds: float = 0.1
    torn: float = 0.05
    broken_things: float = 0.12


NO_FAULTS = Faults(0, 0, 0, 0, 0, 0, 0, 0)

#: Actions that break something, and their weights.
BREAKING = {
    "crash scheduler": 6,
    "crash conductor": 6,
    "crash agent": 4,
    "crash writer": 3,
    "partition": 6,
    "lag": 4,
    "truncate": 6,
    "re-create": 1,
    "lose tail": 3,
    "lose snapshots": 2,
    "reboot": 2,
    "lie": 2,
    "forge": 4,
    "pin": 5,
    "change inventory": 4,
}
#: The other actions, and their weights.
ASKING = {"ask": 80, "delete": 20}
#: Mean number of seconds between two actions.
PACE = 0.25


class Stimulus(NamedTuple):
    """One action and its time (simulated seconds); ``seed`` draws its details."""

    at: float
    kind: str
    seed: int

    def __str__(self):
        return f"{self.at:9.3f} s  {self.kind} (details {self.seed})"


def write(seed: int, steps: int, faults: Faults):
    """Return a script of ``steps`` stimuli."""
    chance, now, script = random.Random(f"script {seed}"), 1.0, []
    for _ in range(steps):
        now += chance.expovariate(1.0 / PACE)
        table = BREAKING if chance.random() < faults.broken_things else ASKING
        kind = chance.choices(list(table), list(table.values()))[0]
        script.append(Stimulus(now, kind, chance.getrandbits(32)))
    return script
