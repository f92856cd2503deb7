"""The smallest case that still shows a difference: parts of a JSON-like case are left out for as long as it does."""


def shrink(case, differs):
    """Return a case of which nothing more can be left out while ``differs(case)`` is true.

    ``case`` is made of dictionaries, lists and plain values. ``differs`` may raise for a case that makes no sense:
    that is none that shows the difference.
    """
    going = True
    while going:
        going = False
        for smaller in _smaller(case):
            if _differs(differs, smaller):
                case, going = smaller, True
                break
    return case


def _differs(differs, case):
    try:
        return bool(differs(case))
    except Exception:
        return False


def _smaller(case):
    """Each case with one part left out, large parts first."""
    if isinstance(case, list):
        if len(case) > 3:
            half = len(case) // 2
            yield case[:half]
            yield case[half:]
        for number in range(len(case)):
            yield case[:number] + case[number + 1 :]
        for number, part in enumerate(case):
            for smaller in _smaller(part):
                yield [*case[:number], smaller, *case[number + 1 :]]
    elif isinstance(case, dict):
        for key in case:
            yield {name: part for name, part in case.items() if name != key}
        for key, part in case.items():
            for smaller in _smaller(part):
                yield {**case, key: smaller}
    elif isinstance(case, str) and len(case) > 1:
        yield case[: len(case) // 2]
    elif isinstance(case, int) and not isinstance(case, bool) and case not in (0, 1):
        yield case // 2
