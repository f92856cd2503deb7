"""The form that OpenStack's APIs give to errors."""

import json
from typing import Any

import webob


def error_body(status: int, detail: str, code: str | None, request_id: str | None, **more: Any) -> bytes:
    """The JSON of an error. ``code`` is the name of its kind, None for none."""
    error = {"status": int(status), "title": webob.util.status_reasons[int(status)], "detail": detail}
    if code is not None:
        error["code"] = code
    if request_id is not None:
        error["request_id"] = request_id
    return json.dumps({"errors": [{**error, **more}]}).encode()
