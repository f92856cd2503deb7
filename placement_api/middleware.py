"""What every request passes on its way to the routes, and every answer on its way back."""

import http
import io
import logging
import re
import sys
import urllib.parse
from collections.abc import Iterable
from typing import Any

from oslo_config import cfg
from oslo_context import context as oslo_context
from oslo_middleware import cors, http_proxy_to_wsgi, request_id

from nova_sched.process.monitoring.health import Health
from nova_sched.process.web.server import REFUSED
from placement_api import auth
from placement_api.access_log import set_up
from placement_api.error_answers import answer
from placement_api.http_errors import BadRequest, HTTPError, TooLarge
from placement_api.measures import NO_ROUTE, ROUTE, RequestMeasures
from placement_api.region import Region
from rpc_api.clock import SYSTEM, Clock

LOG = logging.getLogger(__name__)
ACCESS_LOG = set_up()

HEALTHCHECK_PATH = "/healthcheck"
VERSION_HEADER = "openstack-api-version"
_REQUEST_ID = re.compile(r"req-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: A path of which nothing must be quoted.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._~-]*")
#: Bytes of a body without a length that are read at a time.
_CHUNK = 64 * 1024
_CANNOT_ANSWER = "this worker cannot answer; see its log, or /readyz on its port for metrics"
#: Digits of a length that is looked at; one with more is too large.
_DIGITS = 20


def stack(
    conf: cfg.ConfigOpts, application: auth.Application, region: Region, clock: Clock = SYSTEM
) -> auth.Application:
    """All middleware around an application that answers for a region. A request passes it from the last line to the
    first."""
    application = body_limit(application, conf.placement_api.max_body_bytes)
    application = auth.context_wrapper(application)
    application = auth.wrapper(conf)(application)
    # Before the token is checked: a browser asks for the rules of CORS without one, as a load balancer asks for health.
    if conf.cors.allowed_origin:
        application = cors.CORS(application, conf)
    application = health(application, conf, region)
    if conf.oslo_middleware.enable_proxy_headers_parsing:
        application = http_proxy_to_wsgi.HTTPProxyToWSGI(application, conf)
    application = faults(refused(application))
    application = access_log(application, region.measures, clock)
    return with_request_id(application)


def body_limit(application: auth.Application, most: int) -> auth.Application:
    """Answer a request with a body of more than ``most`` bytes with 413, before it is read as a whole."""

    def limited(environ: auth.Environ, start_response: auth.StartResponse) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or ""
        try:
            # The routes answer a length that is not a number.
            if length.isascii() and length.isdigit():
                # Python does not read thousands of digits.
                _check(int(length) if len(length) <= _DIGITS else most + 1, most)
            elif not length and environ.get("wsgi.input_terminated"):
                body = _read(environ["wsgi.input"], most)
                environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        except HTTPError as error:
            return answer(error, environ, start_response, [("Connection", "close")])
        return application(environ, start_response)

    return limited


def _check(size: int, most: int) -> None:
    if size > most:
        raise TooLarge(f"The body of the request has more than {most} bytes.")


def _read(stream: Any, most: int) -> bytes:
    """The body of a request without a length, as a server passes it that knows where it ends."""
    parts: list[bytes] = []
    size = 0
    while True:
        try:
            part = stream.read(_CHUNK)
        except OSError as broken:
            raise BadRequest(f"The body of the request cannot be read ({broken}).") from None
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        _check(size, most)


def health(application: auth.Application, conf: cfg.ConfigOpts, region: Region) -> auth.Application:
    """Answer ``/healthcheck``, without a token: whether this worker can answer, and what ``[healthcheck]`` names. The
    reason may have the address of a broker, or a path: that is for the operator, at ``/readyz``."""
    checks = Health(conf, lambda: [_CANNOT_ANSWER] if region.why_cannot_answer() else [], application)

    def answered(environ: auth.Environ, start_response: auth.StartResponse) -> Iterable[bytes]:
        chosen: auth.Application = checks if environ.get("PATH_INFO") == HEALTHCHECK_PATH else application
        return chosen(environ, start_response)

    return answered


def refused(application: auth.Application) -> auth.Application:
    """Answer a request that our web server could not read."""

    def checked(environ: auth.Environ, start_response: auth.StartResponse) -> Iterable[bytes]:
        found = environ.get(REFUSED)
        if found is None:
            return application(environ, start_response)
        error = HTTPError(found.text)
        error.status = http.HTTPStatus(found.status)
        raise error

    return checked


def faults(application: auth.Application) -> auth.Application:
    """Log an exception that nobody expects, once, and answer 500, without its text."""

    def guarded(environ: auth.Environ, start_response: auth.StartResponse) -> Iterable[bytes]:
        has_started = False

        def started(*arguments: Any) -> Any:
            nonlocal has_started
            has_started = True
            return start_response(*arguments)

        try:
            return application(environ, started)
        except HTTPError as fault:
            error, exc_info = fault, sys.exc_info()
        except Exception:
            LOG.exception("the request %s %s has failed", environ.get("REQUEST_METHOD", "-"), _uri(environ))
            error = HTTPError("The server has failed to answer. Its log has the reason under the id of this request.")
            exc_info = sys.exc_info()
        # Only where the answer was begun: uWSGI takes an exception that it is given for one of start_response itself.
        return answer(error, environ, start_response, exc_info=exc_info if has_started else None)

    return guarded


def access_log(application: auth.Application, measures: RequestMeasures, clock: Clock) -> auth.Application:
    """Count each answer, and log one line for it: address of the client, method, path, status, length, microversion,
    seconds, request id, user."""

    def logged(environ: auth.Environ, start_response: auth.StartResponse) -> Iterable[bytes]:
        began, method, uri = clock.monotonic(), environ.get("REQUEST_METHOD", "-"), _uri(environ) or "-"

        def started(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            size = version = "-"
            for name, value in headers:
                if name.lower() == "content-length":
                    size = value
                elif name.lower() == VERSION_HEADER:
                    version = value.rpartition(" ")[2]
            context = environ.get(auth.CONTEXT)
            code, seconds = status.partition(" ")[0], clock.monotonic() - began
            measures.add(method, environ.get(ROUTE, NO_ROUTE), code, seconds)
            ACCESS_LOG.write(
                f"{environ.get('REMOTE_ADDR') or '-'} {method} {uri} {code} {size} {version} {seconds:.3f} "
                f"{environ.get(request_id.ENV_REQUEST_ID, '-')} {(context and context.user_id) or '-'}"
            )
            return start_response(status, headers, exc_info)

        return application(environ, started)

    return logged


def with_request_id(application: auth.Application) -> auth.Application:
    """Give each request an id, which its log lines and its answer have. An error is JSON unless the client wants
    another form."""
    header = request_id.HTTP_RESP_HEADER_REQUEST_ID

    def identified(environ: auth.Environ, start_response: auth.StartResponse) -> Iterable[bytes]:
        known = environ.get("HTTP_X_OPENSTACK_REQUEST_ID", "")
        if _REQUEST_ID.fullmatch(known):
            environ[request_id.GLOBAL_REQ_ID] = known
        number = oslo_context.generate_request_id()
        environ[request_id.ENV_REQUEST_ID] = number
        # What is logged from here on, also before the token is checked, has the id.
        oslo_context.RequestContext(request_id=number)
        if environ.get("HTTP_ACCEPT", "*/*") in ("", "*/*"):
            environ["HTTP_ACCEPT"] = "application/json"

        def started(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if not any(name.lower() == header for name, _ in headers):
                headers = [*headers, (header, number)]
            # Only with an exception, as PEP 3333 has it.
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        return application(environ, started)

    return identified


def _uri(environ: auth.Environ) -> str:
    """Path and query of a request in a form for one line of a log: the path of the environment is unquoted."""
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
    if not _PLAIN_PATH.fullmatch(path):
        path = urllib.parse.quote(path.encode("latin-1", "replace"))
    query = environ.get("QUERY_STRING", "")
    uri = path + (f"?{query}" if query else "")
    return uri if uri.isprintable() else "".join(one if one.isprintable() else "?" for one in uri)
