"""A request of the API, as handlers see it."""

import webob
from oslo_middleware.request_id import GLOBAL_REQ_ID

from placement_api.http_errors import BadRequest, Unavailable
from placement_api.refusals import error_of
from placement_api.schemas.validators import plain_uuid, read_json
from placement_api.versions import FIRST
from rpc_api.clock import SYSTEM

REQUEST_ID = "openstack.request_id"
CONTEXT = "placement_api.context"


class Request(webob.Request):
    """A request with its microversion, the user of its token and the region that it is about."""

    # webob keeps an attribute of a request in its environment unless the class has it too. All of ours have it, so
    # nothing must be looked for each time that one is set.
    __setattr__ = object.__setattr__
    conf = region = enforcer = None
    version = FIRST
    #: Whether everything is folded that was acknowledged before this request came.
    is_fenced = False
    #: Set by a handler whose answer says that something is not there: the state may be a little old.
    found_nothing = False
    #: Names of the cells of which the state was old when the request was answered.
    missed: tuple[str, ...] = ()
    #: The provider of the path, None if it names none.
    provider_uuid = None
    #: Set when an event of this request is in the log: then its outcome is exact.
    has_written = False

    @classmethod
    def of(cls, environ, conf, region, enforcer):
        """The request of a WSGI environment."""
        request = cls(environ)
        request.conf, request.region, request.enforcer = conf, region, enforcer
        return request

    @property
    def context(self):
        """The user of the token."""
        return self.environ[CONTEXT]

    @property
    def GET(self):
        """The parameters of the query; BadRequest if it is not in UTF-8."""
        try:
            return super().GET
        except UnicodeDecodeError as broken:
            raise BadRequest(f"Invalid query string parameters: {broken}") from None

    @property
    def request_id(self) -> str:
        """The id of the request."""
        return self.environ.get(REQUEST_ID) or ""

    @property
    def client_id(self) -> str:
        """The id that the client gave the request, else that of the request."""
        return self.environ.get(GLOBAL_REQ_ID) or self.request_id

    @property
    def prefix(self) -> str:
        """The path at which the API is mounted."""
        return self.environ.get("SCRIPT_NAME", "")

    def now_ns(self) -> int:
        """The time, in nanoseconds since 1970."""
        return SYSTEM.now_ns()

    def fence(self) -> None:
        """Wait until everything is folded that was acknowledged before this request came."""
        if not self.is_fenced:
            self.fence_again()

    def fence_again(self) -> None:
        """Wait until everything is folded that was acknowledged until now."""
        try:
            left_out = self.region.fence()
        except Unavailable:
            # (No log came up to the fence, and the answer says so.)
            self.missed = tuple(self.region.logs)
            raise
        self.missed = tuple(dict.fromkeys((*self.missed, *left_out)))
        self.is_fenced = True

    def fence_before_removal(self) -> None:
        """Wait for a fence before something is removed from all logs that have it; Unavailable if it may remain in a
        log that does not come up to the fence, although its cell is not down."""
        self.fence()
        self.region.check_away(self.missed)

    def authorize(self, rule: str, target: dict | None = None) -> None:
        """Forbidden if the policy does not allow the rule."""
        self.enforcer.authorize(self.context, rule, target)

    def read_json(self, schema):
        """The body, checked by the schema of this microversion."""
        try:
            body = self.body
        except OSError:
            raise BadRequest("The body of the request ends before its length.") from None
        data = read_json(body)
        schema.find(self.version).validate(data)
        return data

    def check_query(self, schema) -> None:
        """BadRequest if the query does not fit the schema of this microversion."""
        schema.find(self.version).validate(self.GET)

    # --- writing -------------------------------------------------------------------------------------------------

    def who(self) -> tuple[str, str | None]:
        """Who writes: the last two fields of each event of the ledger."""
        return self.request_id, self.context.user_id

    def write(self, log, event, refusals=None):
        """Write an event of the ledger into a log, and return its outcome (Written). If it is refused, raise the error
        that ``refusals`` or the general table has for the reason."""
        self.has_written = True
        written = log.write(event)
        if written.reason is not None:
            raise error_of(written.reason, refusals or {})
        return written


def uuid_of(text: str | None) -> str | None:
    """A uuid in its usual form, lower case with dashes; None if it is none."""
    return None if text is None else plain_uuid(text)
