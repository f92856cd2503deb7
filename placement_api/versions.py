"""The microversions of the API, and which of them a request wants."""

from functools import lru_cache

import microversion_parse

from placement_api import http_errors

SERVICE = "placement"
HEADER = "openstack-api-version"
FIRST, LAST = (1, 0), (1, 39)
VERSIONS = tuple(f"1.{minor}" for minor in range(FIRST[1], LAST[1] + 1))

#: The first microversion in which ...
ERRORS_HAVE_CODES = (1, 23)
ANSWERS_HAVE_TIMES = (1, 15)

Version = tuple[int, int]


def spelled(version: Version) -> str:
    """A microversion as text."""
    return f"{version[0]}.{version[1]}"


#: Characters of a header that is remembered. Longer ones, as no client of OpenStack sends them, would fill the memory.
_SHORT = 100


def wanted(header: str | None) -> Version:
    """The microversion that a request wants by its header; NotAcceptable and BadRequest if it is not one of ours."""
    return _known(header) if header is None or len(header) <= _SHORT else _parsed(header)


def _parsed(header: str | None) -> Version:
    if header is None:
        return FIRST
    try:
        text = microversion_parse.get_version({HEADER: header}, SERVICE)
        if text is None:
            return FIRST
        if text == "latest":
            return LAST
        version = microversion_parse.parse_version_string(text)
    except (TypeError, ValueError) as fault:
        # (The text begins with what is wrong: "invalid version string".)
        raise http_errors.BadRequest(str(fault)) from None
    if not FIRST <= version <= LAST:
        raise http_errors.NotAcceptable(f"Unacceptable version header: {text}")
    return (version.major, version.minor)


_known = lru_cache(1024)(_parsed)
