"""From a script that fails to the shortest one found that still fails:
parts are left out as long as it fails without them."""

from nova_sched.playground.simulation.cloud import run

#: Runs that are spent on shrinking one script.
MOST_RUNS = 200


def shrink(seed: int, script, faults, on_run=lambda left: None):
    """(script, its Outcome) of the shortest script found that fails; every part of a half, a quarter, ...
    is tried without.

    Whatever else happens follows from the seed, so that another fault than the first one may be found on the way.
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
