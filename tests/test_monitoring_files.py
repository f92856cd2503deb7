"""Alerts, dashboard, units of systemd and the page about monitoring: they fit each other and the table of metrics.

Whether the services really export what they ask for is a test in tests/end_to_end/test_monitoring.py.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from nova_sched.process.monitoring.families import COUNTER, FAMILIES, GAUGE, HISTOGRAM
from nova_sched.scheduler.measures import Measures
from tests import promql

ROOT = promql.ROOT
PAGE = (ROOT / "docs" / "operating" / "monitoring.md").read_text()
RUNBOOKS = ROOT / "docs" / "operating" / "runbooks"
UNITS = sorted((ROOT / "etc" / "systemd").glob("*.service"))
ALERTS = promql.alerts()
#: The services.
PROGRAMS = {
    name
    for name in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    if name not in ("nova-sched", "nova-sched-replay", "nova-sched-status")
}
#: Series that Prometheus or the library of the client makes.
NOT_OURS = frozenset(("up", "process_cpu_seconds_total", "process_resident_memory_bytes"))
#: (Name, label) -> all values.
VALUES = {
    ("nova_sched_scheduler_requests_total", "outcome"): set(Measures().requests),
    ("nova_sched_hosts", "status"): {"up", "disabled", "forced_down", "lost"},
}
UNIT_ENDINGS = ("_seconds", "_bytes", "_ratio", "_records", "_records_since")


def family_of(name):
    """The name of the family of a series."""
    ending = re.search(r"_(bucket|sum|count)$", name)
    family = name.removesuffix(ending[0]) if ending else name
    return family if FAMILIES.get(family, ("",))[0] == HISTOGRAM else name


# --- the table of metrics ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_a_name_is_as_prometheus_wants_it(name):
    family = FAMILIES[name]
    assert re.fullmatch(r"nova_sched_[a-z][a-z_]*[a-z]", name)
    assert name.endswith("_total") is (family.kind == COUNTER)
    assert family.kind in (COUNTER, GAUGE, HISTOGRAM)
    if family.kind == HISTOGRAM:
        assert name.endswith("_duration_seconds")
    assert not re.search(r"_(ms|ns|minutes|mb|mib|kib|percent)(_|$)", name), "base units only"
    assert not {"host", "instance", "instance_uuid", "project", "user"} & set(family.labels), "as many as the cloud has"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_metric_is_in_the_page(name):
    family = FAMILIES[name]
    labels = ", ".join(f"`{label}`" for label in family.labels) or "-"
    assert f"| `{name}` | {family.kind} | {labels} | {family.help} |" in PAGE.split("\n")


def test_the_page_has_no_other_metric():
    assert set(re.findall(r"^\| `(nova_sched_\w+)` ", PAGE, re.MULTILINE)) == set(FAMILIES)


# --- alerts and dashboard ------------------------------------------------------------------------------------------


# (The name of a test must be the same in each process of a run: no part of it may be a set.)
@pytest.mark.parametrize(
    "where, asked",
    promql.everything_asked(),
    ids=[f"{where}-{asked.name}" for where, asked in promql.everything_asked()],
)
def test_an_expression_asks_for_metrics_and_labels_that_there_are(where, asked):
    if asked.name in NOT_OURS:
        assert asked.labels <= promql.OF_PROMETHEUS
        return
    family = FAMILIES[family_of(asked.name)]
    known = {*family.labels, *promql.OF_PROMETHEUS, *(["le"] if family.kind == HISTOGRAM else [])}
    assert asked.labels <= known, where
    assert (family.kind == HISTOGRAM) is (asked.name not in FAMILIES), "a histogram is asked for by its parts"
    for label, values in asked.values.items():
        if (asked.name, label) in VALUES:
            assert set(values) <= VALUES[asked.name, label], where


@pytest.mark.parametrize("title, expression, legend", promql.panels(), ids=lambda value: str(value)[:40])
def test_a_legend_names_labels_of_its_expression(title, expression, legend):
    known = {label for asked in promql.asked_by(expression) for label in asked.labels}
    assert promql.legend_labels(legend) <= known


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_has_a_runbook_and_names_labels_of_its_series(alert):
    name, notes = alert["alert"], alert["annotations"]
    assert f"\n| [{name}](runbooks/{name}.md) | {alert['labels']['severity']} | " in PAGE
    assert (RUNBOOKS / f"{name}.md").exists()
    assert notes["runbook_url"] == f"runbooks/{name}.html"
    assert alert["labels"]["severity"] in ("warning", "critical")
    known = set(promql.OF_PROMETHEUS)
    for asked in promql.asked_by(alert["expr"]):
        known |= {*asked.labels, *FAMILIES[family_of(asked.name)].labels} if asked.name in FAMILIES else asked.labels
    assert promql.legend_labels(notes["summary"]) <= known


def test_the_page_has_no_other_alert():
    names = [alert["alert"] for alert in ALERTS]
    assert re.findall(r"^\| \[(\w+)\]\(runbooks/", PAGE, re.MULTILINE) == names
    assert {path.stem for path in RUNBOOKS.glob("Nova*.md")} == set(names)


def test_jobs_are_named_after_the_programs_and_have_their_ports():
    jobs = yaml.safe_load(promql.SCRAPE.read_text())["scrape_configs"]
    assert {job["job_name"] for job in jobs} == PROGRAMS
    ports = {
        job["job_name"]: {int(target.rpartition(":")[2]) for target in job["static_configs"][0]["targets"]}
        for job in jobs
    }
    from compute_agent.app import AgentService
    from conductor.app import ApiService, CellService
    from nova_sched.scheduler.app import SchedulerService
    from nova_sched.scheduler.shadow.app import ShadowService
    from placement_api.service import PlacementService

    first = PlacementService.MONITORING_PORT
    assert ports == {
        "nova-sched-scheduler": {SchedulerService.MONITORING_PORT},
        "nova-sched-shadow": {ShadowService.MONITORING_PORT},
        "nova-sched-conductor": {ApiService.MONITORING_PORT, CellService.MONITORING_PORT},
        "nova-sched-agent": {AgentService.MONITORING_PORT},
        "nova-sched-placement": {first, first + 1},
    }


def promtool(*arguments, **options):
    """Run promtool; the test is skipped where it is not installed, and fails in CI."""
    program = shutil.which("promtool")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is not installed; install the package prometheus", pytrace=False)
        pytest.skip("promtool is not installed; install the package prometheus")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_promtool_accepts_the_rules_and_the_jobs(tmp_path):
    promtool("check", "rules", str(promql.RULES))
    config = tmp_path / "prometheus.yml"
    config.write_text(f"rule_files: ['{promql.RULES}']\n{promql.SCRAPE.read_text()}")
    promtool("check", "config", str(config))


def test_alerts_that_are_played(tmp_path):
    """Series of some minutes, and the alerts that follow from them."""
    played = tmp_path / "played.yaml"
    played.write_text((Path(__file__).parent / "alerts.yaml").read_text().replace("RULES", str(promql.RULES)))
    promtool("test", "rules", str(played))


# --- units of systemd ----------------------------------------------------------------------------------------------


def test_there_is_a_unit_for_each_service():
    programs = {line.split()[0] for unit in UNITS for line in re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.M)}
    # The page is a command of nova-sched.
    assert programs == PROGRAMS | {"nova-sched"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_has_the_user_and_the_files_that_are_installed(unit):
    text = unit.read_text()
    install = (ROOT / "docs" / "operating" / "install.md").read_text()
    assert re.findall(r"^(?:User|Group)=(.*)$", text, re.M) == ["nova-sched", "nova-sched"]
    for path in re.findall(r"--config-file (\S+)", text):
        assert path == "/etc/nova_sched/nova_sched.conf" or f"> {path}\n" in install, "no file of the chapter"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_a_unit(unit, tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed; install the package systemd")
    # A template is checked as one of its instances, and the program must be there.
    copied = tmp_path / unit.name.replace("@.", "@cell1.")
    copied.write_text(unit.read_text().replace("ExecStart=", f"ExecStart={sys.executable} "))
    if copied.name != unit.name:
        (tmp_path / unit.name).write_text(copied.read_text())
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copied)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and copied.name not in done.stderr, done.stderr


# --- what is shipped -------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["systemd", "prometheus", "grafana", "logrotate.d"])
def test_the_files_are_shipped(folder):
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    (pattern,) = shipped[f"share/nova_sched/{folder}"]
    assert {path.name for path in ROOT.glob(pattern)} == {path.name for path in (ROOT / "etc" / folder).iterdir()}
