"""Who looks at the page: login and logout."""

from http.cookies import SimpleCookie

from nova_sched.page.answers import NotAllowed, PageError, as_json

#: Characters of a field of the login form at most.
FIELD_MAX = 255
COOKIE = "nova_sched_page"


def show(asked):
    """Whether there is a login, and who is logged in."""
    page = asked.page
    return as_json(
        {
            "has_login": page.keystone is not None,
            "default_domain": page.options.default_domain,
            "session": asked.session and asked.session.as_json(),
        }
    )


def login(asked):
    """Log in with Keystone."""
    page = asked.page
    if page.keystone is None:
        raise NotAllowed("this page has no login; set [page] auth_url for one")
    page.logins.take(asked.client, "there were too many attempts to log in; wait before the next one")
    form = asked.json()
    fields = {name: _field(form, name) for name in ("user", "password", "domain", "project", "project_domain")}
    for name in ("user", "password"):
        if not fields[name]:
            raise PageError(f"the {name} is missing; type it")
    domain = fields["domain"] or page.options.default_domain
    session = page.keystone.login(
        fields["user"], fields["password"], domain, fields["project"] or None, fields["project_domain"] or domain
    )
    # A browser that logs in again does not leave its former session behind.
    page.sessions.end(asked.cookie)
    name = page.sessions.begin(session)
    return as_json({"session": session.as_json()}, headers=(("Set-Cookie", page.cookie(name)),))


def logout(asked):
    """End the session."""
    page = asked.page
    session = page.sessions.end(asked.cookie)
    if session is not None and page.keystone is not None:
        page.keystone.logout(session)
    return as_json({"session": None}, headers=(("Set-Cookie", page.cookie("")),))


def _field(form, name):
    value = form.get(name) or ""
    if type(value) is not str or len(value) > FIELD_MAX:
        raise PageError(f"the field {name} is not a text of {FIELD_MAX} characters at most; check it")
    return value


def cookie_of(name: str, is_secure: bool) -> str:
    """Return the value of Set-Cookie for the name of a session; an empty one removes the cookie."""
    made = SimpleCookie()
    made[COOKIE] = name
    morsel = made[COOKIE]
    morsel["path"], morsel["httponly"], morsel["samesite"] = "/", True, "Strict"
    if is_secure:
        morsel["secure"] = True
    if not name:
        morsel["max-age"] = 0
    return morsel.OutputString()
