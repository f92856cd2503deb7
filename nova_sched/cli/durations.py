"""Durations as people type them: 90s, 30m, 2h."""

import re

from rpc_api import errors


def duration(text: str, option: str) -> int:
    """Return the nanoseconds of a text such as ``10s``, ``500ms`` or ``5m``; UsageError for any other text."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)(ms|[smhd])", text)
    if not found or not float(found[1]):
        raise errors.UsageError(f"{option} is {text!r}, wanted a time such as 10s, 500ms or 5m; fix it")
    return int(float(found[1]) * _UNITS[found[2]])


_UNITS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
