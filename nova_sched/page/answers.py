"""Answers to requests: JSON, files, and errors of one sentence, all with the headers that a browser must obey."""

import gzip
import json
from typing import NamedTuple

#: Bodies from this size on are compressed for clients that take it.
COMPRESS_FROM = 1024
#: Everything comes from the page itself, and nothing runs that is not in a file of it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SAFETY = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
STATUS = {
    200: "OK",
    202: "Accepted",
    204: "No Content",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


class PageError(Exception):
    """A request that cannot be answered: its text is one sentence for the person in front of the page."""

    code = 400
    headers = ()


class NotAllowed(PageError):
    """The client may not ask for this."""

    code = 403


class LoginNeeded(PageError):
    """The request has no session, or one that has ended."""

    code = 401


class NotThere(PageError):
    """There is nothing of that name."""

    code = 404


class Busy(PageError):
    """It cannot be done now."""

    code = 503


class Conflict(PageError):
    """Something else is in the way."""

    code = 409


class TooMany(PageError):
    """The client asks too much; it may try again after ``seconds``."""

    code = 429

    def __init__(self, text: str, seconds: float):
        super().__init__(text)
        self.headers = (("Retry-After", str(max(1, round(seconds + 0.5)))),)


class Answer(NamedTuple):
    """A status, the body with its type, and more headers. ``zipped`` is the compressed body, if somebody made it."""

    code: int
    body: bytes
    kind: str = "application/json"
    headers: tuple = ()
    zipped: bytes | None = None


def as_json(value, code: int = 200, headers: tuple = ()) -> Answer:
    """Return an answer of plain values."""
    return Answer(code, packed(value), headers=headers)


def packed(value) -> bytes:
    """Return plain values as JSON. (What is not text in a log, such as half a character, becomes an escape.)"""
    return json.dumps(value, separators=(",", ":")).encode()


def zipped(body: bytes) -> bytes:
    """Return a body compressed, always to the same bytes."""
    return gzip.compress(body, 1, mtime=0)


def send(answer: Answer, environ, start_response):
    """Send an answer over WSGI."""
    body, headers = answer.body, [*SAFETY, *answer.headers]
    names = {name for name, _ in headers}
    if "Cache-Control" not in names:
        headers.append(("Cache-Control", "no-store"))
    if len(body) >= COMPRESS_FROM and "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
        body = answer.zipped or zipped(body)
        headers.append(("Content-Encoding", "gzip"))
    headers.append(("Vary", "Accept-Encoding, Cookie"))
    if answer.code not in (204, 304):
        headers += [("Content-Type", answer.kind), ("Content-Length", str(len(body)))]
    start_response(f"{answer.code} {STATUS[answer.code]}", headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" or answer.code in (204, 304) else [body]


def error_answer(error: PageError) -> Answer:
    """Return the answer for an error."""
    return as_json({"error": str(error)}, error.code, tuple(error.headers))
