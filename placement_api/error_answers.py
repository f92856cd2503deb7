"""Errors as answers, in OpenStack's JSON form for errors, for what happens outside the routes."""

import http
import json
from collections.abc import Callable, Iterable
from typing import Any

from oslo_middleware import request_id

from placement_api.http_errors import HTTPError


def answer(
    error: HTTPError,
    environ: dict[str, Any],
    start_response: Callable[..., Any],
    headers: Iterable[tuple[str, str]] = (),
    exc_info: Any = None,
) -> list[bytes]:
    """Send an error. ``exc_info`` is that of an exception after which the application may have started to answer."""
    title = http.HTTPStatus(error.status).phrase
    found = {"status": error.status, "title": title, "detail": error.detail, "code": error.code}
    if request_id.ENV_REQUEST_ID in environ:
        found["request_id"] = environ[request_id.ENV_REQUEST_ID]
    body = json.dumps({"errors": [found]}).encode()
    start_response(
        f"{error.status} {title}",
        [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers],
        exc_info,
    )
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]
