"""Each route of the page: its method and path, who may ask, and what answers."""

from collections.abc import Callable
from typing import NamedTuple

from nova_sched.page.handlers import hosts, news, session, what_if, why

#: Who may ask: everyone, everyone who is logged in (and then sees the own project), or those who see all projects.
OPEN, LOGGED_IN, ALL_PROJECTS = "open", "logged in", "all projects"


class Route(NamedTuple):
    """A route; ``handler`` takes an Asked and returns an Answer."""

    method: str
    path: str
    who: str
    handler: Callable


ROUTES = (
    Route("GET", "/api/session", OPEN, session.show),
    Route("POST", "/api/login", OPEN, session.login),
    Route("POST", "/api/logout", OPEN, session.logout),
    Route("GET", "/api/news", LOGGED_IN, news.news),
    Route("GET", "/api/happenings", LOGGED_IN, news.happenings),
    Route("GET", "/api/instances", LOGGED_IN, hosts.instances),
    Route("GET", "/api/search", LOGGED_IN, why.search),
    Route("GET", "/api/explain", LOGGED_IN, why.explain),
    Route("GET", "/api/why-not", ALL_PROJECTS, why.why_not),
    Route("GET", "/api/hosts", ALL_PROJECTS, hosts.topology),
    Route("GET", "/api/use", ALL_PROJECTS, hosts.use),
    Route("GET", "/api/host", ALL_PROJECTS, hosts.one),
    Route("GET", "/api/what-if", ALL_PROJECTS, what_if.show),
    Route("POST", "/api/what-if", ALL_PROJECTS, what_if.start),
    Route("POST", "/api/what-if/stop", ALL_PROJECTS, what_if.stop),
)
BY_PATH = {
    path: {route.method: route for route in ROUTES if route.path == path} for path in {route.path for route in ROUTES}
}
