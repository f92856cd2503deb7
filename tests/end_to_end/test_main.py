"""The console scripts as processes: what is wrong, what is ready, what the signals do. The logs are SQLite files."""

import os
import re
import signal
import sqlite3

import pytest

from rpc_api import codec, errors, events
from rpc_api.log import open_log
from tests.end_to_end.processes import ServiceProcess, config_text, run, sections_for

API = ("--level", "api")
CELL = ("--level", "cell", "--cell", "cell1")
ALL = [("scheduler", ()), ("conductor", API), ("conductor", CELL), ("agent", ())]
NAMES = ["scheduler", "api", "cell", "agent"]


def write(tmp_path, **changes):
    path = tmp_path / "nova_sched.conf"
    path.write_text(config_text(sections_for(tmp_path, **changes)))
    return str(path)


def started(tmp_path, service, *args, env=None, **changes):
    return ServiceProcess(tmp_path, service, "--config-file", write(tmp_path, **changes), *args, env=env)


#: service, arguments, changes of the configuration, exit code, text that is printed.
WRONG = [
    ("scheduler", (), {"cells": {"cell0_log": None}}, 2, r"\[cells\] cell0_log is not set.*nova_sched.conf"),
    ("scheduler", (), {"cells": {"enabled": None}}, 2, r"\[cells\] enabled names no cell"),
    ("scheduler", (), {"cells": {"enabled": "cell1,cell2"}}, 2, r"\[cell:cell2\] log is not set"),
    ("scheduler", (), {"cells": {"enabled": "cell1,cell1"}}, 2, "names a cell twice"),
    ("scheduler", (), {"cells": {"enabled": "cell0"}}, 2, "'cell0' cannot be the name of a cell"),
    ("scheduler", (), {"cell_cell1": None}, 2, r"\[cell:cell1\] log is not set"),
    ("scheduler", (), {"cell_cell1": {"uuid": None}}, 2, r"\[cell:cell1\] uuid is not set"),
    ("conductor", API, {"cell_cell1": {"uuid": None}}, 2, r"\[cell:cell1\] uuid is not set"),
    ("conductor", CELL, {"cell_cell1": {"uuid": "one"}}, 2, r"\[cell:cell1\] uuid is 'one', wanted a UUID"),
    ("scheduler", (), {"cell_cell1": {"log": "carrier://pigeon"}}, 2, "the scheme is 'carrier'"),
    ("scheduler", (), {"scheduler": {"claim_timeout": "soon"}}, 2, "claim_timeout.*nova_sched.conf.*is not valid"),
    ("scheduler", (), {"scheduler": {"max_attempts": 0}}, 2, "max_attempts.*is not valid"),
    ("scheduler", (), {"filter_scheduler": {"enabled_filters": "NoFilter"}}, 2, "no filter 'NoFilter'"),
    ("scheduler", (), {"filter_scheduler": {"weight_classes": "NoWeigher"}}, 2, "no weigher 'NoWeigher'"),
    (
        "scheduler",
        (),
        {"filter_scheduler": {"weight_classes": "a.b.NoWeigher"}},
        2,
        "weigher a.b.NoWeigher cannot be loaded",
    ),
    ("scheduler", (), {"filter_scheduler": {"available_filters": "json.loads"}}, 2, "json.loads cannot be loaded"),
    ("scheduler", (), {"filter_scheduler": {"soft_affinity_weight_multiplier": -1}}, 2, "soft_affinity.*is not valid"),
    ("scheduler", (), {"filter_scheduler": {"image_properties_default_architecture": "x86-64"}}, 2, "x86_64.*x86-64"),
    ("scheduler", ("--colour",), {}, 2, "unrecognized arguments: --colour"),
    (
        "scheduler",
        ("--config-file", "there is no configuration file /nowhere.conf"),
        {},
        2,
        "there is no configuration file /nowhere.conf",
    ),
    ("conductor", (), {}, 2, "--level is not given, wanted api or cell"),
    ("conductor", ("--level", "rack"), {}, 2, "--level: the value is 'rack', wanted one of 'api', 'cell'"),
    ("conductor", ("--level", "cell"), {}, 2, "--cell is not given"),
    ("conductor", ("--level", "cell", "--cell", "cell7"), {}, 2, "the cell 'cell7' is not enabled, wanted .* cell1"),
    ("conductor", (*API, "--cell", "cell1"), {}, 2, "--cell goes with --level cell"),
    ("conductor", CELL, {"conductor": {"claim_ttl": 10}}, 2, "claim_ttl is 10 s, wanted more than build_timeout"),
    ("agent", (), {"compute_agent": {"driver": "crystal-ball"}}, 2, "no driver 'crystal-ball'.*local, simulated"),
    ("agent", (), {"compute_agent": {"simulated_name": "{rack}"}}, 2, "simulated_name is '{rack}'"),
    ("agent", (), {"compute_agent": {"simulated_name": "same"}}, 2, "several hosts one name"),
    ("agent", (), {"compute_agent": {"cell": "cell9"}}, 2, "the cell 'cell9' is not enabled"),
    ("agent", (), {"cells": {"enabled": "cell1,cell2"}}, 2, r"\[compute_agent\] cell is not set.*cell1, cell2"),
    ("scheduler", (), {"DEFAULT": {"transport_url": "pigeon://coop/"}}, 2, "fix transport_url"),
    ("scheduler", (), {"cells": {"cell0_log": "sqlite:////proc/no/such.db"}}, 3, "/proc/no/such.db"),
]


@pytest.mark.parametrize("service, args, changes, code, said", WRONG, ids=[f"{row[0]}-{row[4][:40]}" for row in WRONG])
def test_what_is_wrong_is_said_in_one_line(tmp_path, service, args, changes, code, said):
    done = run(service, "--config-file", write(tmp_path, **changes), *args)
    *logged, sentence = done.stderr.splitlines()
    assert done.returncode == code
    assert done.stdout == "" and "Traceback" not in done.stderr and "secret" not in done.stderr
    assert sentence.startswith(f"nova-sched-{service}: ")
    assert re.search(said, sentence), sentence
    assert not [
        line
        for line in logged
        if " WARNING stevedore" not in line and "is not read: [cells] enabled names no cell" not in line
    ], done.stderr


def test_a_wrong_concurrency_mode(tmp_path):
    done = run("agent", "--config-file", write(tmp_path), env={"NOVA_SCHED_CONCURRENCY": "fibres"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "nova-sched-agent: the concurrency mode is 'fibres', wanted one of threading, eventlet; "
        "fix NOVA_SCHED_CONCURRENCY\n"
    )


DESCRIPTIONS = {
    "scheduler": "Choose hosts for instances",
    "conductor": "Build instances on the chosen hosts",
    "agent": "Report the resources and instances of this host",
}


@pytest.mark.parametrize("service", DESCRIPTIONS)
def test_help_is_on_stdout(service):
    done = run(service, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"nova-sched-{service}" in done.stdout and "--config-file" in done.stdout
    assert DESCRIPTIONS[service] in " ".join(done.stdout.split())
    assert "Exit codes: 0 ok, 1 " in " ".join(done.stdout.split())


def test_a_fault_is_in_the_log_file_too(tmp_path):
    log = tmp_path / "service.log"
    done = run(
        "scheduler",
        "--log-file",
        str(log),
        "--config-file",
        write(tmp_path, cells={"cell0_log": "sqlite:////proc/no/such.db"}),
    )
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "nova-sched-scheduler ends: " in log.read_text() and "Traceback" not in log.read_text()


@pytest.mark.parametrize("service, args", ALL, ids=NAMES)
def test_ready_line_and_a_quiet_end(tmp_path, service, args):
    with started(tmp_path, service, *args) as process:
        line = process.wait_for(r"is ready: (.*)").group(1)
        assert "topic" in line and ("cell1" in line)
        assert process.stop() == 0
        assert process.stdout == ""
        assert [text for text in process.stderr.splitlines() if " INFO " not in text] == []
        assert "nothing was left" in process.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_either_signal_ends_it(tmp_path, number):
    with started(tmp_path, "agent") as process:
        process.wait_ready()
        process.send(number)
        assert process.process.wait(60) == 0


def test_eventlet_is_selectable(tmp_path):
    with started(tmp_path, "agent", env={"NOVA_SCHED_CONCURRENCY": "eventlet"}) as process:
        process.wait_ready()
        assert process.stop() == 0


class TestReload:
    def test_filters_and_weighers_and_debug(self, tmp_path):
        with started(tmp_path, "scheduler", filter_scheduler={"ram_weight_multiplier": 1.0}) as process:
            process.wait_ready()
            write(
                tmp_path,
                filter_scheduler={"ram_weight_multiplier": -1.0},
                DEFAULT={"debug": True},
                scheduler={"max_attempts": 7},
            )
            process.send(signal.SIGHUP)
            process.wait_for(
                r"reloaded, changed: \[DEFAULT\] debug, \[filter_scheduler\] ram_weight_multiplier, "
                r"\[scheduler\] max_attempts"
            )
            assert " DEBUG " in process.stderr
            process.send(signal.SIGHUP)
            process.wait_for("reloaded, changed: nothing")
            assert process.stop() == 0
            first, second = policies(tmp_path)
            assert '["RAMWeigher", -1.0]' in second and '["RAMWeigher", 1.0]' in first
            assert '"max_attempts": 7' in second and '"max_attempts": 3' in first

    @pytest.mark.parametrize(
        "changes, said",
        [
            ({"filter_scheduler": {"enabled_filters": "NoFilter"}}, "no filter 'NoFilter'"),
            ({"filter_scheduler": {"ram_weight_multiplier": "much"}}, "ram_weight_multiplier"),
            ({"filter_scheduler": {"ram_weight_multiplier": "1\n[broken"}}, "nova_sched.conf"),
        ],
    )
    def test_what_is_wrong_is_not_taken_over(self, tmp_path, changes, said):
        with started(tmp_path, "scheduler") as process:
            process.wait_ready()
            write(tmp_path, **changes)
            process.send(signal.SIGHUP)
            line = process.wait_for(f"ERROR.*the new configuration is not used: .*{said}.*").group()
            assert "rpc_api.errors" not in line and "oslo_config" not in line, "the message is printed once"
            assert "Traceback" not in process.stderr
            write(tmp_path, scheduler={"max_attempts": "5"})
            process.send(signal.SIGHUP)
            process.wait_for(r"the configuration was reloaded, changed: \[scheduler\] max_attempts\n")
            assert process.stop() == 0
            assert len(policies(tmp_path)) == 2


def policies(tmp_path):
    """The policies that cell0's log says were adopted."""
    with open_log(f"sqlite:///{tmp_path}/cell0.db", create=False) as log, log.read_from(log.bounds().first) as reader:
        found = [event.data for record in reader.read(1000) for event in codec.decode_record(record.payload).events]
    return [one.options for one in found if isinstance(one, events.PolicyAdopted)]


REPORT = {
    "scheduler": (
        r"name = scheduler/sched",
        r"digest = [0-9a-f]{32}",
        r"policy = [0-9a-f]{16}",
        r"lag = 0",
        r"requests in flight = 0",
        "cell1 =",
        r"options of the policy = .*max_attempts",
        r"enabled_filters = ",
        r"cell0_log = \*\*\*",
    ),
    "api": (r"level = api", r"requests in flight = 0", r"cells = cell1"),
    "cell": (
        r"name = conductor/cond",
        r"cell = cell1",
        r"digest = [0-9a-f]{32}",
        r"epoch = [0-9a-f-]{36}",
        r"lag = 0",
        r"builds in flight = 0",
    ),
    "agent": (r"server = sim", r"driver = simulated", r"sim-3 =", r"instances = 0", r"producer epoch = \d+"),
}


@pytest.mark.parametrize("service, args, name", [(*one, name) for one, name in zip(ALL, NAMES, strict=True)], ids=NAMES)
def test_guru_meditation_report(tmp_path, service, args, name):
    with started(tmp_path, service, *args) as process:
        process.wait_ready()
        process.send(signal.SIGUSR2)
        process.wait_for(r"==== +nova_sched +====")
        for pattern in REPORT[name]:
            process.wait_for(pattern)
        assert "no answer" not in process.stderr
        assert process.stop() == 0


class TestRestart:
    def test_services_go_on_on_the_same_logs(self, tmp_path):
        for _turn in (1, 2):
            with started(tmp_path, "agent") as agent:
                agent.wait_ready()
                assert agent.stop() == 0
            with started(tmp_path, "scheduler") as scheduler:
                assert "with 3 hosts" in scheduler.wait_for("is ready: (.*)").group(1)
                assert scheduler.stop() == 0
            with started(tmp_path, "conductor", *CELL) as conductor:
                assert "for 3 hosts" in conductor.wait_for("is ready: (.*)").group(1)
                assert conductor.stop() == 0
        with open_log(f"sqlite:///{tmp_path}/cell1.db", create=False) as log:
            with log.read_from(log.bounds().first) as reader:
                reports = [
                    event
                    for record in reader.read(1000)
                    for event in codec.decode_record(record.payload).events
                    if event.name == "HostReported"
                ]
        assert [(report.data.host, report.sequence) for report in reports] == [(f"sim-{n}", 1) for n in (1, 2, 3)] * 2
        assert reports[0].producer_epoch < reports[3].producer_epoch


def start_all_then(tmp_path, harm):
    for _ in range(2):
        with started(tmp_path, "agent") as agent:
            agent.wait_ready()
            assert agent.stop() == 0
    harm(tmp_path / "cell1.db")


def remove_the_middle(path):
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM records WHERE position = (SELECT min(position) + 1 FROM records)")


def not_ours(path):
    os.remove(path)
    with open_log(f"sqlite:///{path}") as log:
        log.append([b"these bytes are nobody's record"])


@pytest.mark.parametrize("service, args", [("scheduler", ()), ("conductor", CELL)], ids=["scheduler", "cell"])
@pytest.mark.parametrize(
    "harm, code", [(remove_the_middle, errors.EXIT_GAP), (not_ours, errors.EXIT_SCHEMA)], ids=["gap", "schema"]
)
def test_a_harmed_log(tmp_path, service, args, harm, code):
    start_all_then(tmp_path, harm)
    done = run(service, "--config-file", write(tmp_path), *args)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"nova-sched-{service}: ") and "Traceback" not in done.stderr


@pytest.mark.parametrize("service, args", [("scheduler", ()), ("conductor", CELL)], ids=["scheduler", "cell"])
def test_a_log_that_is_replaced_while_it_is_read_is_begun_anew(tmp_path, service, args):
    with started(tmp_path, service, *args) as process:
        process.wait_ready()
        os.remove(tmp_path / "cell1.db")
        process.wait_for("the log of cell1 was recreated")
        process.wait_for("the log of cell1 can be read again")
        assert process.stop() == 0
        assert "Traceback" not in process.stderr
