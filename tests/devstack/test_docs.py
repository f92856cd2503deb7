"""The plugin's README against what the plugin does."""

import contextlib
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import yaml

from rpc_api.feed.epoch import open_at_level
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.devstack.cloud import PLUGIN, Cloud

ROOT = PLUGIN.parent
IN_PLACE = "NOVA_SCHED_REPLACE_NSCH=True\nNOVA_SCHED_REPLACE_PLACEMENT=True\n"
README = (PLUGIN / "README.rst").read_text()
SETTINGS = re.findall(
    r"^(NOVA_SCHED_\w+)=(?:.*\$\{\1:-|\$\(trueorfalse)", (PLUGIN / "settings").read_text(), re.MULTILINE
)


def test_settings_were_found():
    assert {"NOVA_SCHED_CONF", "NOVA_SCHED_LOG_MAX_AGE", "NOVA_SCHED_REPLACE_NSCH"} <= set(SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_has_its_line(setting):
    assert re.search(rf"^``{setting}`` ", README, re.MULTILINE)


@pytest.mark.parametrize("localrc", ["", IN_PLACE + "enable_service tls-proxy\n"], ids=["beside", "in-place"])
def test_every_option_has_its_line(tmp_path, localrc):
    cloud = Cloud(tmp_path / "host", localrc)
    (cloud.dir / "etc/placement").mkdir()
    (cloud.dir / "etc/placement/policy.yaml").touch()
    cloud.run("stack", "post-config")
    options = {(section, option) for section, options in cloud.conf().items() for option in options}
    options.remove(("DEFAULT", "logging_exception_prefix"))  # setup_logging's
    documented = set(re.findall(r"^``\[(\S+)\]`` +``(\w+)`` ", README, re.MULTILINE))
    # The options of an account have one line.
    accounts = {("neutron", "auth_type"), ("keystone_authtoken", "username")}
    options = {(section, option) for section, option in options if section not in dict(accounts)}
    assert options <= documented
    if localrc:
        only_beside = {("scheduler", "rpc_topic")} | {pair for pair in documented if pair[0] == "compute_agent"}
        assert documented - options == only_beside | accounts


SAMPLES = [PLUGIN / "local.conf.sample", *sorted((PLUGIN / "samples").iterdir())]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_sample_names_real_settings(path):
    assert path.name in README
    assert set(re.findall(r"NOVA_SCHED_\w+", path.read_text())) <= set(SETTINGS)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_sample_works(tmp_path, path):
    """The sample's localrc, as it is and with every commented setting in it active, is one that the plugin accepts."""
    localrc = path.read_text().partition("[[local|localrc]]\n")[2].partition("\n# Any other option")[0]
    if "enable_plugin" not in localrc:
        assert path.name == "compute.conf" and "n-cpu" in localrc
        return
    for number, text in enumerate([localrc, re.sub(r"^#(?! )", "", localrc, flags=re.MULTILINE)]):
        cloud = Cloud(tmp_path / f"host{number}", vhosts=("/", "nova_cell1", "nova_cell2"))
        cloud.set_localrc("function enable_plugin { :; }\n" + text)
        cloud.stack()
        runs = cloud.running()
        if path.name.startswith("compute"):
            assert runs == set()
            cells = cloud.dir / "etc/nova/nova-compute.conf.d/nova_sched.conf"
            assert cells.exists() == (path.name == "compute-cells.conf")
        else:
            assert {"nsch-scheduler", "nsch-cond-cell1"} <= runs
            assert ("nsch-placement" in runs) == (path.name != "beside.conf" or number == 1)
            assert ("nsch-placement-cell2" in runs) == (path.name == "controller-cells.conf")
        cloud.run("clean")


class _Loader(yaml.SafeLoader):
    """The YAML of Zuul has tags of its own."""


_Loader.add_multi_constructor("!", lambda loader, tag, node: loader.construct_scalar(node))
ZUUL = yaml.load((ROOT / ".zuul.yaml").read_text(), _Loader)
JOBS = {entry["job"]["name"]: entry["job"] for entry in ZUUL if "job" in entry}


def test_zuul_runs_its_jobs():
    (project,) = [entry["project"] for entry in ZUUL if "project" in entry]
    named = {
        name
        for pipeline in project.values()
        for job in pipeline["jobs"]
        for name in (job if isinstance(job, dict) else [job])
    }
    assert named == {name for name, job in JOBS.items() if not job.get("abstract")}
    assert {job["parent"] for job in JOBS.values()} - set(JOBS) == {"devstack-tempest"}


def test_zuul_playbooks_are_there():
    playbooks = {job[phase] for job in JOBS.values() for phase in ("pre-run", "run", "post-run") if phase in job}
    assert playbooks
    for path in playbooks:
        (play,) = yaml.safe_load((ROOT / path).read_text())
        assert play["hosts"] == "controller" and all(task["name"] for task in play["tasks"])


def test_what_zuul_keeps_of_the_logs(tmp_path):
    """The tasks after Tempest, on the logs of a cloud of one cell."""
    conf, kept = tmp_path / "nova_sched.conf", tmp_path / "kept"
    kept.mkdir()
    urls = {cell: f"sqlite:///{tmp_path}/{cell}.db" for cell in ("cell0", "cell1")}
    conf.write_text(
        f"[cells]\ncell0_log = {urls['cell0']}\nenabled = cell1\n"
        f"[cell:cell1]\nuuid = {uuid.uuid4()}\nlog = {urls['cell1']}\n"
    )
    for cell, url in urls.items():
        with contextlib.closing(open_log(url)) as log:
            open_at_level(log, cell, "operator/one", LEVEL)
    (play,) = yaml.safe_load((ROOT / "playbooks/devstack/post.yaml").read_text())
    of_host = {
        "{{ nova_sched_conf }}": conf,
        "{{ nova_sched_logs }}": kept,
        "/usr/local/bin": Path(sys.executable).parent,
    }
    shells = [task for task in play["tasks"] if "shell" in task]
    for task in shells:
        for item in task.get("loop", [""]):
            text = task["shell"].replace("{{ item }}", item)
            for name, value in of_host.items():
                text = text.replace(name, str(value))
            ended = subprocess.run(["bash", "-c", text], capture_output=True, text=True)
            said = ended.stderr + "".join(path.read_text() for path in kept.glob(f"{item}.txt"))
            assert ended.returncode in (0, 1), said
            assert "Usage" not in said and "is not known" not in said
    assert {path.name for path in kept.iterdir()} == {
        *("check.txt", "doctor.txt", "stats.txt"),
        *("cell0.nslog", "cell1.nslog"),
    }


def localrc_of(name: str, group: str | None = None) -> str:
    """What a job writes into localrc: its own settings over those of its parents."""
    settings: dict = {}
    job = JOBS.get(name)
    while job is not None:
        of_host = job.get("vars", {}) if group is None else job.get("group-vars", {}).get(group, {})
        settings = of_host.get("devstack_localrc", {}) | settings
        job = JOBS.get(job["parent"])
    return "".join(f'{setting}="{value}"\n' for setting, value in settings.items())


@pytest.mark.parametrize("name", [name for name, job in JOBS.items() if not job.get("abstract")])
def test_zuul_settings_work(tmp_path, name):
    localrc = localrc_of(name)
    assert set(re.findall(r"NOVA_SCHED_\w+", localrc)) <= set(SETTINGS)
    cloud = Cloud(tmp_path / "host", localrc, vhosts=("/", "nova_cell1", "nova_cell2"))
    cloud.run("stack", "post-config")
    assert "nsch-scheduler" in cloud.running()
    subnode = localrc_of(name, "subnode")
    if subnode:
        node = Cloud(tmp_path / "node", "ENABLED_SERVICES=n-cpu,placement-client\n" + subnode)
        node.stack()
        assert node.running() == set()
        # Both hosts are of one cloud.
        shared = [line for line in localrc.splitlines() if line.startswith(("NOVA_NUM_CELLS", "NOVA_SCHED_REPLACE"))]
        assert set(shared) <= set(subnode.splitlines())
