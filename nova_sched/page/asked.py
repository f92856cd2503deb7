"""One request, as the handlers see it."""

import json

from webob.multidict import MultiDict

from nova_sched.page.answers import PageError
from nova_sched.page.sessions import Session
from rpc_api.wording import number_of

#: Bytes of the body of a request, and characters of one parameter, at most.
BODY_MAX = 64 * 1024
TEXT_MAX = 512


class Asked:
    """A request of a ``client`` (an address) with the parameters of its URL. ``session`` is None if nobody is logged
    in; ``cookie`` is the name of the session that the browser sent."""

    def __init__(self, page, query: MultiDict, body: bytes, client: str, session: Session | None, cookie: str | None):
        self.page = page
        self.client = client
        self.session = session
        self.cookie = cookie
        self._query, self._body = query, body

    def text(self, name: str, default: str | None = None) -> str | None:
        """Return a parameter; PageError if it is too long, or there are several."""
        values = self._query.getall(name)
        if len(values) > 1:
            raise PageError(f"{name} is there {number_of(len(values), 'time')}, wanted once")
        if not values or not values[0]:
            return default
        if len(values[0]) > TEXT_MAX:
            raise PageError(f"{name} has {number_of(len(values[0]), 'character')}, wanted {TEXT_MAX} at most")
        return values[0]

    def needed(self, name: str) -> str:
        """Return a parameter; PageError if it is missing."""
        found = self.text(name)
        if found is None:
            raise PageError(f"{name} is missing; name it")
        return found

    def number(self, name: str, default: int | None, least: int, most: int) -> int | None:
        """Return a parameter that is a whole number; PageError for any other text."""
        found = self.text(name)
        if found is None:
            return default
        if not (found.isascii() and found.isdigit() and len(found) <= 18 and least <= int(found) <= most):
            raise PageError(f"{name} is {found[:40]!r}, wanted a whole number from {least} to {most}")
        return int(found)

    def json(self) -> dict:
        """Return the body, a JSON object; PageError for any other body."""
        try:
            found = json.loads(self._body)
        except (ValueError, RecursionError):
            raise PageError("the body is not valid JSON; send an object") from None
        if type(found) is not dict:
            raise PageError("the body is not a JSON object; send one")
        return found

    @property
    def project(self) -> str | None:
        """The project to which the answer is limited; None for all projects."""
        return None if self.session.sees_all else self.session.project_id
