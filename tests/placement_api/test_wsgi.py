"""The application for other web servers: it starts with its first request, also where something is wrong."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.placement_api.regions import prepare
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
#: Sends one request to the application, and prints its status and body.
ASK = """
import json, webob
from placement_api.wsgi import application
headers = {"X-Auth-Token": "admin", "OpenStack-API-Version": "placement 1.39"}
answer = webob.Request.blank("/resource_providers", headers=headers).get_response(application)
print(json.dumps([answer.status_code, answer.json]), flush=True)
import os; os._exit(0)
"""


def asked(config):
    """(Status, body, what was logged) of the first request under a configuration."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASK],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OS_NOVA_SCHED_CONFIG_FILES": str(config)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return *json.loads(done.stdout), done.stderr


def configured(directory, log, more=""):
    path = directory / "placement.conf"
    path.write_text(
        f"[cells]\nenabled = cell1\n[cell:cell1]\nuuid = {uuid.uuid4()}\nlog = {log}\n"
        f"[placement_api]\nauth_strategy = noauth2\nstate_dir = {directory}/shared\n{more}"
    )
    return path


def test_it_answers(tmp_path):
    url = f"sqlite:///{tmp_path}/cell1.db"
    prepare(url)
    status, body, logged = asked(configured(tmp_path, url, "bind_prot = 1\n"))
    assert (status, body) == (200, {"resource_providers": []})
    assert "answers for the logs of cell1" in logged and "bind_prot" in logged and "Traceback" not in logged


@pytest.mark.parametrize("what", ["a file that is not there", "a wrong option", "a broker that is down"])
def test_what_is_wrong_is_logged_and_each_request_gets_503(tmp_path, what):
    broker = f"rabbit://guest:guest@127.0.0.1:{free_port()}/?stream=nova_sched.cell1"
    config = {
        "a file that is not there": tmp_path / "nowhere.conf",
        "a wrong option": configured(tmp_path, f"sqlite:///{tmp_path}/cell1.db", "new_roots = cell9\n"),
        "a broker that is down": configured(tmp_path, broker) if "broker" in what else None,
    }[what]
    status, body, logged = asked(config)
    assert status == 503 and body["errors"][0]["detail"].startswith(("The Placement API cannot start", "The log of"))
    assert "Traceback" not in logged
    assert {"a file": "nowhere.conf", "a wron": "new_roots", "a brok": "cannot be read"}[what[:6]] in logged
