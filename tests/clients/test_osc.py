"""Every command of osc-placement."""

import json

import pytest

from tests.clients.conftest import asked, client_python, running
from tests.placement_api.regions import uuid_of

pytestmark = [pytest.mark.clients, pytest.mark.long]

ROOT, CHILD, CONSUMER, POOL = (uuid_of(name) for name in ("root", "child", "vm", "pool"))
NEWEST = "--os-placement-api-version=1.39"


@pytest.fixture(scope="module")
def peer():
    yield from running(client_python("osc"), "osc_peer.py")


@pytest.fixture
def osc(peer, cloud):
    return Osc(asked(peer, cloud.facts))


class Osc:
    """Runs commands, and knows which it has run."""

    def __init__(self, ask):
        self.ask = ask
        self.used = set()
        self.commands = ask("commands")

    def run(self, command, *arguments, version=NEWEST):
        """(Exit code, output, errors) of a command."""
        assert command in self.commands
        self.used.add(command)
        return self.ask("run", [version, *command.split(), *arguments])

    def do(self, command, *arguments, version=NEWEST):
        """What a command prints without a form."""
        code, out, errors = self.run(command, *arguments, version=version)
        assert (code, errors) == (0, ""), (command, errors)
        return out

    def get(self, command, *arguments, version=NEWEST):
        """What a command prints, as JSON."""
        return json.loads(self.do(command, *arguments, "-f", "json", version=version))


def test_every_command(osc, cloud):
    # Resource classes.
    assert osc.do("resource class create", "CUSTOM_GOLD") == ""
    assert osc.do("resource class set", "CUSTOM_SILVER") == ""
    assert osc.get("resource class show", "CUSTOM_GOLD") == {"name": "CUSTOM_GOLD"}
    names = [one["name"] for one in osc.get("resource class list")]
    assert names[:2] == ["VCPU", "MEMORY_MB"] and names[-2:] == ["CUSTOM_GOLD", "CUSTOM_SILVER"]
    assert osc.do("resource class delete", "CUSTOM_SILVER") == ""
    # Traits.
    assert osc.do("trait create", "CUSTOM_FAST") == ""
    assert osc.get("trait show", "CUSTOM_FAST") == {"name": "CUSTOM_FAST"}
    assert osc.get("trait list", "--name", "startswith:CUSTOM_") == [{"name": "CUSTOM_FAST"}]
    # Providers.
    created = osc.get("resource provider create", "root", "--uuid", ROOT)
    assert created == {
        "uuid": ROOT,
        "name": "root",
        "generation": 0,
        "root_provider_uuid": ROOT,
        "parent_provider_uuid": None,
    }
    child = osc.get("resource provider create", "child", "--uuid", CHILD, "--parent-provider", ROOT)
    assert (child["parent_provider_uuid"], child["root_provider_uuid"]) == (ROOT, ROOT)
    assert osc.get("resource provider set", CHILD, "--name", "kid")["name"] == "kid"
    assert [one["name"] for one in osc.get("resource provider list")] == ["root", "kid"]
    assert [one["uuid"] for one in osc.get("resource provider list", "--name", "kid")] == [CHILD]
    assert osc.get("resource provider show", CHILD)["name"] == "kid"
    # Inventories.
    resources = ("VCPU=8", "VCPU:allocation_ratio=4", "MEMORY_MB=4096", "CUSTOM_GOLD=2")
    found = osc.get("resource provider inventory set", ROOT, *(f"--resource={one}" for one in resources))
    assert {one["resource_class"]: one["total"] for one in found} == {"VCPU": 8, "MEMORY_MB": 4096, "CUSTOM_GOLD": 2}
    found = osc.get("resource provider inventory set", ROOT, "--amend", "--resource", "VCPU:reserved=1")
    assert {one["resource_class"]: one["reserved"] for one in found}["VCPU"] == 1
    one = osc.get("resource provider inventory class set", ROOT, "MEMORY_MB", "--total", "2048", "--min_unit", "64")
    assert (one["total"], one["min_unit"]) == (2048, 64)
    assert osc.get("resource provider inventory show", ROOT, "VCPU")["allocation_ratio"] == 4
    assert osc.do("resource provider inventory delete", ROOT, "--resource-class", "CUSTOM_GOLD") == ""
    assert {one["resource_class"] for one in osc.get("resource provider inventory list", ROOT)} == {"VCPU", "MEMORY_MB"}
    # Traits and aggregates of a provider.
    assert osc.get("resource provider trait set", ROOT, "--trait", "CUSTOM_FAST") == [{"name": "CUSTOM_FAST"}]
    assert osc.get("resource provider trait list", ROOT) == [{"name": "CUSTOM_FAST"}]
    assert osc.run("trait delete", "CUSTOM_FAST")[0] == 1
    assert osc.do("resource provider trait delete", ROOT) == ""
    assert osc.do("trait delete", "CUSTOM_FAST") == ""
    generation = str(osc.get("resource provider show", ROOT)["generation"])
    found = osc.get("resource provider aggregate set", ROOT, "--aggregate", POOL, "--generation", generation)
    assert found == osc.get("resource provider aggregate list", ROOT) == [{"uuid": POOL}]
    found = osc.get("resource provider inventory set", POOL, "--aggregate", "--amend", "--resource", "VCPU=16")
    totals = {(one["resource_provider"], one["total"]) for one in found if one["resource_class"] == "VCPU"}
    assert totals == {(ROOT, 16)}
    # Allocations.
    owner = ("--project-id", "p", "--user-id", "u", "--consumer-type", "INSTANCE")
    held = f"rp={ROOT},VCPU=2,MEMORY_MB=512"
    found = osc.get("resource provider allocation set", CONSUMER, "--allocation", held, *owner)
    assert found[0]["resources"] == {"VCPU": 2, "MEMORY_MB": 512}
    (found,) = osc.get("resource provider allocation show", CONSUMER)
    assert (found["resource_provider"], found["project_id"], found["consumer_type"]) == (ROOT, "p", "INSTANCE")
    assert osc.get("resource provider show", ROOT, "--allocations")["allocations"][CONSUMER]["resources"]["VCPU"] == 2
    usage = {one["resource_class"]: one["usage"] for one in osc.get("resource provider usage show", ROOT)}
    assert usage == {"VCPU": 2, "MEMORY_MB": 512}
    usage = {one["resource_class"]: one["usage"] for one in osc.get("resource usage show", "p", version=OLDER)}
    assert usage == {"VCPU": 2, "MEMORY_MB": 512}
    found = osc.get("resource provider allocation unset", CONSUMER, "--resource-class", "MEMORY_MB")
    assert found[0]["resources"] == {"VCPU": 2}
    refused = osc.run("resource provider allocation set", CONSUMER, "--allocation", f"rp={ROOT},VCPU=200", *owner)
    assert refused[0] == 1 and "exceed the capacity" in refused[2]
    (found,) = osc.get("allocation candidate list", "--resource", "VCPU=1")
    assert (found["resource provider"], found["allocation"]) == (ROOT, "VCPU=1")
    grouped = ("--group", "1", "--resource", "VCPU=1", "--group-policy", "none")
    assert osc.get("allocation candidate list", *grouped)[0]["resource provider"] == ROOT
    assert osc.run("resource provider delete", ROOT)[0] == 1
    assert osc.do("resource provider allocation delete", CONSUMER) == ""
    for provider in (CHILD, ROOT):
        assert osc.do("resource provider delete", provider) == ""
    assert osc.do("resource class delete", "CUSTOM_GOLD") == ""
    assert osc.used == set(osc.commands), "some commands were not run"
    state = cloud.state()
    assert not any(state.values()), state


#: Without consumer types.
OLDER = "--os-placement-api-version=1.37"


def test_errors_are_what_the_user_reads(osc):
    code, _, errors = osc.run("resource provider show", ROOT)
    assert code == 1 and f"No resource provider with uuid {ROOT} found" in errors and "HTTP 404" in errors
    osc.get("resource provider create", "root", "--uuid", ROOT)
    code, _, errors = osc.run("resource provider create", "root")
    assert code == 1 and "Conflicting resource provider name: root already exists" in errors
    code, _, errors = osc.run("resource class create", "GOLD")
    assert code == 1 and "GOLD" in errors


def test_the_oldest_microversion(osc):
    """What the command does without --os-placement-api-version, beside 1.0."""
    old = "--os-placement-api-version=1.0"
    created = osc.get("resource provider create", "root", "--uuid", ROOT, version=old)
    assert created == {"uuid": ROOT, "name": "root", "generation": 0}
    osc.get("resource provider inventory set", ROOT, "--resource", "VCPU=8", version=old)
    found = osc.get("resource provider allocation set", CONSUMER, f"--allocation=rp={ROOT},VCPU=1", version=old)
    assert found[0]["resources"] == {"VCPU": 1}
    osc.do("resource provider allocation delete", CONSUMER, version=old)
    code, out, errors = osc.ask("run", ["resource", "provider", "list", "-f", "json"])
    assert code == 0 and json.loads(out)[0]["uuid"] == ROOT, errors


def test_without_keystone(osc, open_url):
    """The way in for a deployment that has none: a fixed token and a fixed address."""
    options = ["--os-auth-type=admin_token", f"--os-endpoint={open_url}", "--os-token=admin", NEWEST]
    code, out, errors = osc.ask("run_with", options, ["resource", "class", "list", "-f", "json"])
    assert code == 0 and len(json.loads(out)) > 10, errors
