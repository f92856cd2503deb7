"""Errors as answers, in OpenStack's JSON form for errors."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from oslo_middleware import request_id
from webob.util import status_reasons

from placement_api.http_errors import HTTPError


def error_body(error: HTTPError, code: str | None, number: str | None, **more: Any) -> bytes:
    """The JSON of an error. ``code`` is the name of its kind, None before a client knows such names; ``number`` is the
    id of the request, None for none."""
    found = {"status": int(error.status), "title": status_reasons[int(error.status)], "detail": error.detail}
    if code is not None:
        found["code"] = code
    if number is not None:
        found["request_id"] = number
    return json.dumps({"errors": [{**found, **more}]}).encode()


def answer(
    error: HTTPError,
    environ: dict[str, Any],
    start_response: Callable[..., Any],
    headers: Iterable[tuple[str, str]] = (),
    exc_info: Any = None,
) -> list[bytes]:
    """Send an error that happened outside the routes. ``exc_info`` is that of an exception after which the application
    may have started to answer."""
    body = error_body(error, error.code, environ.get(request_id.ENV_REQUEST_ID))
    start_response(
        f"{int(error.status)} {status_reasons[int(error.status)]}",
        [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers],
        exc_info,
    )
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]
