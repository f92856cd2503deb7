"""The Debian package: lintian, and its life on an empty machine: installed, upgraded, removed, purged."""

import os
import re
import shutil
import subprocess

import pytest

from tests.install import tree
from tests.install.packages import refused

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

PROGRAMS = ("scheduler", "shadow", "conductor", "agent", "placement")
CONFIG = "/etc/nova_sched/nova_sched.conf"
#: The first lines of the installed copy of a service: what postinst would restart.
QUIET = "--no-install-recommends -o Dpkg::Options::=--force-confold -y -q"


@pytest.fixture(scope="module")
def package(packages):
    """The package file."""
    found = sorted(packages.glob("nova-sched_*.deb"))
    if not found:
        refused("debhelper is not installed; install the packages dpkg-dev and debhelper")
    return found[0]


def test_lintian_has_no_error_and_no_warning(package):
    if shutil.which("lintian") is None:
        refused("lintian is not installed; install the package lintian")
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", "--profile", "debian", str(package)],
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_override_has_its_reason():
    text = (tree.ROOT / "packaging/debian/nova-sched.lintian-overrides").read_text()
    for group in re.split(r"\n(?=#)", text):
        assert group.startswith("#"), group


@pytest.fixture(scope="module")
def second(package, tmp_path_factory):
    """The same package with a higher version and another comment in its configuration."""
    folder = tmp_path_factory.mktemp("second")
    tree.run("dpkg-deb", "--raw-extract", package, folder / "tree")
    control = folder / "tree/DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*$", "Version: 9.0", control.read_text(), flags=re.MULTILINE))
    config = folder / "tree" / CONFIG.lstrip("/")
    config.write_text(f"# of the second version\n{config.read_text()}")
    sums = folder / "tree/DEBIAN/md5sums"
    sums.unlink(missing_ok=True)
    tree.run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", folder / "tree", folder / "second.deb")
    return folder / "second.deb"


@pytest.fixture(scope="module")
def machine(package, second, tmp_path_factory):
    """An empty machine with both package files in /root."""
    try:
        path = tree.copied(tree.base(), tmp_path_factory.mktemp("debian") / "tree")
    except tree.TreeMissing as fault:
        refused(fault)
    shutil.copy(package, path / "root/first.deb")
    shutil.copy(second, path / "root/second.deb")
    try:
        with tree.Tree(path) as here:
            here.run("apt-get", "update", "-q", network=True)
            yield here
    finally:
        shutil.rmtree(path, ignore_errors=True)


def installed(here, file):
    here.run("sh", "-c", f"apt-get install {QUIET} /root/{file}", network=True)


def mode(here, path):
    return here.run("stat", "-c", "%a %U:%G", path).strip()


def test_the_life_of_the_package(machine):
    """One test, as each step needs the one before."""
    here = machine
    installed(here, "first.deb")
    for program in PROGRAMS:
        assert "usage" in here.run(f"nova-sched-{program}", "--help").lower()
    assert here.run("nova-sched", "--version").startswith("nova-sched 0.1.0")
    assert mode(here, "/etc/nova_sched") == "750 root:nova-sched"
    assert mode(here, CONFIG) == "640 root:nova-sched"
    assert mode(here, "/var/lib/nova_sched") == mode(here, "/var/log/nova_sched") == "750 nova-sched:nova-sched"
    assert "/usr/sbin/nologin" in here.run("getent", "passwd", "nova-sched")
    assert not list((here.path / "etc/systemd/system").glob("*.wants/nova-sched*")), "nothing is enabled"
    for name in ("prometheus/nova_sched.rules.yaml", "grafana/nova_sched.json"):
        assert (here.path / "usr/share/nova_sched" / name).is_file()
    assert list((here.path / "usr/lib/nova_sched").rglob("__pycache__")), "compiled, as services cannot write there"
    assert "nova_sched" not in here.run("sh", "-c", f"grep -rlI {os.sep}tmp{os.sep} /usr/lib/nova_sched/bin || true")

    (here.path / CONFIG.lstrip("/")).write_text("[DEFAULT]\ndebug = true\n")
    installed(here, "second.deb")
    assert here.read(CONFIG) == "[DEFAULT]\ndebug = true\n"
    assert "of the second version" in here.read(f"{CONFIG}.dpkg-dist")
    assert mode(here, CONFIG) == "640 root:nova-sched"
    assert here.run("dpkg-query", "-W", "-f", "${Version}", "nova-sched") == "9.0"

    here.run("sh", "-c", "echo x > /etc/nova_sched/nova_sched.conf.d/cloud.conf; touch /var/lib/nova_sched/state")
    here.run("apt-get", "remove", "-y", "-q", "nova-sched")
    assert not (here.path / "usr/lib/nova_sched").exists() and not (here.path / "usr/bin/nova-sched").is_symlink()
    assert here.read(CONFIG) and here.read("/etc/nova_sched/nova_sched.conf.d/cloud.conf")
    assert (here.path / "var/lib/nova_sched/state").exists()

    here.run("apt-get", "purge", "-y", "-q", "nova-sched")
    for path in ("etc/nova_sched", "var/lib/nova_sched", "var/log/nova_sched", "etc/logrotate.d/nova-sched"):
        assert not (here.path / path).exists(), path
    assert here.run("getent", "passwd", "nova-sched"), "the user stays: its number may own files elsewhere"

    installed(here, "first.deb")
    assert here.run("nova-sched", "--version").startswith("nova-sched 0.1.0")
