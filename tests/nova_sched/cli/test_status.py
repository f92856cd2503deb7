"""``nova-sched-status upgrade check``: what it finds, what it says to do, and its exit codes."""

import json
import re
from types import SimpleNamespace

import pytest

from nova_sched.cli import status
from nova_sched.process.version import version
from nova_sched.replay.health import upgrade
from nova_sched.replay.health.upgrade import State
from rpc_api import codec, events
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from rpc_api.log.rabbit import BrokerFacts
from tests.builders import uuid_of
from tests.nova_sched.cli.test_pin import CELLS, Cloud

SCHEDULER = f"scheduler s1 of cell0, version {version()},"
OK, WARNING, FAILURE, UNEXPECTED = 0, 1, 2, 255
CHECKS = (
    "Options",
    "Policy File JSON to YAML Migration",
    "Logs",
    "RabbitMQ",
    "Levels",
    "Services",
    "Checkpoints",
    "Snapshots",
)


@pytest.fixture
def cloud(tmp_path, capsys):
    cloud = Cloud(tmp_path, capsys)
    yield cloud
    for served in cloud.served.values():
        served.stop(5.0)
    cloud.bus.close()


def check(cloud, *words):
    """(exit code, check -> (result, details)) of the command."""
    code = status.main(["--config-file", str(cloud.file), *words, "upgrade", "check", "--json"])
    shown = json.loads(cloud.capsys.readouterr().out)
    assert [row["check"] for row in shown["checks"]] == list(CHECKS)
    return code, {row["check"]: (row["result"], row["details"]) for row in shown["checks"]}


def checkpointed(cloud, *cells):
    """Write a checkpoint into the logs of cells, as their services do."""
    from nova_sched.projection import snapshot
    from nova_sched.projection.projection import Projection
    from nova_sched.replay.logs.reading import records_of

    for cell in cells:
        projection = Projection(cell)
        projection.fold(records_of(cloud.urls[cell]))
        packed = snapshot.dump(projection)
        keeper = "scheduler/s1" if cell == "cell0" else f"conductor/c{cell[-1]}"
        cloud.append(
            cell,
            keeper,
            events.StateKept(uuid_of(f"checkpoint of {cell}"), projection.position, 0, 1, packed),
            level=LEVEL,
        )


# --- exit codes and forms --------------------------------------------------------------------------------------------


def test_a_cloud_of_the_release_before_can_be_upgraded(cloud, monkeypatch):
    monkeypatch.setattr("rpc_api.bus.port.LEVEL", 1)
    code, found = check(cloud)
    assert code == OK, found
    assert found["Services"] == (0, "9 services answer, 9 of the release before")
    assert found["Levels"][1].endswith(
        "cell2 is at level 1; run nova-sched pin when all services are upgraded and you no longer want to go back"
    )


def test_a_cloud_whose_services_are_upgraded_may_be_pinned(cloud):
    code, found = check(cloud)
    assert (code, found["Services"][1]) == (OK, "9 services answer, all of this release; nova-sched pin may be run")


def test_a_pinned_cloud_needs_its_checkpoints(cloud):
    assert cloud.pin()[0] == 0
    code, found = check(cloud)
    assert (code, found["Checkpoints"][0]) == (FAILURE, FAILURE)
    assert "cell1 has no complete checkpoint; start the conductor of cell1" in found["Checkpoints"][1]
    assert "cell0 has no complete checkpoint; start a scheduler" in found["Checkpoints"][1]
    checkpointed(cloud, "cell0", *CELLS)
    code, found = check(cloud)
    assert code == OK, found
    assert found["Levels"][1] == f"all logs are at level {LEVEL}, the newest one"
    assert found["Checkpoints"][1].startswith("cell0 has one of the state at position")


def test_the_table_is_that_of_other_projects(cloud):
    assert status.main(["--config-file", str(cloud.file), "upgrade", "check"]) == OK
    shown = cloud.capsys.readouterr().out
    assert re.search(r"\| Upgrade Check Results +\|", shown)
    assert re.findall(r"\| Check: (.*?) +\|", shown) == list(CHECKS)
    assert shown.count("| Result: Success") == len(CHECKS)


@pytest.mark.parametrize("form", ["{} {}", "{}={}"])
def test_the_configuration_may_be_named_after_the_command(cloud, form):
    words = ["upgrade", "check", *form.format("--config-file", cloud.file).split(), "--json"]
    assert status.main(words) == OK
    shown = json.loads(cloud.capsys.readouterr().out)
    assert [row["check"] for row in shown["checks"]] == list(CHECKS)


@pytest.mark.parametrize(
    "words, text",
    [
        (["upgrade", "check", "--config-file", "/nowhere.conf"], "there is no configuration file /nowhere.conf"),
        (["upgrade", "check", "--config-file"], "unrecognized arguments: --config-file"),
        (["upgrade", "chekc"], "there is no command 'upgrade chekc', wanted 'upgrade check'"),
        (["downgrade"], "invalid choice: 'downgrade'"),
        (["--config-file", "/nowhere.conf", "upgrade", "check"], "there is no configuration file /nowhere.conf"),
    ],
)
def test_a_wrong_command_line_is_not_taken_for_a_failed_check(capsys, words, text):
    assert status.main(words) == UNEXPECTED
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line.startswith("nova-sched-status: ") and text in line


def test_a_configuration_without_logs(tmp_path, capsys):
    path = tmp_path / "nova_sched.conf"
    path.write_text("[cells]\nenabled = cell1\n")
    assert status.main(["--config-file", str(path), "upgrade", "check"]) == UNEXPECTED
    assert "[cells] cell0_log is not set" in capsys.readouterr().err


def test_a_fault_of_the_command_is_one_line(cloud, monkeypatch):
    monkeypatch.setattr(upgrade, "of_options", lambda conf: 1 / 0)
    assert status.main(["--config-file", str(cloud.file), "upgrade", "check"]) == UNEXPECTED
    shown = cloud.capsys.readouterr()
    assert shown.err.startswith("nova-sched-status: a fault in nova_sched itself (ZeroDivisionError(")
    assert "Traceback" not in shown.err + shown.out


# --- what each check finds -------------------------------------------------------------------------------------------


def with_an_option(cloud):
    cloud.file.write_text(cloud.file.read_text() + "[scheduler]\nmax_atempts = 3\n")


def with_a_json_policy(cloud):
    path = cloud.file.parent / "policy.json"
    path.write_text('{"placement:usages": "role:admin"}')
    cloud.file.write_text(cloud.file.read_text() + f"[oslo_policy]\npolicy_file = {path}\n")


def without_a_log(cloud):
    cloud.file.write_text(cloud.file.read_text().replace(cloud.urls["cell2"], "sqlite:////nowhere/cell2.db"))


def with_a_log_that_is_too_new(cloud):
    cloud.append("cell1", "operator/test", events.LevelPinned(LEVEL + 1))


def with_an_empty_log(cloud):
    empty = f"sqlite:///{cloud.file.parent}/empty.db"
    open_log(empty).close()
    cloud.file.write_text(cloud.file.read_text().replace(cloud.urls["cell2"], empty))


def with_one_pinned_log(cloud):
    assert cloud.pin("--cell", "cell1")[0] == 0
    checkpointed(cloud, "cell1")


def with_a_silent_service(cloud):
    cloud.served.pop("c1").stop(5.0)


def with_a_damaged_snapshot(cloud):
    directory = cloud.file.parent / "snapshots"
    directory.mkdir()
    (directory / "cell1.snapshot").write_bytes(b"not a snapshot")
    cloud.file.write_text(cloud.file.read_text() + f"[snapshots]\nurl = file://{directory}\n")


def with_a_wrong_store(cloud):
    cloud.file.write_text(cloud.file.read_text() + "[snapshots]\nurl = ftp://host/directory\n")


FINDINGS = [
    (with_an_option, "Options", WARNING, "max_atempts is read by no service, the nearest is [scheduler] max_attempts"),
    (with_a_json_policy, "Policy File JSON to YAML Migration", FAILURE, "oslopolicy-convert-json-to-yaml"),
    (without_a_log, "Logs", FAILURE, "the log of cell2 cannot be read: "),
    (with_a_log_that_is_too_new, "Logs", FAILURE, f"is pinned to level {LEVEL + 1}, this version knows 1 to {LEVEL}"),
    (with_an_empty_log, "Logs", WARNING, "the log of cell2 is empty; check its URL, or start its services"),
    (with_one_pinned_log, "Levels", WARNING, "run nova-sched pin again when all services are upgraded"),
    (with_a_silent_service, "Services", WARNING, "conductor c1 of cell1 does not answer"),
    (with_a_damaged_snapshot, "Snapshots", WARNING, "the snapshot of cell1 is not used, services read the log instead"),
    (with_a_wrong_store, "Snapshots", FAILURE, "the snapshot URL has the scheme 'ftp'"),
]


@pytest.mark.parametrize("break_it, name, state, text", FINDINGS, ids=[row[0].__name__ for row in FINDINGS])
def test_findings(cloud, break_it, name, state, text):
    break_it(cloud)
    code, found = check(cloud)
    assert code >= state
    assert found[name][0] == state and text in found[name][1], found


@pytest.mark.parametrize(
    "known, oldest, text",
    [
        (1, 2, f"{SCHEDULER} knows level 1, wanted at least 2; upgrade it to the release before first"),
        (1, 1, f"{SCHEDULER} knows level 1, and the log of cell0 has a higher one; upgrade it at once"),
        (LEVEL + 1, 1, f"knows level {LEVEL + 1}, this command knows {LEVEL}; use the command of that release"),
    ],
)
def test_services_of_other_releases(cloud, monkeypatch, known, oldest, text):
    if known < LEVEL and oldest == 1:
        assert cloud.pin()[0] == 0
    monkeypatch.setattr("rpc_api.bus.port.LEVEL", known)
    monkeypatch.setattr(upgrade, "OLDEST_BESIDE", oldest)
    monkeypatch.setattr(upgrade, "NAMED", 20)
    code, found = check(cloud)
    assert (code, found["Services"][0]) == (FAILURE, FAILURE)
    assert text in found["Services"][1], found["Services"][1]


def test_a_scheduler_that_writes_at_a_lower_level_after_the_pin(cloud):
    assert cloud.pin()[0] == 0
    from rpc_api.clock import SYSTEM

    voice = cloud.voices[("cell0", "scheduler/s1")]
    event = voice.say(events.PolicyAdopted("digest", "{}"))._replace(at_ns=SYSTEM.now_ns() + 120 * 10**9)
    with open_log(cloud.urls["cell0"]) as log:
        log.append([codec.encode_record(uuid_of("epoch of cell0"), [event], 1)])
    code, found = check(cloud)
    assert (code, found["Levels"][0]) == (FAILURE, FAILURE)
    assert "cell0: " in found["Levels"][1] and "scheduler/s1 write at a lower level" in found["Levels"][1]


@pytest.mark.parametrize(
    "product, version, state",
    [
        ("RabbitMQ", "3.8.9", State.FAILURE),
        ("RabbitMQ", "3.9.13", State.WARNING),
        ("RabbitMQ", "3.10.8", State.OK),
        ("RabbitMQ", "4.1.0", State.OK),
        ("RabbitMQ", "5.0.0", State.WARNING),
        ("LavinMQ", "2.0.0", State.WARNING),
        ("unknown", "unknown", State.WARNING),
    ],
)
def test_versions_of_rabbitmq(product, version, state):
    facts = BrokerFacts("broker:5672", product, version, "cluster", "nova", None)
    logs = {"cell1": SimpleNamespace(broker=lambda: facts), "cell2": SimpleNamespace()}
    found = upgrade.of_brokers(SimpleNamespace(logs=logs, down={}))
    assert found.state == state
    assert f"{product} {version} at broker:5672 (cell1)" in found.text
