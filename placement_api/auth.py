"""Who sends a request: its token is checked, and becomes the context of the request."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from oslo_config import cfg
from oslo_context.context import RequestContext
from oslo_middleware import request_id

from nova_sched.process.keystone_options import check_login
from placement_api.config import NOAUTH
from placement_api.error_answers import answer
from placement_api.http_errors import HTTPError, Unauthorized, Unavailable
from rpc_api import errors

LOG = logging.getLogger(__name__)

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

#: The key of a request's WSGI environment under which its RequestContext is.
CONTEXT = "placement_api.context"
#: The key under which is that Keystone knows the token.
_PASSED = "placement_api.passed"
#: The paths that say which versions there are; they need no token.
OPEN_PATHS = frozenset({"", "/"})
#: The header for a client without a valid token, as of keystonemiddleware.
CHALLENGE = [("WWW-Authenticate", "Keystone")]

__all__ = ["CONTEXT", "OPEN_PATHS", "RequestContext", "context_wrapper", "wrapper"]


def wrapper(conf: cfg.ConfigOpts) -> Callable[[Application], Application]:
    """The middleware that checks tokens, by ``[placement_api] auth_strategy``."""
    return without_check if conf.placement_api.auth_strategy == NOAUTH else lambda made: _with_keystone(made, conf)


def without_check(application: Application) -> Application:
    """Believe each token: ``USER`` or ``USER:PROJECT``. The user ``admin`` has the role admin.

    For tests only. A request names its roles in ``X-Roles``, and has no project if it has a system scope.
    """

    def checked(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "") in OPEN_PATHS:
            return application(environ, start_response)
        token = environ.get("HTTP_X_AUTH_TOKEN")
        if token is None:
            return answer(Unauthorized("The request has no X-Auth-Token."), environ, start_response, CHALLENGE)
        user_id, _, project_id = token.partition(":")
        environ["HTTP_X_USER_ID"] = user_id
        if not environ.get("HTTP_OPENSTACK_SYSTEM_SCOPE"):
            environ["HTTP_X_TENANT_ID"] = project_id or user_id
        if "HTTP_X_ROLES" not in environ:
            environ["HTTP_X_ROLES"] = "admin" if user_id == "admin" else ""
        return application(environ, start_response)

    return checked


def _with_keystone(application: Application, conf: cfg.ConfigOpts) -> Application:
    # It imports the clients of Keystone and of its cache, which tests and noauth2 do not need.
    from keystoneauth1 import loading
    from keystonemiddleware import auth_token

    def passed(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[_PASSED] = True
        return application(environ, start_response)

    try:
        protocol: Application = auth_token.AuthProtocol(passed, {"oslo_config_config": conf})
        known = conf.keystone_authtoken
        if not (known.auth_type or known.auth_section):
            raise ValueError("auth_type is missing")
        check_login(loading.load_auth_from_conf_options(conf, "keystone_authtoken"))
    except Exception as fault:
        # keystoneauth1 raises what its plugins, and its own code, meet.
        raise errors.UsageError(
            f"Keystone cannot be asked with [keystone_authtoken]: {fault}; fix these options, or set [placement_api] "
            "auth_strategy"
        ) from None

    def checked(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "") in OPEN_PATHS:
            return application(environ, start_response)
        refused: list[tuple[str, list[tuple[str, str]]]] = []

        def started(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if _PASSED in environ:
                return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)
            refused.append((status, headers))
            return lambda _: None

        try:
            parts = protocol(environ, started)
        except Exception as fault:
            # (keystoneauth1 raises what its plugins meet here, too.)
            if _PASSED in environ:
                raise
            LOG.error("no token can be checked: Keystone does not answer as it should (%s)", fault)
            LOG.debug("the fault of the check", exc_info=True)
            refused.append(("503", []))
        if not refused:
            return parts
        # Its own answers are not in OpenStack's form for errors.
        (status, headers), *_ = refused
        error: HTTPError = Unauthorized("The token is missing, wrong or expired.")
        if status.startswith("5"):
            error = Unavailable("The token cannot be checked, as Keystone does not answer as it should; try again.")
        kept = [(name, value) for name, value in headers if name.lower() == "www-authenticate"]
        return answer(error, environ, start_response, kept)

    return checked


def context_wrapper(application: Application) -> Application:
    """Put the RequestContext of each request into its environment. A request of nobody is answered with 401."""

    def with_context(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        context = RequestContext.from_environ(environ, request_id=environ.get(request_id.ENV_REQUEST_ID))
        if context.user_id is None and environ.get("PATH_INFO", "") not in OPEN_PATHS:
            LOG.debug("the request has a token without a user")
            return answer(Unauthorized("The request has no user."), environ, start_response, CHALLENGE)
        environ[CONTEXT] = context
        return application(environ, start_response)

    return with_context
