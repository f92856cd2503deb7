"""Tokens that Keystone checks, roles, and the policy: who may do what, and what a client without rights gets."""

import logging
import os

import pytest
import yaml
from keystoneauth1.identity.generic import Password
from oslo_config import cfg
from oslo_context.context import RequestContext

from placement_api import config
from placement_api.app import make_app
from placement_api.http_errors import Forbidden
from placement_api.policies import ANSWERS_LAST, Enforcer
from placement_api.region import Region
from rpc_api import errors
from tests.against_nova.ledger_answers import state_of
from tests.placement_api.client import PROJECT, Client, World, client_of
from tests.placement_api.keystone import HOUR, PASSWORD, Keystone, token
from tests.placement_api.regions import uuid_of

TOKENS = {
    "admin": token("boss", "admins", ("admin", "member", "reader")),
    "service": token("nova", "service", ("service",)),
    "reader": token("looks", PROJECT, ("reader",)),
    "member": token("works", PROJECT, ("member", "reader")),
    "other": token("looks", "another project", ("reader",)),
    "nobody": token("nobody", PROJECT, ()),
    "system": token("boss", roles=("admin",), system=True),
    # Keystone may still know it, if it is asked for a service token's sake.
    "late": token("boss", "admins", ("admin",), age=HOUR),
}
PROVIDER = f"/resource_providers/{uuid_of('host-1')}"


@pytest.fixture(scope="module")
def region():
    found = Region.in_memory()
    World().write(client_of(found))
    yield found
    found.close()


@pytest.fixture(scope="module")
def keystone():
    found = Keystone(TOKENS)
    yield found
    found.close()


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


def configured(folder, url, password=PASSWORD, policy=None):
    """The configuration of an API whose tokens Keystone checks."""
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy or {}))
    path = folder / "placement.conf"
    path.write_text(
        f"""
[oslo_policy]
policy_file = {folder}/policy.yaml
[keystone_authtoken]
auth_type = password
auth_url = {url}
www_authenticate_uri = http://keystone.example
username = placement
password = {password}
user_domain_id = default
project_name = service
project_domain_id = default
http_connect_timeout = 5
http_request_max_retries = 0
"""
    )
    conf = cfg.ConfigOpts()
    config.register(conf)
    conf([], project="nova_sched", default_config_files=[str(path)], default_config_dirs=[])
    return conf


@pytest.fixture
def api(tmp_path, region, keystone, caplog):
    """The API with Keystone. A refused request changes nothing and leaves no traceback in the log."""
    (projection,) = region.projections()
    before = state_of(projection)
    with caplog.at_level(logging.INFO):
        yield Client(make_app(configured(tmp_path, keystone.url), region))
    assert state_of(projection) == before
    assert [record for record in caplog.records if record.exc_info and record.levelno > logging.DEBUG] == []


def ask(api, user, method="GET", path="/resource_providers", body=None, **headers):
    """The status of an answer to a token; an error is in OpenStack's form."""
    answer = api.ask(method, path, body, **{"X-Auth-Token": user, **headers})
    if answer.status >= 400:
        (error,) = answer.body["errors"]
        assert error["status"] == answer.status and error["title"] and error["detail"] and error["request_id"]
        assert "Traceback" not in error["detail"]
    return answer


@pytest.mark.parametrize("user", ["unknown", "late", "", "x" * 5000, "\xff"])
def test_a_wrong_or_expired_token_is_refused(api, user):
    answer = ask(api, user, "DELETE", PROVIDER)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Keystone uri="http://keystone.example"'


def test_a_request_without_a_token_is_refused(api):
    answer = api.ask("GET", "/resource_providers", **{"X-Auth-Token": ""})
    assert answer.status == 401 and answer.body["errors"][0]["detail"]


def test_who_a_client_says_that_it_is_does_not_count(api):
    claimed = {"X-Roles": "admin", "X-User-Id": "boss", "X-Project-Id": "admins", "X-Identity-Status": "Confirmed"}
    assert ask(api, "unknown", **claimed).status == 401
    assert ask(api, "reader", **claimed).status == 403


def test_the_versions_need_no_token(api, keystone):
    asked = keystone.asked
    assert ask(api, "unknown", path="/").status == 200
    assert keystone.asked == asked


#: Method and path -> the tokens that may do it by Placement's defaults; the others are refused.
ALLOWED = {
    ("GET", "/resource_providers"): {"admin", "service"},
    ("GET", PROVIDER): {"admin", "service"},
    ("GET", f"{PROVIDER}/inventories"): {"admin", "service"},
    ("GET", f"/allocations/{uuid_of('vm-1')}"): {"admin", "service"},
    ("GET", "/traits"): {"admin", "service"},
    ("GET", "/resource_classes"): {"admin", "service"},
    ("GET", f"/usages?project_id={PROJECT}"): {"admin", "service", "reader", "member"},
    ("GET", "/usages?project_id=another project"): {"admin", "service", "other"},
    ("POST", "/reshaper"): {"service"},
}


@pytest.mark.parametrize("user", [name for name in TOKENS if name != "late"])
@pytest.mark.parametrize("method, path", ALLOWED)
def test_roles_count_by_placements_defaults(api, method, path, user):
    # The body of a reshape is refused after the rights were checked.
    answer = ask(api, user, method, path, {} if method == "POST" else None)
    allowed = {"GET": 200, "POST": 400}[method]
    assert answer.status == (allowed if user in ALLOWED[method, path] else 403)


@pytest.mark.parametrize("user", ["reader", "member", "other", "nobody", "system"])
@pytest.mark.parametrize(
    "method, path, body",
    [
        ("POST", "/resource_providers", {"name": "mine"}),
        ("DELETE", PROVIDER, None),
        ("PUT", "/traits/CUSTOM_MINE", None),
        ("DELETE", f"/allocations/{uuid_of('vm-1')}", None),
        ("PUT", f"{PROVIDER}/inventories", {"resource_provider_generation": 3, "inventories": {}}),
    ],
)
def test_a_client_without_rights_changes_nothing(api, user, method, path, body):
    assert ask(api, user, method, path, body).status == 403


def test_a_policy_file_overrides_the_defaults(tmp_path, region, keystone):
    rules = {
        "placement:resource_providers:list": "role:reader",
        "placement:usages": "rule:admin_api",
        "admin_api": "user_id:works",
    }
    api = Client(make_app(configured(tmp_path, keystone.url, policy=rules), region))
    usages = f"/usages?project_id={PROJECT}"
    assert [ask(api, user).status for user in ("reader", "service")] == [200, 403]
    assert [ask(api, user, path=usages).status for user in ("reader", "works", "member")] == [403, 401, 200]
    assert ask(api, "admin", path=PROVIDER).status == 200


def test_a_policy_file_is_read_again_when_it_changes(tmp_path, region, keystone):
    api = Client(make_app(configured(tmp_path, keystone.url), region))
    assert ask(api, "reader").status == 403
    (tmp_path / "policy.yaml").write_text('"placement:resource_providers:list": "role:reader"\n')
    assert ask(api, "reader").status == 200


def damaged_by(text):
    return lambda path: path.write_text(text)


def made_a_directory(path):
    path.unlink()
    path.mkdir()


def made_unreadable(path):
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")


DAMAGED = {
    "YAML": damaged_by("a: ["),
    "a list": damaged_by("- x"),
    "a number": damaged_by('"placement:resource_providers:list": 5'),
    "a byte": damaged_by("\x01"),
    "rules that need each other": damaged_by(
        '"placement:resource_providers:list": "role:reader or rule:a"\n"a": "rule:placement:resource_providers:list"'
    ),
    "a rule that needs its opposite": damaged_by('"placement:resource_providers:list": "rule:a"\n"a": "not rule:a"'),
    "a directory": made_a_directory,
    "unreadable": made_unreadable,
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_policy_file_is_a_wrong_option(tmp_path, region, keystone, damage):
    conf = configured(tmp_path, keystone.url)
    damage(tmp_path / "policy.yaml")
    with pytest.raises(errors.UsageError, match=r"policy\.yaml"):
        make_app(conf, region)


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_policy_file_that_is_damaged_later_does_not_count(tmp_path, region, keystone, damage, caplog):
    rules = {"placement:resource_providers:list": "role:reader"}
    api = Client(make_app(configured(tmp_path, keystone.url, policy=rules), region))
    assert ask(api, "reader").status == 200
    damage(tmp_path / "policy.yaml")
    assert [ask(api, user).status for user in ("reader", "service", "reader")] == [200, 403, 200]
    assert caplog.text.count("the rules of the policy stay as they were") == 1, "once for each change"


def test_a_directory_of_policies_that_is_damaged_later_does_not_count(tmp_path, region, keystone, caplog):
    folder = tmp_path / "policy.d"
    folder.mkdir()
    (folder / "one.yaml").write_text('"placement:resource_providers:list": "role:reader"')
    conf = configured(tmp_path, keystone.url)
    conf.set_override("policy_dirs", [str(folder)], "oslo_policy")
    clock = Clock()
    rules = Enforcer(conf, clock)
    reader = RequestContext(user_id="looks", roles=["reader"])
    rules.authorize(reader, "placement:resource_providers:list")
    (folder / "two.yaml").write_text("a: [")
    clock.now += 2 * ANSWERS_LAST
    rules.authorize(reader, "placement:resource_providers:list")
    assert "the rules of the policy stay as they were" in caplog.text
    (folder / "two.yaml").write_text('"placement:resource_providers:list": "role:admin"')
    clock.now += 2 * ANSWERS_LAST
    with pytest.raises(Forbidden):
        rules.authorize(reader, "placement:resource_providers:list")


def test_keystone_that_does_not_work_is_said(api, keystone):
    """It is a fault of the server: clients may try again."""
    keystone.down = 500
    try:
        answer = ask(api, "admin fresh")
        assert answer.status == 503 and "Keystone" in answer.body["errors"][0]["detail"]
    finally:
        keystone.down = None
    assert ask(api, "admin").status == 200


def test_keystone_that_cannot_be_reached_is_said(tmp_path, region, caplog):
    gone = Keystone({})
    gone.close()
    api = Client(make_app(configured(tmp_path, gone.url), region))
    answer = ask(api, "admin", "DELETE", PROVIDER)
    assert answer.status == 503 and "Keystone" in answer.body["errors"][0]["detail"]
    assert ask(api, "admin", path="/").status == 200
    assert [record for record in caplog.records if record.exc_info and record.levelno > logging.DEBUG] == []


def test_a_login_without_a_password_is_a_wrong_option(tmp_path, region, keystone):
    conf = configured(tmp_path, keystone.url)
    (tmp_path / "placement.conf").write_text((tmp_path / "placement.conf").read_text().replace("password = ", "#"))
    conf.reload_config_files()
    with pytest.raises(errors.UsageError, match=r"\[keystone_authtoken\]: password is .*; fix these options"):
        make_app(conf, region)


def test_a_login_that_meets_its_own_fault_is_one_of_the_server(api, monkeypatch, caplog):
    """keystoneauth1's plugins raise others than its own exceptions, too."""

    def fault(self, session):
        raise Exception("the plugin has a fault")

    monkeypatch.setattr(Password, "get_auth_ref", fault)
    answer = ask(api, "admin")
    assert answer.status == 503 and "Keystone" in answer.body["errors"][0]["detail"]
    assert "no token can be checked: " in caplog.text and "the plugin has a fault" in caplog.text


def test_keystone_without_a_catalog_is_said(tmp_path, region, keystone, caplog):
    keystone.has_catalog = False
    try:
        assert ask(Client(make_app(configured(tmp_path, keystone.url), region)), "admin").status == 503
    finally:
        keystone.has_catalog = True
    assert [record for record in caplog.records if record.exc_info and record.levelno > logging.DEBUG] == []
    assert "catalog" in caplog.text


def test_a_wrong_password_of_the_service_is_said(tmp_path, region, keystone, caplog):
    api = Client(make_app(configured(tmp_path, keystone.url, "pa55w0rd"), region))
    answer = ask(api, "admin")
    assert answer.status == 503 and "Keystone" in answer.body["errors"][0]["detail"]
    assert PASSWORD not in caplog.text and "pa55w0rd" not in caplog.text
