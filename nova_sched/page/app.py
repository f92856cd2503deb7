"""The WSGI application of the page."""

import logging
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from webob import Request

from nova_sched.page import answers, assets
from nova_sched.page.asked import BODY_MAX, Asked
from nova_sched.page.bodies import Bodies
from nova_sched.page.cloud import Cloud, NotReady
from nova_sched.page.explain import Explainer
from nova_sched.page.handlers.session import COOKIE, cookie_of
from nova_sched.page.limits import Rate, Waits
from nova_sched.page.routes import ALL_PROJECTS, BY_PATH, OPEN
from nova_sched.page.sessions import OF_LOOPBACK, Sessions
from nova_sched.page.what_if import WhatIfs
from nova_sched.process.monitoring.health import OK
from nova_sched.process.text import one_line
from nova_sched.process.web.server import REFUSED
from rpc_api import errors
from rpc_api.clock import SYSTEM

LOG = logging.getLogger(__name__)

#: Requests of one client that may wait for news: a browser has one for each tab.
WAITS_OF_CLIENT = 6
#: Bodies that are kept: some moments of a slider that is moved.
BODIES = 24
LOGIN_BURST = 5
#: The header that only scripts of the page itself can set: another site's form or script cannot.
PROOF = "HTTP_X_NOVA_SCHED_PAGE"
CODES = {errors.UsageError: 400, errors.LogGap: 404, errors.LogUnavailable: 503}


class Page:
    """All that requests need. ``options`` are those of [page]; ``keystone`` is None without a login."""

    def __init__(
        self, source, options, catalogue, what_ifs: WhatIfs, keystone=None, cache=None, store=None, clock=SYSTEM
    ):
        self.options, self.clock, self.catalogue = options, clock, catalogue
        self.keystone = keystone
        self.sessions = Sessions(options.sessions, clock)
        self.cloud = Cloud(source, options.changes, options.happenings, cache, store, clock)
        self.explainer = Explainer(source, catalogue, cache, store)
        self.what_ifs = what_ifs
        self.bodies = Bodies(BODIES)
        self.requests = Rate(options.requests_per_second, options.request_burst, clock)
        self.logins = Rate(options.logins_per_minute / 60, LOGIN_BURST, clock)
        self.waits = Waits(options.waiting, WAITS_OF_CLIENT)

    def cookie(self, name: str) -> str:
        """Return Set-Cookie for the name of a session."""
        return cookie_of(name, self.options.behind_proxy)


class Application:
    """Answers the requests for a Page."""

    def __init__(self, page: Page):
        self._page = page
        self._own_hosts = set()
        self._assets = assets.load()

    def use_hosts(self, own_hosts) -> None:
        """Answer only under these values of the header Host; empty: any."""
        self._own_hosts = {host.lower() for host in own_hosts}

    def __call__(self, environ, start_response):
        try:
            answer = self._answer(environ)
        except answers.PageError as fault:
            answer = answers.error_answer(fault)
        except NotReady as fault:
            answer = answers.as_json({"error": str(fault)}, 503)
        except errors.NovaSchedError as fault:
            code = next((code for kind, code in CODES.items() if isinstance(fault, kind)), 404)
            answer = answers.as_json({"error": str(fault)}, code)
        except Exception as fault:
            path = one_line(environ.get("PATH_INFO", ""))
            LOG.error("the request %s %s has failed: %r", environ.get("REQUEST_METHOD"), path, fault)
            LOG.debug("the fault of the request", exc_info=True)
            answer = answers.as_json({"error": "the page has failed to answer; its log has the reason"}, 500)
        return answers.send(answer, environ, start_response)

    def _answer(self, environ):
        if REFUSED in environ:
            error = answers.PageError(environ[REFUSED].text)
            error.code = environ[REFUSED].status
            raise error
        path, method = environ.get("PATH_INFO", ""), environ.get("REQUEST_METHOD", "")
        if path == "/healthz":
            return answers.as_json({"is_ready": not self._page.cloud.why_not_ready()})
        if path == "/readyz":
            return self._readiness(environ)
        # A site of someone else may give its own name the address of this page, and read what it answers.
        if self._own_hosts and environ.get("HTTP_HOST", "").lower() not in self._own_hosts:
            raise answers.NotAllowed(
                "the page does not answer under this name; use the address that it printed, or set [page] allowed_hosts"
            )
        client = self._client(environ)
        if path == "/" or path.startswith("/static/"):
            if method not in ("GET", "HEAD"):
                raise _not_allowed(method, ("GET", "HEAD"))
            return self._asset(path.removeprefix("/static/") if path != "/" else assets.INDEX, environ)
        self._page.requests.take(client, "there are too many requests from this address; the page asks again soon")
        routes = BY_PATH.get(path)
        if routes is None:
            raise answers.NotThere(f"the page has no path {path[:80]!r}; begin at /")
        route = routes.get("GET" if method == "HEAD" else method)
        if route is None:
            raise _not_allowed(method, routes)
        if method == "POST":
            _check_origin(environ)
        return route.handler(self._asked(route, environ, client))

    def _readiness(self, environ):
        """As /readyz of the services: OK, or the reasons, one per line or as JSON."""
        reasons = self._page.cloud.why_not_ready()
        if reasons and self._page.keystone is not None:
            # Nobody has logged in here, and the reasons name cells and files.
            reasons = ["the logs cannot be read, or are not read yet; the log of the page has the reason"]
        code = 503 if reasons else 200
        if "application/json" in environ.get("HTTP_ACCEPT", ""):
            return answers.as_json({"reasons": reasons or [OK]}, code)
        return answers.Answer(code, "\n".join(reasons or [OK]).encode("utf-8", "replace"), "text/plain; charset=utf-8")

    def _asked(self, route, environ, client):
        cookie = _cookie(environ)
        session = OF_LOOPBACK if self._page.keystone is None else self._page.sessions.get(cookie)
        if route.who != OPEN:
            if session is None:
                raise answers.LoginNeeded("nobody is logged in, or the session has ended; log in")
            if route.who == ALL_PROJECTS and not session.sees_all:
                raise answers.NotAllowed("only those who see all projects may see this (page:all_projects)")
        request = Request(environ)
        try:
            query = request.GET
        except UnicodeDecodeError:
            raise answers.PageError("the address is not in UTF-8; fix it") from None
        return Asked(self._page, query, _body(environ), client, session, cookie)

    def _client(self, environ):
        if self._page.options.behind_proxy:
            # The last one is what the proxy added; a client can write the others itself.
            named = environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
            if named:
                return named[:64]
        return environ.get("REMOTE_ADDR") or "-"

    def _asset(self, name, environ):
        found = self._assets.get(name)
        if found is None:
            raise answers.NotThere(f"the page has no file {name[:80]!r}; begin at /")
        headers = (("ETag", found.etag), ("Cache-Control", "no-cache"))
        if environ.get("HTTP_IF_NONE_MATCH") == found.etag:
            return answers.Answer(304, b"", found.kind, headers)
        return answers.Answer(200, found.body, found.kind, headers)


def _not_allowed(method, allowed):
    error = answers.PageError(f"{method[:20]} is not possible here, wanted {' or '.join(sorted(allowed))}")
    error.code, error.headers = 405, (("Allow", ", ".join(sorted(allowed))),)
    return error


def _check_origin(environ):
    """Raise NotAllowed for a request that a page of another site may have sent."""
    origin, site = environ.get("HTTP_ORIGIN"), environ.get("HTTP_SEC_FETCH_SITE", "same-origin")
    is_own = origin is None or _host_of(origin) == environ.get("HTTP_HOST", "").lower()
    is_json = environ.get("CONTENT_TYPE", "").partition(";")[0].strip() == "application/json"
    if not (is_own and site == "same-origin" and is_json and environ.get(PROOF) == "1"):
        raise answers.NotAllowed("the request was not sent by this page itself; open the page and try again")


def _host_of(origin):
    """The host and port of an origin; None for a text that is not a URL."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _cookie(environ):
    try:
        found = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


def _body(environ):
    length = environ.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdigit()):
        raise answers.PageError("the length of the body is not a number; fix Content-Length")
    if len(length) > 9 or int(length) > BODY_MAX:
        error = answers.PageError(f"the body has more than {BODY_MAX} bytes; send less")
        error.code = 413
        raise error
    return environ["wsgi.input"].read(int(length))
