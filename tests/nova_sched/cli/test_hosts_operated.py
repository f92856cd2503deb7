"""``nova-sched host``: list, disable, enable, drain, remove; hosts of agents by events, hosts of Nova by its API."""

import json

import pytest

from nova_sched.cli import host_change
from nova_sched.cli.main import main, replay
from rpc_api import events
from tests.builders import claim, consumer, consumer_put, deleted, of, put, report, uuid_of
from tests.nova_sched.cli.operated import Cloud
from tests.nova_sched.operate.nova_api import NovaApi, server, service


@pytest.fixture
def cloud(tmp_path, capsys):
    """Three hosts of agents, of which one runs an instance and one is lost."""
    cloud = Cloud(tmp_path, capsys)
    cloud.say(report("a", consumer("vm", of("a", 2))))
    cloud.say(report("b"))
    cloud.say(report("gone", consumer("old", of("gone", 1))))
    cloud.say(events.HostLost("gone", "no heartbeat for 61 s"))
    return cloud


@pytest.fixture
def nova(monkeypatch):
    """A nova-api, and the credentials for it."""
    found = NovaApi(
        service("n"), servers=[server(1, "n"), server(2, "n", "SHUTOFF"), server(3, "n", "ACTIVE", "migrating")]
    )
    for name, value in found.credentials.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("OS_CLOUD", raising=False)
    yield found
    found.close()


# --- hosts of agents -------------------------------------------------------------------------------------------------


def test_a_host_is_disabled_and_enabled(cloud):
    code, out, err = cloud.run("host", "disable", "a", "--reason", "a fan", "--name", "ada")
    assert (code, err) == (0, "") and out.startswith("a of cell1 is disabled from position ")
    assert (cloud.host("a")["status"], cloud.host("a")["reason"]) == ("disabled", "disabled by an operator: a fan")
    assert cloud.run("host", "disable", "a", "--reason", "a fan")[1] == "a of cell1 is disabled already\n"
    _, out, _ = cloud.run("dry-run", "1:1", "--host", "a", "--default-policy")
    refused = "refuse   ComputeStatusFilter: disabled by an operator: a fan"
    line = out.splitlines().index(f"  {refused}")
    assert out.splitlines()[line + 1].strip().startswith("disabled at ")
    code, out, err = cloud.run("host", "enable", "a")
    assert (code, err) == (0, "") and "is enabled from position" in out
    assert cloud.host("a")["status"] == "up"
    assert cloud.run("host", "enable", "a")[1] == "a of cell1 is enabled already\n"


def test_who_did_it_is_in_the_log(cloud, capsys):
    cloud.run("host", "disable", "a", "--reason", "a fan", "--name", "ada")
    words = ["tail", "--type", "HostDisabled", "-o", "template", "--template", "{producer} {host} {text}"]
    assert replay(["--log", f"cell1={cloud.urls['cell1']}", *words]) == 0
    assert capsys.readouterr().out == "operator/ada a a: a fan\n"


def test_globs_and_several_hosts(cloud):
    code, out, _ = cloud.run("host", "disable", "?", "--reason", "rack 7")
    assert code == 0 and len(out.splitlines()) == 2
    assert [row["host"] for row in cloud.rows("host", "list", "--status", "disabled")] == ["a", "b"]


def test_lost_is_another_word_for_down(cloud):
    cloud.say(events.HostLost("a", "silent"))
    down, lost = (cloud.rows("host", "list", "--status", word) for word in ("down", "lost"))
    assert [row["host"] for row in lost] == ["a", "gone"] and lost == down


@pytest.mark.parametrize(
    "words, code, told",
    [
        (("disable", "nobody"), 1, "there is no host 'nobody' in cell0, cell1"),
        (("drain", "nobody"), 1, "there is no host 'nobody'"),
        (("remove", "nobody"), 1, "there is no host 'nobody'"),
        (("disable",), 2, "the following arguments are required: HOST"),
        (("drain", "a", "--wait", "soon"), 2, "--wait is 'soon', wanted a time"),
        (("list", "--limit", "0"), 2, "--limit is 0, wanted 1 or more"),
        (("list", "nobody"), 1, "there is no host 'nobody'"),
        (("remove", "a"), 1, "a of cell1 is not lost, its agent would report it again; stop the agent"),
        (("remove", "gone"), 1, "1 consumer holds resources of gone of cell1 (nova-sched host drain gone shows them)"),
        (
            ("enable", "gone"),
            1,
            "gone of cell1 is not disabled by an operator, it is lost: unreachable; check its agent",
        ),
    ],
)
def test_what_cannot_be_done_is_said(cloud, words, code, told):
    before = cloud.rows("host", "list")
    found, out, err = cloud.run("host", *words)
    assert found == code and told in err and out == ""
    if words[:2] != ("drain", "a"):
        assert [row["status"] for row in cloud.rows("host", "list")] == [row["status"] for row in before]


def test_a_host_that_is_reported_disabled_stays_so(cloud):
    cloud.say(report("b", disabled=True))
    cloud.run("host", "disable", "b")
    code, out, _ = cloud.run("host", "enable", "b")
    assert code == 0 and out.endswith("on; it still takes none: disabled: maintenance\n")


def test_a_log_below_level_3_says_what_to_do(tmp_path, capsys):
    cloud = Cloud(tmp_path, capsys, level=1)
    cloud.say(report("a"))
    for words in (("disable", "a"), ("enable", "a"), ("remove", "a", "--force"), ("drain", "a")):
        code, _, err = cloud.run("host", *words)
        assert code == 2 and "is at level 1" in err and "run nova-sched pin first" in err


def test_an_exported_file_is_not_changed(capsys):
    code = main(["host", "disable", "compute-1", "--log", "docs/operating/ledger.nslog", "--no-cache"])
    assert code != 0 and "an exported file is read-only" in capsys.readouterr().err


# --- drain -----------------------------------------------------------------------------------------------------------


def test_a_drain_shows_what_is_left(cloud):
    cloud.say(claim("vm-2", "a"))
    code, out, err = cloud.run("host", "drain", "a", "--reason", "firmware")
    assert code == 1 and "a of cell1 holds 2 consumers" in err
    heads = "cell host instance consumer state project resources name status"
    assert out.splitlines()[0].split() == heads.split()
    rows = cloud.rows("host", "drain", "a", "--reason", "firmware")
    assert [(row["instance"], row["state"], row["resources"]) for row in rows] == [
        (uuid_of("vm"), "running", {"VCPU": 2}),
        (uuid_of("vm-2"), "claimed", {"VCPU": 1}),
    ]
    assert cloud.host("a")["status"] == "disabled"


def test_a_drained_host_is_empty(cloud):
    code, out, err = cloud.run("host", "drain", "b", "--wait", "1s")
    assert (code, out) == (0, "") and err.endswith("nothing is left on 1 host\n")


def test_a_drain_waits_until_nothing_is_left(cloud, monkeypatch):
    """Its last instance ends while the command waits: at its second look."""
    looks = []

    def pause(timeout):
        looks.append(timeout)
        cloud.say(deleted("vm", "a"))

    monkeypatch.setattr(host_change, "pause", pause)
    code, _, err = cloud.run("host", "drain", "a", "--wait")
    assert code == 0 and len(looks) == 1 and looks[0] <= 2.0
    assert "1 left, waiting for at most 10 min" in err and err.endswith("nothing is left on 1 host\n")


def test_a_drain_that_cannot_finish_ends_at_once(cloud):
    code, out, err = cloud.run("host", "drain", "gone", "--wait", "1h")
    assert code == 1 and uuid_of("old") in out
    assert "gone of cell1 holds 1 consumer; gone is lost: nothing ends there by itself; evacuate its instances" in err


def test_a_drain_ends_with_its_time(cloud):
    code, out, err = cloud.run("host", "drain", "a", "--wait", "1ms")
    assert code == 1 and uuid_of("vm") in out and "a of cell1 holds 1 consumer" in err


def test_a_host_that_is_disabled_keeps_its_reason(cloud, nova):
    """A drain without a reason changes nothing of a host that is disabled."""
    cloud.run("host", "disable", "a", "--reason", "a fan")
    _, _, err = cloud.run("host", "drain", "a")
    assert "a of cell1 is disabled already" in err
    assert cloud.host("a")["reason"] == "disabled by an operator: a fan"
    cloud.nova_host("n")
    nova.servers.clear()
    nova.services[0].update(status="disabled", disabled_reason="a disk")
    code, _, err = cloud.run("host", "drain", "n")
    assert code == 0 and "n of cell1 is disabled in Nova already" in err
    assert {method for method, *_ in nova.asked} == {"GET"}
    cloud.run("host", "drain", "n", "--reason", "a fan")
    assert nova.services[0]["disabled_reason"] == "a fan"


@pytest.fixture
def draining(cloud, nova):
    """A host of Nova with one server; ``holds`` lets consumers hold something of it."""
    cloud.nova_host("n")
    nova.servers = [server(1, "n")]

    def holds(*uuids):
        for uuid in uuids:
            cloud.say(put(consumer_put("x", of("n", 1))._replace(consumer_uuid=uuid)))

    cloud.holds = holds
    return cloud


def enable(nova):
    nova.services[0]["status"] = "enabled"


def stop(nova):
    nova.services[0]["state"] = "down"


def fail(nova):
    nova.servers[0]["status"] = "ERROR"


def forget(nova):
    nova.servers.clear()


def move(nova):
    nova.servers[0].update({"status": "VERIFY_RESIZE", "OS-EXT-SRV-ATTR:host": "elsewhere"})


@pytest.mark.parametrize(
    "happens, status, told",
    [
        (enable, "ACTIVE", "n was enabled meanwhile, and gets new instances"),
        (stop, "ACTIVE", "the nova-compute of n is down: nothing ends there by itself; start it, or evacuate"),
        (fail, "ERROR", "1 server is in ERROR and cannot be moved; delete it, or set its state"),
        (forget, "no server", "1 consumer is no server of Nova; if no move is under way, give up what it holds"),
    ],
)
def test_a_drain_of_a_host_of_nova_that_cannot_finish_ends(draining, nova, monkeypatch, happens, status, told):
    """What happens while it waits ends it at its next look."""
    draining.holds(nova.servers[0]["id"])
    looks = []

    def pause(timeout):
        looks.append(timeout)
        happens(nova)
        assert len(looks) < 3

    monkeypatch.setattr(host_change, "pause", pause)
    code, out, err = draining.run("host", "drain", "n", "--wait", "1h", "-o", "json")
    assert code == 1 and looks == [2.0] and told in err
    assert [row["status"] for row in json.loads(out)] == [status]


def test_a_server_that_waits_for_a_confirmation_is_shown_on_its_old_host(draining, nova):
    draining.holds(nova.servers[0]["id"])
    move(nova)
    rows = draining.rows("host", "drain", "n")
    assert [(row["name"], row["status"]) for row in rows] == [("server-1", "VERIFY_RESIZE")]


def test_a_drain_goes_on_when_nova_was_away(draining, nova, monkeypatch):
    """Nova does not answer for two looks: the drain reports that once, and goes on."""
    monkeypatch.setattr("nova_sched.clients.service.RETRY_DELAY", 0.001)
    steps = iter([lambda: setattr(nova, "fault", (500, "oops")), lambda: None, lambda: setattr(nova, "fault", None)])

    def pause(timeout):
        next(steps, nova.servers.clear)()

    monkeypatch.setattr(host_change, "pause", pause)
    code, _, err = draining.run("host", "drain", "n", "--wait", "1h")
    assert code == 0 and err.count("it answers 500: oops") == 1 and "; trying again, for at most 60 min" in err
    assert err.endswith("nothing is left on 1 host\n")


def test_a_drain_without_nova_ends_with_its_time(draining, nova, monkeypatch):
    monkeypatch.setattr("nova_sched.clients.service.RETRY_DELAY", 0.001)

    def pause(timeout):
        nova.fault = 500, "oops"

    monkeypatch.setattr(host_change, "pause", pause)
    monkeypatch.setattr(host_change, "SYSTEM", Stepping(0.0, 0.0, 0.0, 0.0, 9999.0))
    code, _, err = draining.run("host", "drain", "n", "--wait", "1h")
    assert code == 3 and "it answers 500: oops" in err


class Stepping:
    """A clock that gives some times, and then the last one."""

    def __init__(self, *times):
        self._times = list(times)

    def monotonic(self):
        return self._times.pop(0) if len(self._times) > 1 else self._times[0]


# --- remove ----------------------------------------------------------------------------------------------------------


def test_a_host_that_is_gone_is_removed(cloud):
    code, out, err = cloud.run("host", "remove", "gone", "--force", "--reason", "sold")
    assert (code, err) == (0, "") and out.startswith("gone of cell1 is removed from position ")
    assert [row["host"] for row in cloud.rows("host", "list")] == ["a", "b"]
    cloud.say(events.HostLost("b", "silent"))
    assert cloud.run("host", "remove", "b")[0] == 0


# --- hosts of Nova ---------------------------------------------------------------------------------------------------


def test_a_host_of_nova_is_changed_in_nova_and_never_in_the_log(cloud, nova):
    cloud.nova_host("n")
    before = cloud.run("host", "list", "-o", "json")[1]
    code, out, err = cloud.run("host", "disable", "n", "--reason", "a fan")
    assert (code, err) == (0, "") and "n of cell1 is disabled in Nova; a nova-compute that runs" in out
    assert (nova.services[0]["status"], nova.services[0]["disabled_reason"]) == ("disabled", "a fan")
    assert cloud.run("host", "enable", "n")[0] == 0 and nova.services[0]["status"] == "enabled"
    assert cloud.run("host", "disable", "n")[0] == 0 and nova.services[0]["disabled_reason"] is None
    assert cloud.run("host", "list", "-o", "json")[1] == before
    assert {version for _, _, version, _ in nova.asked} == {"2.53"}


def test_a_drain_of_a_host_of_nova_shows_novas_servers(cloud, nova):
    cloud.nova_host("n")
    known = nova.servers[0]["id"]
    cloud.say(put(consumer_put("x", of("n", 1))._replace(consumer_uuid=known)))
    rows = cloud.rows("host", "drain", "n")
    assert [(row["name"], row["state"], row["status"]) for row in rows] == [
        ("server-1", "held", "ACTIVE"),
        ("server-2", "in Nova only", "SHUTOFF"),
        ("server-3", "in Nova only", "ACTIVE (migrating)"),
    ]
    assert nova.services[0]["status"] == "disabled"


def test_a_host_of_nova_is_removed_in_nova(cloud, nova):
    cloud.nova_host("n")
    code, _, err = cloud.run("host", "remove", "n", "--force")
    assert code == 1 and "the nova-compute of n is up, and would register again; stop it first" in err
    nova.services[0]["state"] = "down"
    code, _, err = cloud.run("host", "remove", "n")
    assert code == 1 and "with 409: Unable to delete compute service that is hosting instances." in err
    nova.servers.clear()
    code, out, err = cloud.run("host", "remove", "n")
    assert (code, err, nova.services) == (0, "", []) and "is deleted in Nova, with its resource provider" in out
    code, _, err = cloud.run("host", "remove", "n")
    assert code == 1 and f"openstack resource provider delete {uuid_of('n')}" in err
    assert cloud.run("host", "disable", "n")[0] == 1


@pytest.mark.parametrize(
    "fault, code, told",
    [
        ((403, "Policy doesn't allow os_compute_api:os-services:list to be performed."), 3, "of an administrator"),
        ((503, "The server is overloaded."), 3, "see its log, and repeat the command"),
        ((406, "Version 2.53 is not supported by the API."), 3, "a newer Nova is needed"),
        ((400, "Invalid input."), 3, "it answers 400: Invalid input"),
    ],
)
def test_what_nova_refuses_is_said(cloud, nova, fault, code, told):
    cloud.nova_host("n")
    nova.fault = fault
    found, out, err = cloud.run("host", "disable", "n")
    assert (found, out) == (code, "") and told in err and fault[1].rstrip(".") in err


def test_without_credentials(cloud, monkeypatch, tmp_path):
    cloud.nova_host("n")
    for name in ("OS_AUTH_URL", "OS_CLOUD", "OS_USERNAME", "OS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    code, _, err = cloud.run("host", "disable", "n")
    assert code == 2 and "set the variables OS_… as in an openrc file, or OS_CLOUD and clouds.yaml" in err
    code, _, err = cloud.run("host", "disable", "n", "--os-cloud", "nowhere")
    assert code == 2 and "nowhere" in err


def test_with_wrong_credentials(cloud, nova, monkeypatch):
    cloud.nova_host("n")
    monkeypatch.setenv("OS_PASSWORD", "wrong")
    code, _, err = cloud.run("host", "disable", "n")
    assert code == 3 and "Keystone refuses the account; check the account of the cloud" in err


def test_without_keystone(cloud, nova, monkeypatch):
    """An error of Keystone is not taken for one of Nova."""
    cloud.nova_host("n")
    monkeypatch.setenv("OS_AUTH_URL", "http://127.0.0.1:1/v3")
    monkeypatch.setattr("nova_sched.clients.service.RETRY_DELAY", 0.001)
    code, _, err = cloud.run("host", "disable", "n")
    assert code == 3 and err.count("\n") == 1
    assert "Keystone gives no token: Unable to establish connection to http://127.0.0.1:1/v3/auth/tokens (Con" in err
    assert "(Connection refused); check the account of the cloud" in err


def test_a_mixed_cloud_asks_nova_only_about_its_hosts(cloud, nova):
    cloud.nova_host("n")
    assert cloud.run("host", "disable", "a")[0] == 0 and nova.asked == []


# --- list ------------------------------------------------------------------------------------------------------------


def test_hosts_are_listed_sorted_and_selected(cloud):
    cloud.nova_host("n")
    rows = cloud.rows("host", "list")
    assert [(row["host"], row["status"], row["authority"]) for row in rows] == [
        ("a", "up", "agent"),
        ("b", "up", "agent"),
        ("gone", "down", "agent"),
        ("n", "up", "nova"),
    ]
    assert rows[0]["full"] == {"percent": 25.0, "resource_class": "VCPU"} and rows[0]["VCPU"] == {
        "used": 2,
        "capacity": 8,
    }
    assert all(row["heard"].endswith("Z") for row in rows)
    assert [row["host"] for row in cloud.rows("host", "list", "--sort", "full", "--limit", "2")] == ["a", "gone"]
    assert cloud.rows("host", "list", "--sort", "empty")[0]["host"] == "b"
    assert [row["host"] for row in cloud.rows("host", "list", "--authority", "nova")] == ["n"]
    assert [row["host"] for row in cloud.rows("host", "list", "--status", "down")] == ["gone"]
    assert cloud.run("host", "list", "--zone", "elsewhere")[0] == 1
    code, out, err = cloud.run("host", "list")
    assert code == 0 and "cell1: 4 hosts: 3 up, 1 lost" in err and " ago " in out
