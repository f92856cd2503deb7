"""Answers of the API."""

import json
from email.utils import formatdate
from functools import lru_cache

import webob

from placement_api.versions import ANSWERS_HAVE_TIMES

_JSON = "application/json"


@lru_cache(256)
def http_date(seconds: int) -> str:
    """A time in seconds since 1970 as HTTP writes it."""
    return formatdate(seconds, usegmt=True)


def json_response(request, body, status: int = 200, last_modified_ns: int | None = None):
    """An answer with JSON: ``body`` is an object, or bytes that are JSON already. From microversion 1.15 on it has a
    time, which is now if none is given."""
    if type(body) is not bytes:
        body = json.dumps(body).encode()
    response = webob.Response(body=body, status=status, content_type=_JSON, charset=None)
    return timed(request, response, last_modified_ns)


def list_response(request, name: str, found, last_modified_ns: int | None = None, **more):
    """An answer with a list or object of what was found, under a name, and ``more`` beside it. An empty
    one is given only behind a fence: see Request.found_nothing."""
    request.found_nothing = not found
    return json_response(request, {name: found, **more}, last_modified_ns=last_modified_ns)


def empty_response(request, status: int = 204, location: str | None = None):
    """An answer without a body, perhaps with the address of what was created."""
    response = webob.Response(status=status, content_type=None, charset=None)
    response.headers.pop("Content-Type", None)
    if location is not None:
        response.location = location
    return response


def timed(request, response, last_modified_ns: int | None = None):
    """Give an answer its time, at the microversions that have one; now if none is given."""
    if request.version >= ANSWERS_HAVE_TIMES:
        at_ns = request.now_ns() if last_modified_ns is None else last_modified_ns
        # (As a list: webob looks through all headers for each one that is set.)
        response.headerlist += [("Last-Modified", http_date(at_ns // 10**9)), ("Cache-Control", "no-cache")]
    return response
