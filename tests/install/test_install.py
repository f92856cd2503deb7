"""The chapter about the installation, typed on an empty machine: each command as printed, in order.

The machine is a tree of debootstrap (tree.py). It differs from a real one in these points:

- no systemd runs: ``systemctl`` is systemctl.py, which starts the ExecStart of a unit as its user and waits for READY=1
  on the socket that it gives it. ``systemd-analyze verify`` checks the units as they are installed;
- Keystone and the ``openstack`` client are there already, in /opt/openstack (keystone.sh), with the administrator's
  variables: the chapter names them as what must be there;
- packages come from the package index that pip of this machine uses, and from a mirror of Debian. All other commands
  see loopback only.
"""

import json
import re
import shutil
import subprocess

import pytest

from tests.install import chapter, tree
from tests.install.packages import refused

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

ADMINISTRATOR = {
    "OS_AUTH_URL": "http://127.0.0.1:5000/v3",
    "OS_USERNAME": "admin",
    "OS_PASSWORD": "secret",
    "OS_PROJECT_NAME": "admin",
    "OS_USER_DOMAIN_NAME": "Default",
    "OS_PROJECT_DOMAIN_NAME": "Default",
    "OS_IDENTITY_API_VERSION": "3",
    "OS_REGION_NAME": "RegionOne",
}
KEYSTONE = tree.ROOT / "tests" / "install" / "keystone.sh"
#: The interpreter of each way, for what the test itself asks.
PYTHON = {"venv": "/opt/nova_sched/bin/python", "deb": "/usr/lib/nova_sched/bin/python"}
UNITS = {"venv": "/etc/systemd/system", "deb": "/lib/systemd/system"}


@pytest.fixture(scope="session")
def machine():
    """The cached tree of a machine with Keystone."""

    def make(path):
        tree.copied(tree.base(), path)
        shutil.copy(KEYSTONE, path / "root/keystone.sh")
        shutil.copy(tree.ROOT / "tests/cloud/constraints.txt", path / "root/cloud-constraints.txt")
        with tree.Tree(path) as made:
            made.run("/root/keystone.sh", "install", "/root/cloud-constraints.txt", network=True)

    try:
        return tree.cached("keystone", make)
    except tree.TreeMissing as fault:
        refused(fault)


class Site:
    """A tree in which the chapter is typed, and its two shells: one for packages, one for everything else."""

    def __init__(self, here, shells):
        self.tree = here
        self.shells = shells
        self.outputs = []

    def type(self, block):
        """Type a block of the chapter as it is printed; the test fails at the command that fails."""
        output, failed = self.shells[block.section in chapter.WITH_NETWORK].run(block.text)
        self.outputs.append((block, output))
        assert not failed, f"{block.section}: {failed}\n{block.text}\n--- printed\n{output[-6000:]}"
        return output

    def printed(self, words):
        """What the block with these words printed."""
        return next(output for block, output in self.outputs if words in block.text)


@pytest.fixture(scope="module", params=sorted(chapter.WAYS))
def site(request, machine, packages, tmp_path_factory):
    """A machine on which the whole chapter was typed."""
    path = tree.copied(machine, tmp_path_factory.mktemp("install") / request.param)
    shutil.copy(KEYSTONE, path / "root/keystone.sh")
    for file in (*packages.glob("*.whl"), *packages.glob("*.deb"), tree.ROOT / "packaging/constraints.txt"):
        shutil.copy(file, path / "root")
    try:
        with tree.Tree(path) as here:
            here.run("/root/keystone.sh", "start")
            options = {"environment": ADMINISTRATOR}
            with tree.Shell(here, **options) as inside, tree.Shell(here, network=True, **options) as outside:
                made = Site(here, {False: inside, True: outside})
                made.way = request.param
                for block in chapter.of_way(request.param):
                    made.type(block)
                yield made
    finally:
        shutil.rmtree(path, ignore_errors=True)


def test_the_chapter_ends_with_a_running_cloud(site):
    assert "OK" in site.printed("/readyz")
    doctor = site.printed("doctor --ask")
    assert "no problem found" in doctor, doctor
    assert "1 claimed and given back" in site.printed("smoke 1:512")
    assert "simulated" in site.printed("resource provider list") or "controller" in site.printed(
        "resource provider list"
    )


def test_systemd_accepts_the_units_as_they_are_installed(site, tmp_path):
    if shutil.which("systemd-analyze") is None:
        refused("systemd-analyze is not installed; install the package systemd")
    units = sorted((site.tree.path / UNITS[site.way].lstrip("/")).glob("nova-sched*.service"))
    assert {unit.name for unit in units} == {unit.name for unit in (tree.ROOT / "etc/systemd").glob("*.service")}
    root = tmp_path / "root"
    (root / "etc/systemd/system").mkdir(parents=True)
    for unit in units:
        # The programs are in the tree, and systemd-analyze looks for them here.
        text = re.sub(r"^ExecStart=(\S+)", f"ExecStart={shutil.which('true')}", unit.read_text(), flags=re.MULTILINE)
        copied = root / "etc/systemd/system" / unit.name.replace("@.", "@cell1.")
        copied.write_text(text)
        program = re.search(r"^ExecStart=(\S+)", unit.read_text(), re.MULTILINE)[1]
        site.tree.run("sh", "-c", f"command -v {program}")
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copied)], capture_output=True, text=True)
        assert done.returncode == 0 and copied.name not in done.stderr, done.stderr


def test_the_page_starts_with_the_files_of_the_chapter(site):
    site.tree.run("systemctl", "start", "nova-sched-page")
    asked = ("curl", "--fail", "--silent", "--retry", "30", "--retry-all-errors", "http://127.0.0.1:8790/readyz")
    assert "OK" in site.tree.run(*asked)


def test_no_service_runs_as_root_and_no_file_is_open_to_others(site):
    users = site.tree.run("ps", "-eo", "user:20,args")
    ours = [line.split()[0] for line in users.splitlines() if re.search(r"bin/nova-sched-", line)]
    assert len(ours) >= 5 and set(ours) == {"nova-sched"}
    modes = site.tree.run("find", "/etc/nova_sched", "-type", "f", "-perm", "/o=r", "-printf", "%f ").split()
    assert modes == []


def test_logrotate_takes_its_file(site):
    site.tree.run("logrotate", "--force", "--verbose", "/etc/logrotate.d/nova-sched")
    rotated = site.tree.run("ls", "/var/log/nova_sched").split()
    assert "nova-sched-scheduler.log.1" in rotated


def test_a_support_bundle_of_the_cloud(site):
    passwords = dict(line.split("=") for line in site.tree.read("/root/nova_sched.passwords").splitlines())
    site.tree.run("sh", "-c", "cd /root && nova-sched support-bundle -o b.tar.gz || test $? = 1", timeout=900)
    site.tree.run("sh", "-c", "cd /root && mkdir b && tar -xzf b.tar.gz -C b --strip-components=1")
    manifest = json.loads(site.tree.read("/root/b/manifest.json"))
    names = {entry["name"] for entry in manifest["files"] if entry["sha256"]}
    assert {"logs/cell0.nslog", "logs/cell1.nslog", "commands/doctor.txt", "services/9774/metrics.txt"} <= names
    found = site.tree.run("sh", "-c", f"grep -rlE '{'|'.join(passwords.values())}' /root/b || true")
    assert found == ""


def test_the_drill_of_backup_and_restore(site):
    """The page about backup, typed on the cloud of the chapter. What the Placement API wrote is there again."""
    token = site.tree.run("openstack", "token", "issue", "-f", "value", "-c", "id", environment=ADMINISTRATOR).split()[
        -1
    ]

    def asked(path, *words):
        return json.loads(
            site.tree.run(
                "curl", "--fail", "--silent", "--header", f"X-Auth-Token: {token}",
                "--header", "OpenStack-API-Version: placement 1.39", "--header", "Content-Type: application/json",
                *words, f"http://controller:8778{path}",
            ) or "null"
        )  # fmt: skip

    pool = "22222222-3333-4444-8555-666666666666"
    asked("/resource_providers", "--data", json.dumps({"name": "pool", "uuid": pool}))
    before = {
        provider["uuid"]: asked(f"/resource_providers/{provider['uuid']}/inventories")["inventories"]
        for provider in asked("/resource_providers")["resource_providers"]
    }
    assert pool in before and len(before) > 1
    for block in chapter.blocks((tree.ROOT / "docs" / "operating" / "backup.md").read_text()):
        site.type(block)
    after = {
        provider["uuid"]: asked(f"/resource_providers/{provider['uuid']}/inventories")["inventories"]
        for provider in asked("/resource_providers")["resource_providers"]
    }
    assert after == before


def test_a_server_is_built(site):
    """(Last, because simulated hosts forget their servers when their agent is stopped.)"""
    shutil.copy(tree.ROOT / "tests/install/build_server.py", site.tree.path / "root")
    instance, host, outcome = site.tree.run(PYTHON[site.way], "-W", "ignore", "/root/build_server.py").split()[-3:]
    assert outcome == "built" and host.startswith("controller-")
    assert f"{instance},cell1,{host}," in site.tree.run("nova-sched-replay", "instances", "-o", "csv", "--no-flavors")
    assert "built on" in site.tree.run("nova-sched-replay", "explain", instance)
