"""The innermost WSGI application: it finds the handler of a request, and turns errors into answers."""

import html
import logging

import webob
from webob.acceptparse import create_accept_header

from placement_api import http_errors, routes, versions
from placement_api.error_answers import error_body
from placement_api.measures import ROUTE
from placement_api.policies import Enforcer
from placement_api.request import Request
from rpc_api import errors

LOG = logging.getLogger(__name__)

JSON = "application/json"
#: The header that names the cells whose log cannot be read now: what an answer says of them may be old.
STALE = "Nova-Sched-Stale"


class Router:
    """``region`` is the ledger, and ``conf`` the configuration, also of the policy."""

    def __init__(self, conf, region):
        self._conf = conf
        self._region = region
        self._enforcer = Enforcer(conf)

    def __call__(self, environ, start_response):
        request = Request.of(environ, self._conf, self._region, self._enforcer)
        has_version = False
        try:
            request.version = versions.wanted(environ.get("HTTP_OPENSTACK_API_VERSION"))
            has_version = True
            environ["placement_api.version"] = request.version
            response = self._answer(request)
        except http_errors.HTTPError as error:
            response = self._error(request, error, has_version)
        headers = response.headerlist
        if has_version:
            headers.append(("OpenStack-API-Version", f"{versions.SERVICE} {versions.spelled(request.version)}"))
        headers.append(("Vary", versions.HEADER))
        stale = self._region.stale_cells(request.provider_uuid, request.missed)
        if stale:
            headers.append((STALE, ", ".join(stale)))
        return response(environ, start_response)

    def _answer(self, request):
        _check_length(request.environ)
        found = routes.find(request.environ.get("PATH_INFO", ""))
        if found is None:
            raise http_errors.NotFound("The resource could not be found.")
        methods, arguments, request.environ[ROUTE] = found
        request.provider_uuid = arguments.get("uuid")
        route = methods.get(request.method)
        if route is None or (request.version < route.since and route.missing == 405):
            raise http_errors.MethodNotAllowed(
                f"The method {request.method} is not allowed for this resource.",
                headers=(("Allow", ", ".join(methods)),),
            )
        if request.version < route.since:
            raise http_errors.NotFound("The resource could not be found.")
        if route.takes_json and request.content_type != JSON:
            raise http_errors.UnsupportedMediaType(
                f"The media type {request.content_type or 'None'} is not supported, use {JSON}"
            )
        if route.gives_json and not _accepts_json(request.environ.get("HTTP_ACCEPT")):
            raise http_errors.NotAcceptable(f"Only {JSON} is provided")
        return self._call(request, route, arguments)

    def _call(self, request, route, arguments):
        """Call the handler. What it says of the absence of something, and of a conflict, it says behind a fence: the
        state of this worker may be a little older than what another one acknowledged."""
        if not route.of_state:
            return self._handle(request, route, arguments)
        if not self._region.was_read:
            self._region.check_all_were_read()
        try:
            return self._answer_of_state(request, route, arguments)
        except (http_errors.NotFound, http_errors.BadRequest) as error:
            # (A log that was never read may have the provider, class or trait that the answer says is not there.)
            if error.is_of_state and (type(error) is http_errors.NotFound or not request.has_written):
                self._region.check_all_were_read()
            raise

    def _answer_of_state(self, request, route, arguments):
        try:
            request.missed = tuple(self._region.wait_for_shared(request.provider_uuid))
            response = self._handle(request, route, arguments)
            if not request.found_nothing or request.is_fenced or request.has_written:
                return response
        except (http_errors.NotFound, http_errors.Conflict, http_errors.BadRequest) as error:
            if request.is_fenced or request.has_written or not error.is_of_state:
                raise
        request.fence()
        return self._handle(request, route, arguments)

    def _handle(self, request, route, arguments):
        try:
            return route.handler(request, **arguments)
        except errors.NovaSchedError as fault:
            raise http_errors.Unavailable(str(fault)) from None

    def _error(self, request, error, has_version):
        path = request.environ.get("PATH_INFO", "")  # webob's own attribute fails for one that is not in UTF-8
        LOG.debug("%s %r is answered %d: %s", request.method, path, error.status, error.detail)
        more = {}
        if not has_version and error.status == 406:
            more = {"max_version": versions.VERSIONS[-1], "min_version": versions.VERSIONS[0]}
        code = error.code if has_version and request.version >= versions.ERRORS_HAVE_CODES else None
        if _wants_html(request.environ.get("HTTP_ACCEPT")):
            body = f"<html><body><h1>{int(error.status)}</h1><p>{html.escape(error.detail)}</p></body></html>".encode()
            response = webob.Response(body=body, status=int(error.status), content_type="text/html", charset="utf-8")
        else:
            body = error_body(error, code, request.request_id or None, **more)
            response = webob.Response(body=body, status=int(error.status), content_type=JSON, charset=None)
        response.headers.extend(error.headers)
        return response


def _check_length(environ) -> None:
    length = environ.get("CONTENT_LENGTH")
    if not length:
        return
    if not length.isascii() or not length.isdigit():
        raise http_errors.BadRequest("content-length header must be an integer")
    if int(length) and not environ.get("CONTENT_TYPE"):
        raise http_errors.BadRequest("content-type header required when content-length > 0")


def _accepts_json(accept: str | None) -> bool:
    return accept is None or accept in ("*/*", JSON) or bool(create_accept_header(accept).acceptable_offers([JSON]))


def _wants_html(accept: str | None) -> bool:
    """Whether a client, such as a browser, wants HTML and not JSON."""
    return accept is not None and "html" in accept and not _accepts_json(accept)
