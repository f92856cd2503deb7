"""The what-if: two sets of changes over the recorded requests."""

from nova_sched.page.answers import PageError, as_json
from nova_sched.page.what_if_run import SIDES, changes_of
from rpc_api import errors

#: What a side may have, and the types of the values in it.
PARTS = {
    "weighers": (int, float),
    "ratios": (int, float),
    "options": (int, float, str, bool, list, type(None)),
    "added": (int,),
}
#: Names in one part of a side at most.
NAMES_MAX = 50
NAME_MAX = 255


def show(asked):
    """The what-if that runs, or ran last, and what may be changed."""
    catalogue = asked.page.catalogue
    return as_json(
        {**asked.page.what_ifs.job._asdict(), "weighers": sorted(catalogue.weighers), "side_names": list(SIDES)}
    )


def start(asked):
    """Start a what-if."""
    sides = asked.json().get("sides")
    if type(sides) is not list or not 1 <= len(sides) <= len(SIDES):
        raise PageError(f"sides is not a list of 1 to {len(SIDES)} objects; send one")
    checked = [_side(side) for side in sides]
    for side in checked:
        try:
            changes_of(side, asked.page.catalogue)
        except errors.UsageError as fault:
            raise PageError(str(fault)) from None
    return as_json(asked.page.what_ifs.start(checked)._asdict(), 202)


def stop(asked):
    """End the what-if that runs."""
    return as_json(asked.page.what_ifs.stop()._asdict())


def _side(side):
    if type(side) is not dict or side.keys() - {*PARTS, "dropped"}:
        raise PageError(f"a side is an object with {', '.join((*PARTS, 'dropped'))}; fix it")
    for name, kinds in PARTS.items():
        part = side.get(name, {})
        if type(part) is not dict or len(part) > NAMES_MAX:
            raise PageError(f"{name} is not an object with {NAMES_MAX} names at most; fix it")
        for key, value in part.items():
            if len(key) > NAME_MAX or type(value) not in kinds:
                raise PageError(f"{name} has a wrong value for {key[:40]!r}; fix it")
    dropped = side.get("dropped", [])
    if type(dropped) is not list or len(dropped) > NAMES_MAX or not all(type(name) is str for name in dropped):
        raise PageError(f"dropped is not a list of {NAMES_MAX} names at most; fix it")
    return side
