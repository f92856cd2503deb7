"""A login: Keystone gives a token for a name, a password and a project, and says whose it is."""

import calendar
import logging

from oslo_context.context import RequestContext
from oslo_utils import timeutils

from nova_sched.page.answers import Busy, PageError
from nova_sched.page.policies import Rules
from nova_sched.page.sessions import SECOND_NS, Session

LOG = logging.getLogger(__name__)


class Refused(PageError):
    """Keystone does not know the name, the password or the project."""

    code = 401


class Keystone:
    """Keystone at ``[page] auth_url``."""

    def __init__(self, conf, rules: Rules):
        # (The import takes a quarter of a second, and a page without a login does not need it.)
        from keystoneauth1 import session

        options = conf.page
        url = options.auth_url.rstrip("/")
        self._url, self._rules = url if url.endswith("/v3") else f"{url}/v3", rules
        verify = False if options.insecure else options.cafile or True
        self._session = session.Session(verify=verify, timeout=options.keystone_timeout)

    def login(self, user: str, password: str, domain: str, project: str | None, project_domain: str) -> Session:
        """Return a Session: of a project, or of the system without one. Refused for a wrong name or password, Busy if
        Keystone does not answer."""
        from keystoneauth1 import exceptions
        from keystoneauth1.identity import v3

        scope = {"project_name": project, "project_domain_name": project_domain} if project else {"system_scope": "all"}
        account = v3.Password(
            self._url, username=user, password=password, user_domain_name=domain, include_catalog=False, **scope
        )
        try:
            found = account.get_access(self._session)
        except (exceptions.Unauthorized, exceptions.BadRequest, exceptions.NotFound, exceptions.Forbidden):
            raise Refused(
                "Keystone does not know this name, password or project, or the user has no role there; check them"
            ) from None
        except exceptions.ClientException as fault:
            LOG.error("nobody can log in: Keystone does not answer as it should (%s)", fault)
            raise Busy("Keystone does not answer as it should; try again, or see the log of the page") from None
        context = RequestContext(
            user_id=found.user_id,
            project_id=found.project_id,
            roles=list(found.role_names or ()),
            system_scope="all" if found.system_scoped else None,
        )
        sees_all = self._rules.sees_all(context)
        if not sees_all and not found.project_id:
            raise Refused("the user has no role that may see the whole system; name a project")
        return Session(
            found.username or user,
            found.user_id,
            found.project_name,
            found.project_id,
            sees_all,
            calendar.timegm(timeutils.normalize_time(found.expires).timetuple()) * SECOND_NS,
            found.auth_token,
        )

    def logout(self, session: Session) -> None:
        """Have Keystone end the token of a session. If it cannot, the token ends at its own time."""
        from keystoneauth1 import exceptions

        if session.token is None:
            return
        headers = {"X-Auth-Token": session.token, "X-Subject-Token": session.token}
        try:
            self._session.delete(f"{self._url}/auth/tokens", headers=headers, authenticated=False)
        except exceptions.ClientException as fault:
            LOG.info("the token of a session that ended could not be revoked: %s", fault)
