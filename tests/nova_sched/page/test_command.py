"""``nova-sched page``: where it may listen, and how it starts and ends."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from oslo_context.context import RequestContext

from nova_sched.cli.main import main
from nova_sched.page import config
from nova_sched.page.policies import Rules
from rpc_api import errors
from tests.nova_sched.page.pages import DEMO, options_of
from tests.nova_sched.page.projects import TOKENS, USERS
from tests.placement_api.keystone import Keystone
from tests.servers import free_port, wait_until

ROOT = Path(__file__).resolve().parents[3]
READY_SECONDS = 60
COMMAND = "import sys; from nova_sched.cli.main import main; sys.exit(main())"


@pytest.mark.parametrize(
    "words, text",
    [
        (
            ["--host", "0.0.0.0"],
            "the page has no login without [page] auth_url, so it listens on loopback only, not on 0.0.0.0",
        ),
        (["--host", "::"], "so it listens on loopback only, not on ::"),
        (["--host", "192.0.2.1"], "so it listens on loopback only, not on 192.0.2.1"),
        (["--host", "no such name"], "the page cannot listen on 'no such name'"),
        (["--port", "70000"], "--port is 70000, wanted 0 to 65535; see nova-sched page"),
        (["--config-file", "/nothing"], "there is no configuration file /nothing"),
    ],
)
def test_a_command_line_that_is_refused(capsys, words, text):
    assert main(["page", "--log", DEMO, *words]) == errors.EXIT_USAGE
    out, err = capsys.readouterr()
    assert text in err and err.startswith("nova-sched page: ") and err.count("\n") == 1 and not out


def test_a_port_that_is_taken(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["page", "--log", DEMO, "--port", str(port)]) == errors.EXIT_USAGE
    assert f"the page cannot listen on 127.0.0.1:{port}; choose another --port" in capsys.readouterr().err


@pytest.mark.parametrize(
    "host, is_loopback", [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("0.0.0.0", False), ("::", False)]
)
def test_addresses_of_this_machine(host, is_loopback):
    assert config.is_loopback(host) is is_loopback


def test_with_a_login_every_address_is_allowed():
    conf = options_of(auth_url="http://keystone.example/v3")
    config.check(conf, "0.0.0.0")


def rules_at(path):
    """The rules of a policy file."""
    conf = options_of()
    conf.set_override("policy_file", str(path), "oslo_policy")
    return Rules(conf)


@pytest.mark.parametrize("text", ["page:all_projects: [", '"page:all_projects": "rule:a"\n"a": "rule:a"'])
def test_a_policy_file_that_is_wrong(tmp_path, text, caplog):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(errors.UsageError, match=r"the policy file cannot be used .*; fix .*policy.yaml"):
        rules_at(path)
    path.write_text('"page:all_projects": "role:reader"')
    rules, reader = rules_at(path), RequestContext(user_id="one", roles=["reader"], project_id="p")
    assert rules.sees_all(reader)
    path.write_text(text)
    assert rules.sees_all(reader) and rules.sees_all(reader)
    assert caplog.text.count("the rules of the policy stay as they were") == 1


class Started:
    """The command as a process of its own, with a socket as that of systemd."""

    def __init__(self, folder, *words):
        self.port, self._console = free_port(), folder / "console"
        words = ["page", "--log", DEMO, "--no-cache", "--port", str(self.port), *words]
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.settimeout(READY_SECONDS)
        with open(self._console, "wb") as console:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", COMMAND, *words],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": str(folder / "notify")},
                stdout=console,
                stderr=console,
            )

    def console(self):
        return self._console.read_text()

    def told(self):
        """The next message to systemd."""
        return self._socket.recv(10_000).decode()

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self._socket.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_answers_and_ends(tmp_path, number):
    with Started(tmp_path) as page:
        assert page.told().startswith("READY=1\nSTATUS=answers at http://127.0.0.1:")
        assert page.console() == f"nova-sched page: the page is at http://127.0.0.1:{page.port}/\n"
        wait_until(lambda: page.get("/healthz")[1]["is_ready"], READY_SECONDS, "the logs are not read")
        assert "WATCHDOG=1" in (page.told(), page.told(), page.told())
        status, news = page.get("/api/news")
        assert status == 200 and news["positions"]["cell1"] > 100
        waiting = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
        waiting.request("GET", f"/api/news?after={news['last']}&version={news['version']}&wait=1")
        page.process.send_signal(number)
        # A browser that waits is answered, and nothing is left.
        assert waiting.getresponse().status == 200
        assert page.process.wait(20) == errors.EXIT_OK
        assert page.console().count("\n") == 1


def test_with_keystone_it_listens_elsewhere_and_wants_a_login(tmp_path):
    keystone = Keystone(TOKENS, USERS)
    try:
        path = tmp_path / "page.conf"
        path.write_text(f"[page]\nauth_url = {keystone.url}\nhost = 0.0.0.0\n")
        with Started(tmp_path, "--config-file", str(path)) as page:
            wait_until(lambda: page.told().startswith("READY=1"), READY_SECONDS, "it is not ready")
            wait_until(lambda: page.get("/healthz")[1]["is_ready"], READY_SECONDS, "the logs are not read")
            assert "passwords cross the network unencrypted" in page.console()
            assert page.get("/api/hosts")[0] == 401
            connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
            headers = {"Content-Type": "application/json", "X-Nova-Sched-Page": "1"}
            form = {"user": "boss", "password": "secret-c", "project": "admins"}
            connection.request("POST", "/api/login", json.dumps(form), headers)
            answer = connection.getresponse()
            assert answer.status == 200 and json.loads(answer.read())["session"]["sees_all"]
            cookie = answer.getheader("Set-Cookie").partition(";")[0]
            connection.request("GET", "/api/hosts", headers={"Cookie": cookie})
            answer = connection.getresponse()
            assert answer.status == 200 and len(json.loads(answer.read())["names"]) == 120
            connection.close()
            page.process.send_signal(signal.SIGTERM)
            assert page.process.wait(20) == errors.EXIT_OK
    finally:
        keystone.close()
