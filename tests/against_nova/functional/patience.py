"""Nova's tests look ten times at what they wait for, half a second apart. A machine that is busy needs more looks."""

import builtins
import inspect

#: So many times as many looks.
FACTOR = 4
#: Numbers of looks that helpers of Nova's tests have in their code.
LOOKS = (10, 40)


def install():
    """From now on the helpers of Nova's tests wait longer before they give up."""
    from nova.tests.functional import integrated_helpers

    for owner in vars(integrated_helpers).values():
        if not inspect.isclass(owner) or owner.__module__ != integrated_helpers.__name__:
            continue
        for method in vars(owner).values():
            if inspect.isfunction(method) and "max_retries" in inspect.signature(method).parameters:
                method.__defaults__ = tuple(
                    value * FACTOR if type(value) is int and value >= min(LOOKS) else value
                    for value in method.__defaults__
                )
    integrated_helpers.range = lambda number: builtins.range(number * FACTOR if number in LOOKS else number)
