"""The devstack plugin, phase by phase, against stubs of devstack's functions (stubs.sh)."""

import os
import stat

import pytest
from oslo_config import cfg

import compute_agent.config
from nova_sched.process import unread_options
from nova_sched.scheduler import config as service_config
from rpc_api import config
from tests.devstack.cloud import CELL_UUIDS, PLUGIN, STACK, Cloud
from tests.test_sample import validate

TWO_CELLS = "NOVA_NUM_CELLS=2\n"
SINGLE = "CELLSV2_SETUP=singleconductor\n"
RABBIT = "rabbit://stackrabbit:secretrabbit@192.0.2.10:5672"
DEFINITION = '{"max-age":"7D","max-length-bytes":2000000000,"stream-max-segment-size-bytes":200000000}'
RETENTION = {"nova_sched-log": [r"^nova_sched\.", "queues", DEFINITION, "10"]}


@pytest.fixture
def cloud(tmp_path):
    return Cloud(tmp_path / "host", vhosts=("/", "nova_cell1", "nova_cell2"))


def expected_conf(cells: dict[str, str], data_dir) -> dict:
    """The whole configuration for these cells with their vhosts, as far as every cloud has it."""
    conf = {
        "DEFAULT": {
            "debug": "True",
            "control_exchange": "nova_sched",
            "transport_url": f"{RABBIT}/",
            "logging_exception_prefix": "ERROR %(name)s %(instance)s",
        },
        "cells": {"cell0_log": f"{RABBIT}/?stream=nova_sched.cell0", "enabled": ",".join(cells)},
        "checkpoints": {"interval": "600"},
        "scheduler": {"rpc_topic": "nova_sched_scheduler"},
        "filter_scheduler": {"enabled_filters": "ComputeFilter,SameHostFilter"},
        "neutron": {
            "auth_type": "password",
            "auth_url": "http://192.0.2.10/identity",
            "username": "nova",
            "password": "servicesecret",
            "region_name": "RegionOne",
        },
        "compute_agent": {"driver": "local", "cell": "cell1", "state_path": f"{data_dir}/nova_sched"},
    }
    for cell, vhost in cells.items():
        conf[f"cell:{cell}"] = {
            "uuid": CELL_UUIDS[cell],
            "log": f"{RABBIT}/{vhost}?stream=nova_sched.{cell}",
            "transport_url": f"{RABBIT}/{vhost}",
        }
    return conf


class TestServices:
    @pytest.mark.parametrize(
        "localrc, expected",
        [
            ("", ["nsch-scheduler", "nsch-cond-api", "nsch-cond-cell1", "nsch-agent"]),
            (SINGLE, ["nsch-scheduler", "nsch-cond-api", "nsch-cond-cell1", "nsch-agent"]),
            (TWO_CELLS, ["nsch-scheduler", "nsch-cond-api", "nsch-cond-cell1", "nsch-cond-cell2", "nsch-agent"]),
            ("disable_service nsch-agent", ["nsch-scheduler", "nsch-cond-api", "nsch-cond-cell1"]),
            ("ENABLED_SERVICES=n-cpu,q-agt", ["nsch-agent"]),
            ("disable_service n-cpu", ["nsch-scheduler", "nsch-cond-api", "nsch-cond-cell1"]),
            ("ENABLED_SERVICES=rabbit,mysql,key", []),
        ],
    )
    def test_enabled_by_settings(self, cloud, localrc, expected):
        cloud.set_localrc(localrc)
        assert cloud.run("settings") == []
        assert cloud.services() == expected

    def test_nsch_of_nova_stays(self, cloud):
        cloud.run("settings")
        assert "n-sch" in (cloud.dir / "services").read_text().strip().split(",")

    def test_settings_twice_add_nothing_twice(self, cloud):
        cloud.set_localrc(f'source "{PLUGIN}/settings"')
        cloud.run("settings")
        assert cloud.services() == ["nsch-scheduler", "nsch-cond-api", "nsch-cond-cell1", "nsch-agent"]


class TestInstall:
    def test_package_from_the_plugins_own_checkout(self, cloud):
        assert cloud.run("stack", "install") == [
            "echo_summary Installing nova_sched",
            f"setup_package {PLUGIN.parent} -e",
            f"sudo ln -sfn {cloud.dir}/venv/bin/nova-sched {cloud.dir}/usr-local-bin/nova-sched",
        ]
        assert (cloud.dir / "usr-local-bin/nova-sched").readlink() == cloud.dir / "venv/bin/nova-sched"

    def test_no_link_where_pip_installs_on_the_path(self, cloud):
        cloud.set_localrc(f"NOVA_SCHED_CLI_LINK={cloud.dir}/venv/bin/nova-sched")
        assert not [call for call in cloud.run("stack", "install") if call.startswith("sudo")]

    def test_pre_install_and_test_config_do_nothing(self, cloud):
        assert cloud.run("stack", "pre-install") == []
        assert cloud.run("stack", "test-config") == []


class TestConfiguration:
    @pytest.mark.parametrize(
        "localrc, cells",
        [
            ("", {"cell1": "nova_cell1"}),
            (TWO_CELLS, {"cell1": "nova_cell1", "cell2": "nova_cell2"}),
            (SINGLE, {"cell1": ""}),
            (SINGLE + TWO_CELLS, {"cell1": "", "cell2": ""}),
        ],
        ids=["superconductor-1", "superconductor-2", "singleconductor-1", "singleconductor-2"],
    )
    def test_content(self, cloud, localrc, cells):
        cloud.set_localrc(localrc)
        cloud.run("stack", "post-config")
        assert cloud.conf() == expected_conf(cells, cloud.dir / "data")

    def test_second_run_gives_the_same_bytes(self, cloud):
        cloud.set_localrc(TWO_CELLS)
        cloud.run("stack", "post-config")
        first = cloud.conf_path.read_bytes()
        with open(cloud.conf_path, "a") as conf:
            conf.write("[old]\nleft_over = 1\n")
        cloud.run("stack", "post-config")
        assert cloud.conf_path.read_bytes() == first

    def test_later_phases_leave_what_local_conf_merged(self, cloud):
        cloud.run("stack", "post-config")
        with open(cloud.conf_path, "a") as conf:
            conf.write("\n[from_local_conf]\noption = 1\n")
        merged = cloud.conf_path.read_bytes()
        cloud.run("stack", "extra")
        cloud.run("stack", "test-config")
        assert cloud.conf_path.read_bytes() == merged

    def test_password_is_not_for_everyone(self, cloud):
        cloud.run("stack", "post-config")
        assert stat.S_IMODE(os.stat(cloud.conf_path).st_mode) == 0o640

    def test_the_services_read_it(self, cloud):
        cloud.set_localrc(TWO_CELLS)
        cloud.run("stack", "post-config")
        conf = cfg.ConfigOpts()
        compute_agent.config.register(conf)
        service_config.register(conf)
        conf([], default_config_files=[str(cloud.conf_path)])
        assert config.cell0_log(conf) == f"{RABBIT}/?stream=nova_sched.cell0"
        assert config.cells_of(conf)[1] == config.Cell(
            "cell2", CELL_UUIDS["cell2"], f"{RABBIT}/nova_cell2?stream=nova_sched.cell2", f"{RABBIT}/nova_cell2"
        )
        assert conf.scheduler.rpc_topic == "nova_sched_scheduler"
        assert compute_agent.config.cell_of(conf).name == "cell1"
        assert list(compute_agent.config.drivers_of(conf)) == [conf.compute_agent.host]
        assert list(unread_options.unread(conf)) == []
        code, said = validate(cloud.conf_path)
        assert code == 0, said

    @pytest.mark.parametrize("localrc, kept", [("", False), ("NOVA_SCHED_RECREATE_LOGS=False\n", True)])
    def test_the_agents_state_goes_with_the_logs(self, cloud, localrc, kept):
        cloud.set_localrc(localrc)
        state = cloud.dir / "data/nova_sched"
        state.mkdir(parents=True)
        cloud.run("stack", "post-config")
        assert state.exists() == kept
        cloud.run("clean")
        assert not state.exists()

    def test_compute_node_has_no_api_database_to_ask(self, cloud):
        cloud.set_localrc(TWO_CELLS + "ENABLED_SERVICES=n-cpu\nNOVA_CPU_CELL=2\nNOVA_SCHED_AGENT_DRIVER=simulated\n")
        calls = cloud.run("stack", "post-config")
        assert not [call for call in calls if call.startswith("nova-manage")]
        expected = expected_conf({"cell1": "nova_cell1", "cell2": "nova_cell2"}, cloud.dir / "data")
        expected["compute_agent"] |= {"driver": "simulated", "cell": "cell2"}
        del expected["cell:cell1"]["uuid"], expected["cell:cell2"]["uuid"]
        del expected["filter_scheduler"], expected["neutron"]
        assert cloud.conf() == expected

    @pytest.mark.parametrize(
        "rows",
        [
            [("cell0", CELL_UUIDS["cell0"]), ("cell10", CELL_UUIDS["cell10"])],
            [("cell1", CELL_UUIDS["cell1"]), ("cell1", CELL_UUIDS["cell2"])],
        ],
        ids=["missing", "twice"],
    )
    def test_cell_that_nova_does_not_have_once(self, cloud, rows):
        cloud.set_cells(rows)
        done = cloud.attempt("stack", "post-config")
        assert done.returncode == 1
        assert "nova has no cell, or more than one, that is named cell1" in done.stderr

    def test_without_rabbit(self, cloud):
        cloud.set_localrc('disable_service rabbit\nRABBIT_HOST=""\n')
        done = cloud.attempt("stack", "post-config")
        assert done.returncode == 1
        assert "nova_sched needs RabbitMQ" in done.stderr


class TestStart:
    def test_command_lines(self, cloud):
        cloud.set_localrc(TWO_CELLS)
        cloud.run("stack", "post-config")
        conf = "--config-file /etc/nova_sched/nova_sched.conf"
        assert cloud.exec_starts() == {
            "nsch-scheduler": f"/venv/bin/nova-sched-scheduler {conf}",
            "nsch-cond-api": f"/venv/bin/nova-sched-conductor {conf} --level api",
            "nsch-cond-cell1": f"/venv/bin/nova-sched-conductor {conf} "
            "--config-file /etc/nova_sched/conductor-cell1.conf --level cell --cell cell1",
            "nsch-cond-cell2": f"/venv/bin/nova-sched-conductor {conf} "
            "--config-file /etc/nova_sched/conductor-cell2.conf --level cell --cell cell2",
            "nsch-agent": f"/venv/bin/nova-sched-agent {conf}",
        }
        assert cloud.running() == set(cloud.exec_starts())

    def test_only_what_is_enabled(self, cloud):
        cloud.set_localrc("ENABLED_SERVICES=n-cpu")
        calls = cloud.run("stack", "post-config")
        assert cloud.running() == {"nsch-agent"}
        assert not [call for call in calls if "rabbitmqctl" in call]

    def test_second_run_is_a_restart(self, cloud):
        cloud.stack()
        before = (cloud.exec_starts(), cloud.running(), cloud.broker())
        cloud.run("stack", "post-config")
        assert (cloud.exec_starts(), cloud.running(), cloud.broker()) == before

    @pytest.mark.parametrize("localrc, vhosts", [("", ["/", "nova_cell1"]), (SINGLE, ["/"])])
    def test_retention_is_a_policy(self, cloud, localrc, vhosts):
        cloud.set_localrc(localrc)
        cloud.run("stack", "post-config")
        for vhost, content in cloud.broker()["vhosts"].items():
            ours = {name: policy for name, policy in content["policies"].items() if name != "ha"}
            assert ours == (RETENTION if vhost in vhosts else {})

    def test_retention_follows_its_setting(self, cloud):
        cloud.run("stack", "post-config")
        cloud.set_localrc("NOVA_SCHED_LOG_MAX_AGE=12h")
        cloud.run("stack", "post-config")
        assert (
            cloud.broker()["vhosts"]["/"]["policies"]["nova_sched-log"][2]
            == '{"max-age":"12h","max-length-bytes":2000000000,"stream-max-segment-size-bytes":200000000}'
        )

    @pytest.mark.parametrize("localrc, kept", [("", False), ("NOVA_SCHED_RECREATE_LOGS=False", True)])
    def test_logs_of_the_cloud_before(self, cloud, localrc, kept):
        cloud.set_localrc(localrc)
        before = cloud.broker()["vhosts"]["nova_cell1"]["queues"]
        cloud.add_objects("nova_cell1", ["nova_sched.cell1", "nova_sched_conductor"], [])
        cloud.run("stack", "post-config")
        logs = ["nova_sched.cell1"] if kept else []
        assert cloud.broker()["vhosts"]["nova_cell1"]["queues"] == before + logs + ["nova_sched_conductor"]

    def test_vhost_that_nova_did_not_make(self, tmp_path):
        cloud = Cloud(tmp_path / "host", vhosts=("/", "nova_cell10"))
        done = cloud.attempt("stack", "post-config")
        assert done.returncode == 1
        assert "RabbitMQ has no vhost nova_cell1:" in done.stderr
        assert cloud.running() == set()


class TestUnstack:
    def test_stops_all(self, cloud):
        cloud.stack()
        calls = cloud.run("unstack")
        assert sorted(calls) == sorted(f"stop_process {name}" for name in cloud.services())
        assert cloud.running() == set()

    def test_needs_nothing_of_the_broker(self, cloud):
        cloud.stack()
        conf, state = cloud.conf(), cloud.broker() | {"running": False}
        cloud.set_broker(state)
        cloud.run("unstack")
        assert (cloud.conf(), cloud.broker()) == (conf, state)

    def test_twice(self, cloud):
        cloud.stack()
        cloud.run("unstack")
        assert cloud.run("unstack") == []

    def test_one_that_does_not_stop_is_not_the_end(self, cloud):
        cloud.stack()
        cloud.break_helper("stop_process")
        assert cloud.attempt("unstack").returncode == 1
        assert len([call for call in cloud.calls() if call.startswith("stop_process")]) == 4


class TestClean:
    def fill(self, cloud):
        for vhost in ("/", "nova_cell1"):
            cloud.add_objects(
                vhost,
                ["nova_sched.cell0", "nova_sched.cell1", "nova_sched_conductor", "nova_sched_scheduler.my-host"],
                ["nova_sched", "nova_sched.cell1", "nova_sched_scheduler_fanout"],
            )

    @pytest.mark.parametrize("running", [True, False], ids=["alone", "after-unstack-all"])
    def test_leaves_nothing(self, cloud, running):
        files_before = {path for path in cloud.dir.rglob("*") if not path.is_relative_to(cloud.dir / "systemd")}
        before = cloud.broker()
        cloud.stack()
        self.fill(cloud)
        if not running:
            cloud.run("unstack")
            cloud.set_broker(cloud.broker() | {"running": False})
        cloud.run("clean")
        assert cloud.running() == set()
        assert cloud.broker() == before | {"running": running}
        left = {path for path in cloud.dir.rglob("*") if not path.is_relative_to(cloud.dir / "systemd")}
        # clean.sh itself deletes the unit files.
        assert left - files_before == {cloud.dir / "services"}

    def test_twice(self, cloud):
        cloud.stack()
        cloud.run("clean")
        state = cloud.broker()
        cloud.run("clean")
        assert cloud.broker() == state

    def test_before_any_stack(self, cloud):
        state = cloud.broker()
        cloud.run("clean")
        assert cloud.broker() == state

    def test_without_a_broker_on_this_host(self, cloud):
        cloud.set_localrc("disable_service rabbit")
        assert not [call for call in cloud.run("clean") if "rabbitmqctl" in call or "service" in call]

    def test_broker_that_was_never_installed(self, cloud):
        (cloud.dir / "no-rabbitmq-server").touch()
        assert not [call for call in cloud.run("clean") if "rabbitmqctl" in call or "service" in call]

    def test_a_file_of_somebody_else_stays(self, cloud):
        cloud.stack()
        other = cloud.conf_path.parent / "mine.conf"
        other.write_text("[DEFAULT]\n")
        cloud.run("clean")
        assert list(cloud.conf_path.parent.iterdir()) == [other]

    @pytest.mark.long
    @pytest.mark.parametrize(
        "helper", ["stop_process", "pip_uninstall", "sudo rabbitmqctl", "start_service", "sudo rm", "sudo rmdir"]
    )
    def test_does_the_rest_when_a_step_fails(self, cloud, helper):
        cloud.stack()
        self.fill(cloud)
        cloud.set_broker(cloud.broker() | {"running": False})
        cloud.break_helper(helper)
        assert cloud.attempt("clean").returncode == 1
        ours = [queue for queue in cloud.broker()["vhosts"]["nova_cell1"]["queues"] if queue.startswith("nova_sched.")]
        assert bool(ours) == (helper in ("sudo rabbitmqctl", "start_service"))
        assert cloud.conf_path.exists() == (helper == "sudo rm")
        cloud.mend_helpers()
        cloud.run("clean")
        assert not cloud.conf_path.parent.exists()
        assert not [
            queue for queue in cloud.broker()["vhosts"]["nova_cell1"]["queues"] if queue.startswith("nova_sched.")
        ]


@pytest.mark.parametrize("phase", [*STACK, ("unstack",), ("clean",)], ids=" ".join)
class TestEveryPhase:
    @pytest.mark.parametrize(
        "localrc",
        [
            "disable_service nsch-scheduler nsch-cond-api nsch-cond-cell1 nsch-agent",
            "ENABLED_SERVICES=rabbit,mysql,key,g-api",
            "NOVA_SCHED_REPLACE_NSCH=True\nENABLED_SERVICES=key",
        ],
    )
    def test_disabled_plugin_calls_nothing(self, cloud, phase, localrc):
        cloud.set_localrc(localrc)
        before = {path: path.read_bytes() for path in cloud.dir.rglob("*") if path.is_file()}
        assert cloud.run(*phase) == []
        assert cloud.services() == []
        after = {path: path.read_bytes() for path in cloud.dir.rglob("*") if path.is_file()}
        del after[cloud.dir / "services"]
        assert after == before

    @pytest.mark.parametrize(
        "localrc",
        ["", "set +o pipefail", "exec 2> /dev/null; set -o xtrace"],
        ids=["pipefail", "no-pipefail", "xtrace"],
    )
    def test_alone_under_set_u(self, cloud, phase, localrc):
        cloud.set_localrc(localrc)
        done = cloud.attempt(*phase)
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.parametrize(
        "localrc, message",
        [
            ("NOVA_SCHED_REPLACE_NSCH=yes", "NOVA_SCHED_REPLACE_NSCH=True needs NOVA_SCHED_REPLACE_PLACEMENT=True"),
            ("NOVA_SCHED_LOG_MAX_AGE=forever", "NOVA_SCHED_LOG_MAX_AGE=forever is not a number"),
            ("""NOVA_SCHED_LOG_MAX_AGE='7D","x":"y'""", "is not a number and one of Y, M, D, h, m, s"),
            ("NOVA_NUM_CELLS=0", "NOVA_NUM_CELLS=0 gives none"),
            ("NOVA_CPU_CELL=3", "NOVA_CPU_CELL=3 is none of cell1"),
        ],
    )
    def test_settings_that_cannot_work(self, cloud, phase, localrc, message):
        cloud.set_localrc(localrc)
        done = cloud.attempt(*phase)
        if phase[0] == "stack":
            assert done.returncode == 1
            assert message in done.stderr
            assert cloud.calls() == []
        else:
            # One can always take it away again.
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "phase, helper",
    [
        ("install", "setup_package"),
        ("install", "get_python_exec_prefix"),
        ("install", "sudo ln"),
        ("post-config", "nova-manage"),
        ("post-config", "sudo install"),
        ("post-config", "iniset"),
        ("post-config", "iniset_rpc_backend"),
        ("post-config", "get_transport_url"),
        ("post-config", "setup_logging"),
        ("post-config", "stop_process"),
        ("post-config", "sudo rabbitmqctl"),
        ("post-config", "get_python_exec_prefix"),
        ("post-config", "run_process"),
    ],
)
def test_a_helper_that_fails_fails_the_phase(cloud, phase, helper):
    cloud.stack()
    cloud.break_helper(helper)
    assert cloud.attempt("stack", phase).returncode != 0


@pytest.mark.parametrize("command", ["list_vhosts", "list_queues", "delete_queue", "set_policy"])
def test_a_broker_command_that_fails_fails_the_start(cloud, command):
    cloud.add_objects("nova_cell1", ["nova_sched.cell1"], [])
    real = cloud.dir / "bin/rabbitmqctl"
    real.rename(cloud.dir / "bin/rabbitmqctl.real")
    real.write_text(f'#!/bin/bash\n[[ "$2" != "{command}" ]] && python3 "$0.real" "$@"\n')
    real.chmod(0o755)
    assert cloud.attempt("stack", "post-config").returncode != 0
    assert cloud.running() == set()


def test_xtrace_is_as_before(cloud):
    """Sourcing the plugin leaves the caller's xtrace on where it was on, and off where it was off."""
    for before in ("-o", "+o"):
        cloud.set_localrc(
            f"exec 2> /dev/null; set {before} xtrace\ntrap 'set +o | grep xtrace > \"{cloud.dir}/xtrace\"' EXIT"
        )
        cloud.run("stack", "pre-install")
        assert (cloud.dir / "xtrace").read_text() == f"set {before} xtrace\n"


def test_conf_is_in_etc_by_default(cloud):
    cloud.set_localrc(
        f"unset NOVA_SCHED_CONF_DIR NOVA_SCHED_CLI_LINK\n"
        f'trap \'echo "$NOVA_SCHED_CONF $NOVA_SCHED_CLI_LINK" > "{cloud.dir}/paths"\' EXIT'
    )
    cloud.run("settings")
    assert (cloud.dir / "paths").read_text() == "/etc/nova_sched/nova_sched.conf /usr/local/bin/nova-sched\n"
