"""Shrinks a script that fails: parts are left out as long as the script still fails."""

from nova_sched.playground.simulation.cloud import run

#: Greatest number of runs to shrink one script.
MOST_RUNS = 200


def shrink(seed: int, script, faults, on_run=lambda left: None):
    """Return (script, its Outcome) of the shortest failing script that was found, by leaving out halves, quarters, ...

    The seed decides everything else, so the shorter script may have another fault than the first one.
    """
    outcome, runs, size = run(seed, 0, faults, script), 0, max(1, len(script) // 2)
    while size and runs < MOST_RUNS:
        start, shorter = 0, False
        while start < len(script) and runs < MOST_RUNS:
            without = script[:start] + script[start + size :]
            runs += 1
            on_run(len(script))
            tried = run(seed, 0, faults, without)
            if tried.fault is not None:
                script, outcome, shorter = without, tried, True
            else:
                start += size
        if not shorter or size > len(script):
            size //= 2
    return script, outcome
