"""The shell files, by OpenStack's own style checker and by shellcheck."""

import subprocess

import pytest

from tests.devstack.cloud import HERE, PLUGIN, program

SHELL_FILES = [
    PLUGIN / "settings",
    PLUGIN / "plugin.sh",
    PLUGIN / "discover_hosts.sh",
    PLUGIN / "lib/nova_sched",
    PLUGIN / "lib/nova_sched_broker",
    PLUGIN / "lib/nova_sched_conf",
    PLUGIN / "lib/nova_sched_placement",
    HERE / "harness.sh",
    HERE / "recorder.sh",
    HERE / "stubs.sh",
    HERE / "bin/nova-manage",
    HERE / "bin/nova-sched",
]
#: What shellcheck cannot know of files that devstack sources.
EXCLUDED = {
    "SC1090": "the path to source is a variable",
    "SC1091": "the sourced file is not given to shellcheck",
    "SC2013": "words are wanted: the expression lets no blank through",
    "SC2034": "set here for another file",
    "SC2154": "set by devstack, lib/nova or another file",
}


def check(command: list) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_shell_file_is_checked():
    shebangs = {
        path
        for root in (PLUGIN, HERE)
        for path in root.rglob("*")
        if path.is_file() and path.read_bytes().startswith(b"#!/bin/bash")
    }
    assert shebangs == set(SHELL_FILES)


@pytest.mark.parametrize("path", SHELL_FILES, ids=lambda path: path.name)
def test_bashate(path):
    check([program("bashate"), "-iE006", "-eE005,E042,E043", str(path)])


@pytest.mark.parametrize("path", SHELL_FILES, ids=lambda path: path.name)
def test_shellcheck(path):
    check([program("shellcheck"), "--shell=bash", "--exclude=" + ",".join(EXCLUDED), str(path)])


@pytest.mark.parametrize("in_ci, outcome", [(True, pytest.fail.Exception), (False, pytest.skip.Exception)])
def test_a_missing_program_is_named(monkeypatch, in_ci, outcome):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("CI", "1") if in_ci else monkeypatch.delenv("CI", raising=False)
    with pytest.raises(outcome, match="no-such-checker is not installed"):
        program("no-such-checker")
