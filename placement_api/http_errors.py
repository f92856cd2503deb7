"""The errors that a handler raises: each is an answer of the API.

The codes are Placement's, as clients compare them.
"""

from http import HTTPStatus

UNDEFINED = "placement.undefined_code"
CONCURRENT_UPDATE = "placement.concurrent_update"
INVENTORY_IN_USE = "placement.inventory.inuse"
DUPLICATE_NAME = "placement.duplicate_name"
PROVIDER_IN_USE = "placement.resource_provider.inuse"
PROVIDER_HAS_CHILDREN = "placement.resource_provider.cannot_delete_parent"
PROVIDER_NOT_FOUND = "placement.resource_provider.not_found"
DUPLICATE_KEY = "placement.query.duplicate_key"
BAD_VALUE = "placement.query.bad_value"
MISSING_VALUE = "placement.query.missing_value"
CODES = frozenset(
    (
        UNDEFINED,
        CONCURRENT_UPDATE,
        INVENTORY_IN_USE,
        DUPLICATE_NAME,
        PROVIDER_IN_USE,
        PROVIDER_HAS_CHILDREN,
        PROVIDER_NOT_FOUND,
        DUPLICATE_KEY,
        BAD_VALUE,
        MISSING_VALUE,
    )
)


#: Characters of a detail, at most.
DETAIL_MAX = 8000


class HTTPError(Exception):
    """An answer with an error. ``detail`` is one sentence for the client, ``headers`` are further ones of the answer.

    If it is ``of_state``, it is about the state that this worker has, which may be a little old: the router waits for a
    fence, and asks the handler again. By default this is so for the errors of some classes.
    """

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    is_of_state = False

    def __init__(
        self,
        detail: str = "",
        code: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        of_state: bool | None = None,
    ):
        super().__init__(detail)
        # It may quote what the client sent, such as the name of a method, which has no limit of its own. And it is one
        # line, as Placement's: osc-placement shows the last one.
        shown = detail if len(detail) <= DETAIL_MAX else f"{detail[:DETAIL_MAX]}..."
        self.detail = " ".join(shown.split())
        self.code = code or UNDEFINED
        self.headers = headers
        if of_state is not None:
            self.is_of_state = of_state


class BadRequest(HTTPError):
    """The request makes no sense."""

    status = HTTPStatus.BAD_REQUEST


class Unauthorized(HTTPError):
    """The request has no valid token."""

    status = HTTPStatus.UNAUTHORIZED


class Forbidden(HTTPError):
    """The policy does not allow the request."""

    status = HTTPStatus.FORBIDDEN


class NotFound(HTTPError):
    """What the request names is not there."""

    status = HTTPStatus.NOT_FOUND
    is_of_state = True


class MethodNotAllowed(HTTPError):
    """The path has no such method."""

    status = HTTPStatus.METHOD_NOT_ALLOWED


class NotAcceptable(HTTPError):
    """The client accepts neither JSON nor a microversion that is served."""

    status = HTTPStatus.NOT_ACCEPTABLE


class Conflict(HTTPError):
    """The state does not allow the request."""

    status = HTTPStatus.CONFLICT
    is_of_state = True


class TooLarge(HTTPError):
    """The body is too large."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedMediaType(HTTPError):
    """The body is not JSON."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class Unavailable(HTTPError):
    """The log cannot be used now, or the outcome of a write is not known."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class OutcomeUnknown(Unavailable):
    """A write that was appended was not read back: it may count later."""
