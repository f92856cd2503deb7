"""The recipe of the image: built on a base that is made from Debian's packages, and run."""

import os
import shutil

import pytest

from tests.install import tree
from tests.install.packages import refused

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

CONFIG = """
[cells]
enabled = cell1
[cell:cell1]
log = sqlite:////var/lib/nova_sched/cell1.db
uuid = 11111111-2222-4333-8444-555555555555
"""
#: A scheduler whose other options are variables; it is asked for its health until it answers, and then ended.
SERVED = """
nova-sched create-log cell0 $OS_CELLS__CELL0_LOG && nova-sched create-log cell1 sqlite:////var/lib/nova_sched/cell1.db
healthcheck && exit 9
entrypoint nova-sched-scheduler & service=$!
until HEALTHCHECK_PATH=/readyz healthcheck; do kill -0 $service || exit 8; done
kill $service; wait $service
"""
VARIABLES = {
    "OS_DEFAULT__TRANSPORT_URL": "fake://",
    "OS_CELLS__CELL0_LOG": "sqlite:////var/lib/nova_sched/cell0.db",
    "OS_SCHEDULER__NAME": "scheduler-of-the-image",
}


class Images:
    """buildah with a store of its own; chroot is enough to build."""

    def __init__(self, folder):
        self._words = ["buildah", "--root", folder / "store", "--runroot", folder / "run", "--storage-driver", "vfs"]

    def run(self, *words):
        """Run a command of buildah and return its output."""
        return tree.run(*self._words, *words, env={**os.environ, "BUILDAH_ISOLATION": "chroot"}, timeout=3000)


@pytest.fixture(scope="module")
def images(tmp_path_factory, packages):
    """The image nova-sched."""
    if shutil.which("buildah") is None:
        refused("buildah is not installed; install the package buildah")
    folder = tmp_path_factory.mktemp("images")
    try:
        base = tree.base()
    except tree.TreeMissing as fault:
        refused(fault)
    made = Images(folder)
    container = made.run("from", "scratch").strip().split()[-1]
    made.run("add", "--quiet", container, base, "/")
    made.run("commit", "--quiet", container, "debian-base")
    made.run("rm", container)
    context = folder / "context"
    (context / "dist").mkdir(parents=True)
    shutil.copytree(tree.ROOT / "packaging", context / "packaging")
    shutil.copy(next(packages.glob("*.whl")), context / "dist")
    # The package index of this machine. A file, such as a certificate, must not be where a package puts its own.
    variables, places = tree.package_index()
    files = {place: f"/opt/index{place}" for place in places if os.path.isfile(place)}
    lines = ["[global]"]
    for name, value in variables.items():
        for place, moved in files.items():
            value = value.replace(place, moved)
        lines.append(f"{name.removeprefix('PIP_').lower().replace('_', '-')} = {value}")
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")
    mounts = [f"--volume={place}:{files.get(place, place)}:ro" for place in places]
    mounts.append(f"--volume={folder}/pip.conf:/etc/pip.conf:ro")
    recipe = context / "packaging/container/Containerfile"
    made.run(
        "build", "--build-arg", "BASE=localhost/debian-base", *mounts, "-f", recipe, "-t", "nova-sched", context
    )  # fmt: skip
    yield made
    shutil.rmtree(folder, ignore_errors=True)


def in_container(images, *words, volumes=()):
    """Run words in a container of the image, as its user, with the variables."""
    container = images.run("from", "localhost/nova-sched").strip().split()[-1]
    variables = [f"--env={name}={value}" for name, value in VARIABLES.items()]
    try:
        return images.run("run", *variables, *(f"--volume={volume}" for volume in volumes), container, "--", *words)
    finally:
        images.run("rm", container)


def test_a_word_that_is_no_program_is_a_command(images):
    assert in_container(images, "entrypoint", "--version").startswith("nova-sched ")
    assert "support-bundle" in in_container(images, "entrypoint", "--help")
    assert "options:" in in_container(images, "entrypoint", "nova-sched-conductor", "--help")


def test_it_runs_as_a_user_without_rights(images):
    assert in_container(images, "id", "-un").strip() == "nova-sched"


def test_a_service_starts_with_a_file_and_variables_is_healthy_and_ends(images, tmp_path):
    (tmp_path / "nova_sched.conf").write_text(CONFIG)
    tmp_path.chmod(0o755)
    said = in_container(images, "sh", "-c", SERVED, volumes=[f"{tmp_path}:/etc/nova_sched:ro"])
    assert "no service listens for its health" in said and "is ready" in said and "\nOK" in said
