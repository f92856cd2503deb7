"""No project sees data of another project, or a host, through any route."""

import json

import pytest

from nova_sched.page.app import PROOF
from nova_sched.page.routes import ALL_PROJECTS, LOGGED_IN, OPEN, ROUTES
from tests.builders import uuid_of
from tests.nova_sched.page.pages import OWN
from tests.nova_sched.page.projects import MINE, OF_OPERATORS, OTHER, TOKENS, USERS, served, written
from tests.placement_api.keystone import Keystone

PASSWORDS = {user: (password, project) for user, password, project in USERS}
OTHERS = ("vm", "refused", "lost", "failed", "late", "bad")
#: What a member asks at each route that is open to members, with everything that may name something of others.
QUESTIONS = {
    "/api/news": [{}, {"after": "0"}, {"after": "3", "version": "1"}, {"wait": "1"}],
    "/api/happenings": [
        {},
        {"at": "first"},
        {"at": "last"},
        {"at": "cell-secret:8"},
        {"at": "@1800000010"},
        {"most": "200"},
    ],
    "/api/instances": [
        {},
        {"at": "last"},
        {"at": "cell-secret:12"},
        {"begin": uuid_of(f"{OTHER}-vm")},
        {"begin": uuid_of(f"{OTHER}-vm")[:8]},
    ],
    "/api/search": [{"q": "secret"}, {"q": "secret-host-1"}, {"q": uuid_of(f"{OTHER}-vm")}, {"q": "req-foreign"}],
    "/api/explain": [
        {"key": key}
        for name in (*(f"{OTHER}-{kind}" for kind in OTHERS),)
        for key in (uuid_of(name), uuid_of(name)[:8], f"req-{name}", "req-foreig", "secret-host-1")
    ],
}


@pytest.fixture(scope="module")
def keystone():
    found = Keystone(TOKENS, USERS)
    yield found
    found.close()


@pytest.fixture(scope="module")
def page(keystone):
    with served(keystone, logins_per_minute=1e6, request_burst=10_000) as found:
        yield found


def log_in(page, user):
    """Log in as a user; returns the answer."""
    password, project = PASSWORDS[user]
    return page.log_in(user, password, project=project)


@pytest.fixture
def member(page):
    assert log_in(page, "alice").code == 200
    yield page
    page.cookie = None


def test_each_route_for_members_is_asked():
    assert QUESTIONS.keys() == {route.path for route in ROUTES if route.who == LOGGED_IN}


@pytest.mark.parametrize("path, parameters", [(path, one) for path in QUESTIONS for one in QUESTIONS[path]])
def test_a_member_sees_nothing_of_others_and_no_host(member, path, parameters):
    member.page.cloud.happenings.close()  # (a wait ends at once)
    answered = member.ask(path, **parameters)
    text = answered.body.decode()
    for value in parameters.values():
        text = text.replace(value, "")  # what was asked for may be repeated
    for name in OTHERS:
        assert uuid_of(f"{OTHER}-{name}") not in text and f"{OTHER}-{name}" not in text
    assert not [secret for secret in (*OF_OPERATORS, OTHER) if secret in text], text


def test_a_member_sees_its_own(member):
    instances = member.get("instances")
    assert {one["instance"]: one["state"] for one in instances["instances"]} == {
        uuid_of(f"{MINE}-vm"): "running",
        uuid_of(f"{MINE}-failed"): "claimed",
    }
    assert instances["instances"][0].keys() == {"instance", "state", "resources"}
    found = member.get("happenings", most="200")["happenings"]
    assert {(one["kind"], one["instance"]) for one in found} == {
        ("chosen", uuid_of(f"{MINE}-vm")),
        ("no host", uuid_of(f"{MINE}-refused")),
        ("claim refused", uuid_of(f"{MINE}-lost")),
        ("build failed", uuid_of(f"{MINE}-failed")),
        ("claim expired", uuid_of(f"{MINE}-late")),
    }
    assert {one["project"] for one in found} == {MINE}
    (explained,) = member.get("explain", key=uuid_of(f"{MINE}-refused"))["decisions"]
    assert explained["summary"] == "no valid host was found" and explained["filters"] == ["ResourceFilter"]
    assert explained["asked"] == "m1.tiny: 1 VCPU"
    (built,) = member.get("explain", key=f"req-{MINE}-vm")["decisions"]
    assert built["end"] == {"code": "built", "text": "the instance was built"}


def test_a_member_that_asks_for_others_gets_the_same_answer_as_for_nothing(member):
    texts = {
        member.ask("/api/explain", key=key).body.decode().replace(key, "KEY")
        for key in (
            uuid_of(f"{OTHER}-vm"),
            uuid_of("there is none"),
            f"req-{OTHER}-bad",
            "req-none",
            uuid_of(f"{MINE}-vm")[:10],
        )
    }
    assert len(texts) == 1


def test_the_past_of_a_member_is_limited_too(member):
    log = written().log
    assert member.get("instances", at="first")["instances"] == []
    for position in range(log.bounds().last):
        found = member.get("instances", at=f"cell-secret:{position}")["instances"]
        assert {one["instance"] for one in found} <= {uuid_of(f"{MINE}-{name}") for name in OTHERS}, position


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.who == ALL_PROJECTS], ids=lambda route: f"{route.method} {route.path}"
)
def test_what_is_of_all_projects_is_refused_to_a_member(member, route):
    answered = member.ask(
        route.path, route.method, b"{}", OWN, name="secret-host-1", key=f"req-{MINE}-vm", host="secret-host-1"
    )
    assert answered.code == 403 and answered.json == {
        "error": "only those who see all projects may see this (page:all_projects)"
    }


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.who != OPEN], ids=lambda route: f"{route.method} {route.path}"
)
def test_nothing_is_shown_to_nobody(page, route):
    page.cookie = None
    answered = page.ask(route.path, route.method, b"{}", OWN)
    assert answered.code == 401 and answered.json == {"error": "nobody is logged in, or the session has ended; log in"}


@pytest.mark.parametrize("user", ["boss", "reader"])
def test_an_administrator_and_a_reader_of_the_system_see_all(page, user):
    assert log_in(page, user).code == 200
    text = json.dumps(
        [
            page.get("hosts"),
            page.get("happenings", most="200"),
            page.get("instances"),
            page.get("host", name="secret-host-1"),
        ]
    )
    for name in (MINE, OTHER, "secret-host-3"):
        assert name in text
    assert page.get("explain", key=uuid_of(f"{OTHER}-vm"))["decisions"]
    page.cookie = None


def test_two_sessions_at_once_do_not_mix(page):
    names = {}
    for user in ("alice", "bob", "boss"):
        page.cookie = None
        log_in(page, user)
        names[user] = page.cookie
    for user, project in (("alice", MINE), ("bob", OTHER), ("boss", None)) * 3:
        page.cookie = names[user]
        found = page.get("instances")["instances"]
        projects = (MINE, OTHER) if project is None else (project,)
        assert {one["instance"] for one in found} == {
            uuid_of(f"{of}-{name}") for of in projects for name in ("vm", "failed")
        }
    page.cookie = None


# --- login and logout ------------------------------------------------------------------------------------------------


def test_the_cookie_of_a_session(keystone):
    with served(keystone) as page:
        plain = log_in(page, "alice").headers["Set-Cookie"]
        assert {"HttpOnly", "Path=/", "SameSite=Strict"} <= set(plain.split("; ")) and "Secure" not in plain
        assert "token-alice" not in plain and len(page.cookie) > 40
    with served(keystone, behind_proxy=True) as page:
        assert "Secure" in log_in(page, "alice").headers["Set-Cookie"].split("; ")


def test_the_token_never_leaves_the_page(page):
    answered = log_in(page, "alice")
    shown = page.ask("/api/session")
    assert b"token-alice" not in answered.body + shown.body and b"secret-a" not in answered.body + shown.body
    assert shown.json["session"]["project"] == MINE and shown.json["session"]["ends_ms"] > 0
    page.cookie = None


@pytest.mark.parametrize(
    "form, code, text",
    [
        (
            {"user": "alice", "password": "wrong", "project": MINE},
            401,
            "Keystone does not know this name, password or project",
        ),
        ({"user": "alice", "password": "secret-a", "project": OTHER}, 401, "Keystone does not know this name"),
        ({"user": "nobody", "password": "secret-e"}, 401, "no role that may see the whole system; name a project"),
        ({"user": "", "password": "x"}, 400, "the user is missing"),
        ({"user": "alice"}, 400, "the password is missing"),
        ({"user": 1, "password": "x"}, 400, "the field user is not a text"),
        ({"user": "a" * 300, "password": "x"}, 400, "the field user is not a text of 255 characters at most"),
    ],
)
def test_a_login_that_fails(keystone, form, code, text):
    with served(keystone) as page:
        answered = page.post("login", form)
        assert answered.code == code and text in answered.json["error"] and "Set-Cookie" not in answered.headers


def test_a_keystone_that_does_not_answer(keystone):
    with served(keystone) as page:
        keystone.down = 503
        try:
            answered = log_in(page, "alice")
        finally:
            keystone.down = None
    assert answered.code == 503 and answered.json["error"].startswith(
        "Keystone does not answer as it should; try again"
    )


def test_a_session_ends_with_its_token(keystone):
    with served(keystone) as page:
        assert log_in(page, "late").code == 200
        assert page.ask("/api/instances").code == 401
        assert page.ask("/api/session").json["session"] is None


def test_logout_ends_the_session_and_the_token(keystone):
    with served(keystone) as page:
        log_in(page, "bob")
        kept = page.cookie
        gone = page.post("logout", {})
        assert gone.code == 200 and "Max-Age=0" in gone.headers["Set-Cookie"]
        assert "token-bob" in keystone.revoked
        page.cookie = kept
        assert page.ask("/api/instances").code == 401


def test_attempts_to_log_in_are_limited(keystone):
    with served(keystone) as page:
        codes = [page.post("login", {"user": "alice", "password": "wrong", "project": MINE}).code for _ in range(8)]
        assert codes == [401] * 5 + [429] * 3
        assert int(page.post("login", {"user": "alice", "password": "x"}).headers["Retry-After"]) >= 1
        # Another client is not concerned.
        assert (
            page.post("login", {"user": "alice", "password": "secret-a", "project": MINE}, REMOTE_ADDR="192.0.2.7").code
            == 200
        )


@pytest.mark.parametrize(
    "headers",
    [
        {PROOF: ""},
        {"CONTENT_TYPE": "text/plain"},
        {"HTTP_ORIGIN": "http://evil.example"},
        {"HTTP_ORIGIN": "null"},
        {"HTTP_SEC_FETCH_SITE": "cross-site"},
        {"HTTP_SEC_FETCH_SITE": "same-site"},
    ],
)
@pytest.mark.parametrize("path", [route.path for route in ROUTES if route.method == "POST"])
def test_a_form_of_another_site_does_nothing(member, path, headers):
    answered = member.post(path.removeprefix("/api/"), {"sides": [{}]}, **headers)
    assert answered.code == 403 and answered.json["error"].startswith("the request was not sent by this page itself")
    assert member.page.what_ifs.job.state == "none"


def test_sessions_are_bounded(keystone):
    with served(keystone, sessions=2) as page:
        names = []
        for _ in range(3):
            page.cookie = None
            assert page.post("login", {"user": "alice", "password": "secret-a", "project": MINE}).code == 200
            log_in(page, "alice")
            names.append(page.cookie)
        page.cookie = names[0]
        assert page.ask("/api/instances").code == 401
