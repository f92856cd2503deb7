"""The wheel and the sdist: what is in them, and that the wheel installs beside Nova."""

import os
import re
import subprocess
import tarfile
import tomllib
import venv
import zipfile

import pytest

from tests.install import tree
from tests.install.packages import built

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

PROJECT = tomllib.loads((tree.ROOT / "pyproject.toml").read_text())
SCRIPTS = sorted(PROJECT["project"]["scripts"])
DATA = {
    f"{folder}/{path.rpartition('/')[2]}"
    for folder, patterns in PROJECT["tool"]["setuptools"]["data-files"].items()
    for pattern in patterns
    for path in (str(found.relative_to(tree.ROOT)) for found in tree.ROOT.glob(pattern))
}
#: Each entry point is loaded in an environment that has what a stock Nova has. These need an extra.
LOADED = """
import sys
from importlib import metadata
from rpc_api import concurrency
concurrency.setup()
wrong = []
for point in metadata.distribution("nova_sched").entry_points:
    if point.group.startswith(("openstack.", "oslo.messaging.notify")):
        continue
    try:
        point.load()
    except Exception as fault:
        wrong.append(f"{point.group} {point.name}: {fault!r}")
sys.exit("\\n".join(wrong) or 0)
"""
#: No file of ours is also a file of another distribution.
OVERLAPS = """
import sys
from importlib import metadata
ours = {str(path) for path in metadata.distribution("nova_sched").files}
print("\\n".join(
    f"{other.metadata['Name']}: {path}"
    for other in metadata.distributions() if other.metadata["Name"] != "nova_sched"
    for path in other.files or () if str(path) in ours
))
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The directory with the wheel and the sdist. (Building them checks them with twine.)"""
    return built(tmp_path_factory.mktemp("wheel"), "wheel")


def contents(wheel):
    """Name -> bytes of the files of a wheel, without its list of them."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


def test_the_wheel_has_the_packages_and_the_data_files_and_no_tests(dist):
    names = set(contents(next(dist.glob("*.whl"))))
    tops = {name.split("/")[0] for name in names}
    assert tops == {"nova_sched", "conductor", "compute_agent", "placement_api", "rpc_api"} | {
        top for top in tops if re.fullmatch(r"nova_sched-.*\.(dist-info|data)", top)
    }
    data = {name.split(".data/data/", 1)[1] for name in names if ".data/data/" in name}
    assert data == DATA and "share/nova_sched/logrotate.d/nova-sched" in data
    assert not [name for name in names if "/tests/" in name]


def test_the_sdist_builds_the_same_wheel(dist, tmp_path):
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert (source / "packaging/debian/rules").is_file() and (source / "packaging/constraints.txt").is_file()
    python = dist.parent / "tools/bin/python"
    tree.run(python, "-m", "build", "--wheel", "--outdir", tmp_path / "again", source)
    assert contents(next((tmp_path / "again").glob("*.whl"))) == contents(next(dist.glob("*.whl")))


@pytest.fixture(scope="module")
def beside_nova(dist, tmp_path_factory):
    """An environment with Nova 34, and then our wheel, with the versions of a cloud's constraints."""
    folder = tmp_path_factory.mktemp("beside") / "venv"
    venv.create(folder, with_pip=True)
    constraints = tree.ROOT / "tests/cloud/constraints.txt"
    pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--constraint", constraints]
    tree.run(*pip, "nova==34.0.0")
    before = versions(folder)
    tree.run(*pip, next(dist.glob("*.whl")))
    return folder, before


def versions(folder):
    listed = tree.run(folder / "bin/python", "-m", "pip", "list", "--format", "freeze")
    return dict(line.split("==") for line in listed.splitlines() if "==" in line)


@pytest.mark.nova
def test_nothing_of_nova_is_changed(beside_nova):
    folder, before = beside_nova
    assert tree.run(folder / "bin/python", "-m", "pip", "check").strip() == "No broken requirements found."
    after = versions(folder)
    assert {name: after[name] for name in before} == before
    assert tree.run(folder / "bin/python", "-c", OVERLAPS).strip() == ""


@pytest.mark.nova
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_program_starts(beside_nova, script):
    done = subprocess.run(
        [beside_nova[0] / "bin" / script, "--version"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 0 and PROJECT["project"]["version"] in done.stdout + done.stderr, done.stderr


@pytest.mark.nova
def test_the_entry_points_can_be_loaded(beside_nova):
    tree.run(beside_nova[0] / "bin/python", "-W", "ignore", "-c", LOADED, cwd="/")


@pytest.mark.nova
def test_the_data_files_are_in_the_environment(beside_nova):
    assert {name for name in DATA if (beside_nova[0] / name).is_file()} == DATA
