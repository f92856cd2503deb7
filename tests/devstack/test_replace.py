"""The devstack plugin in the place of n-sch and placement-api, phase by phase, against stubs of devstack."""

import pytest

from tests.devstack.cloud import CELL_UUIDS, PLUGIN, STACK, Cloud, nova_objects
from tests.test_sample import validate

PLACEMENT = "NOVA_SCHED_REPLACE_PLACEMENT=True\n"
BOTH = PLACEMENT + "NOVA_SCHED_REPLACE_NSCH=True\n"
TWO_CELLS = "NOVA_NUM_CELLS=2\n"
SINGLE = "CELLSV2_SETUP=singleconductor\n"
COMPUTE = "ENABLED_SERVICES=n-cpu,placement-client\n"
RABBIT = "rabbit://stackrabbit:secretrabbit@192.0.2.10:5672"
TAP = "rabbit://nova_sched_tap:secretrabbit@192.0.2.10:5672"
RIGHTS = [r"^nova_sched\.tap\.", r"^nova_sched\.tap\.", r"^(nova$|nova_sched\.tap\.)"]


def host(directory, localrc):
    return Cloud(directory / "host", localrc, vhosts=("/", "nova_cell1", "nova_cell2"))


def services(cloud):
    return set((cloud.dir / "services").read_text().strip().split(","))


class TestServices:
    @pytest.mark.parametrize(
        "localrc, ours, stock",
        [
            (PLACEMENT, {"scheduler", "cond-cell1", "placement"}, {"n-sch"}),
            (BOTH, {"scheduler", "cond-cell1", "placement"}, set()),
            (BOTH + SINGLE, {"scheduler", "cond-cell1", "placement"}, set()),
            (BOTH + "NOVA_SCHED_DISCOVER_INTERVAL=60", {"scheduler", "cond-cell1", "placement", "discover"}, set()),
            (
                BOTH + TWO_CELLS,
                {"scheduler", "cond-cell1", "cond-cell2", "placement", "placement-cell1", "placement-cell2"},
                set(),
            ),
            (BOTH + COMPUTE, set(), set()),
            # What .stackenv has after stack.sh.
            (
                BOTH + "ENABLED_SERVICES=n-api,n-cond,nsch-placement,nsch-agent",
                {"scheduler", "cond-cell1", "placement"},
                set(),
            ),
        ],
    )
    def test_who_runs(self, tmp_path, localrc, ours, stock):
        cloud = host(tmp_path, localrc)
        cloud.run("settings")
        assert set(cloud.services()) == {f"nsch-{name}" for name in ours}
        assert services(cloud) & {"n-sch", "placement-api"} == stock
        assert "placement-client" in services(cloud)

    @pytest.mark.parametrize(
        "localrc, message",
        [
            ("NOVA_SCHED_REPLACE_NSCH=True", "NOVA_SCHED_REPLACE_NSCH=True needs NOVA_SCHED_REPLACE_PLACEMENT=True"),
            (BOTH + SINGLE + TWO_CELLS, "with CELLSV2_SETUP=singleconductor needs NOVA_NUM_CELLS=1"),
            (BOTH + "disable_service n-api", "needs n-api where n-cond runs"),
            (BOTH + COMPUTE + "NOVA_CPU_CELL=2", "NOVA_CPU_CELL=2 is none of cell1"),
            ("NOVA_SCHED_LOG_MAX_BYTES=5G", "NOVA_SCHED_LOG_MAX_BYTES=5G is not a number"),
            ("NOVA_SCHED_CHECKPOINT_INTERVAL=1", "NOVA_SCHED_CHECKPOINT_INTERVAL=1 is not a number of at least 10"),
            ("NOVA_SCHED_LOG_MAX_AGE=39m", "is less than four times NOVA_SCHED_CHECKPOINT_INTERVAL=600"),
            ("NOVA_SCHED_DISCOVER_INTERVAL=often", "NOVA_SCHED_DISCOVER_INTERVAL=often is not a number"),
            (
                PLACEMENT + "NOVA_SCHED_DISCOVER_INTERVAL=60",
                "=60 needs NOVA_SCHED_REPLACE_NSCH=True: n-sch searches by",
            ),
        ],
    )
    def test_settings_that_do_not_go_together(self, tmp_path, localrc, message):
        cloud = host(tmp_path, localrc)
        done = cloud.attempt("stack", "pre-install")
        assert done.returncode == 1 and message in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert cloud.calls() == []


class TestInstall:
    def test_a_compute_node_with_one_cell_needs_nothing(self, tmp_path):
        cloud = host(tmp_path, BOTH + COMPUTE)
        for phase in STACK:
            assert cloud.run(*phase) == []

    @pytest.mark.parametrize("cell", [1, 2])
    def test_a_compute_node_uses_the_endpoint_of_its_cell(self, tmp_path, cell):
        cloud = host(tmp_path, BOTH + TWO_CELLS + COMPUTE + f"NOVA_CPU_CELL={cell}")
        cloud.stack()
        conf = {"placement": {"endpoint_override": f"http://192.0.2.10/placement-cell{cell}"}}
        assert cloud.conf("nova/nova-compute.conf.d/nova_sched.conf") == conf
        assert not cloud.conf_path.exists()
        cloud.run("unstack")
        assert not (cloud.dir / "etc/nova/nova-compute.conf.d/nova_sched.conf").exists()

    def test_conductors_use_the_endpoint_of_their_cell(self, tmp_path):
        cloud = host(tmp_path, BOTH + TWO_CELLS)
        cloud.run("stack", "install")
        for cell in ("cell1", "cell2"):
            conf = cloud.conf(f"nova/nova_{cell}.conf")
            assert conf == {"placement": {"endpoint_override": f"http://192.0.2.10/placement-{cell}"}}
        # nova-api and the super conductor use that of the region, in the catalog.
        assert "endpoint_override" not in cloud.conf("nova/nova.conf")["placement"]

    def test_one_cell_has_the_endpoint_of_the_catalog(self, tmp_path):
        cloud = host(tmp_path, BOTH)
        calls = cloud.run("stack", "install")
        assert "configure_placement_nova_compute" in calls and "pip_install_gr osc-placement" in calls
        assert not [call for call in calls if "endpoint_override" in call]

    def test_a_file_from_other_settings_goes(self, tmp_path):
        cloud = host(tmp_path, BOTH + TWO_CELLS)
        cloud.run("stack", "install")
        cloud.set_localrc(BOTH)
        cloud.run("stack", "install")
        assert not (cloud.dir / "etc/nova/nova-compute.conf.d/nova_sched.conf").exists()


class TestConfiguration:
    @pytest.mark.parametrize("localrc, topic", [(BOTH, None), (PLACEMENT, "nova_sched_scheduler")])
    def test_what_differs_from_beside(self, tmp_path, localrc, topic):
        cloud = host(tmp_path, localrc)
        cloud.run("stack", "post-config")
        conf = cloud.conf()
        assert conf["DEFAULT"]["control_exchange"] == "nova"
        assert conf["scheduler"] == {"placement_endpoint": "nova_sched"} | ({"rpc_topic": topic} if topic else {})
        assert conf["conductor"] == {"service_down_time": "720"}
        assert conf["placement_api"] == {
            "auth_strategy": "keystone",
            "state_dir": f"{cloud.dir}/data/nova_sched/placement",
            "other_machines": "False",
        }
        assert conf["keystone_authtoken"]["username"] == "placement"
        assert conf["oslo_policy"] == {"enforce_new_defaults": "True"}
        assert "compute_agent" not in conf
        assert conf["cell:cell1"]["uuid"] == CELL_UUIDS["cell1"]

    @pytest.mark.parametrize(
        "localrc, vhosts", [(BOTH + TWO_CELLS, ("nova_cell1", "nova_cell2")), (BOTH + SINGLE, ("",))]
    )
    def test_taps(self, tmp_path, localrc, vhosts):
        cloud = host(tmp_path, localrc)
        cloud.run("stack", "post-config")
        for number, vhost in enumerate(vhosts, 1):
            conf = cloud.conf(f"nova_sched/conductor-cell{number}.conf")
            assert conf == {"tap": {"enabled": "True", "url": f"{TAP}/{vhost}"}}
        permissions = {vhost or "/": RIGHTS for vhost in vhosts}
        assert cloud.broker()["users"]["nova_sched_tap"] == {"password": "secretrabbit", "permissions": permissions}

    def test_the_account_of_taps_keeps_up_with_its_password(self, tmp_path):
        cloud = host(tmp_path, BOTH)
        cloud.run("stack", "post-config")
        cloud.set_localrc(BOTH + "NOVA_SCHED_TAP_PASSWORD=other\n")
        cloud.run("stack", "post-config")
        assert cloud.broker()["users"]["nova_sched_tap"]["password"] == "other"
        assert cloud.conf("nova_sched/conductor-cell1.conf")["tap"]["url"].startswith("rabbit://nova_sched_tap:other@")

    def test_policies_of_placement_count(self, tmp_path):
        cloud = host(tmp_path, BOTH + "PLACEMENT_ENFORCE_NEW_DEFAULTS=False\n")
        (cloud.dir / "etc/placement").mkdir()
        (cloud.dir / "etc/placement/policy.yaml").touch()
        cloud.run("stack", "post-config")
        expected = {"enforce_new_defaults": "False", "policy_file": f"{cloud.dir}/etc/placement/policy.yaml"}
        assert cloud.conf()["oslo_policy"] == expected

    def test_local_conf_is_merged_before_the_services_start(self, tmp_path):
        cloud = host(tmp_path, BOTH)
        (cloud.dir / "local.conf").write_text(
            "[[post-config|$NOVA_SCHED_CONF]]\nfilter_scheduler host_subset_size = 3\n"
            "[[post-config|$PLACEMENT_CONF]]\nplacement max_allocation_candidates = 7\n"
            "[[post-config|$NOVA_CONF]]\nDEFAULT debug = False\n"
            "[[test-config|$NOVA_SCHED_CONF]]\nDEFAULT late = True\n"
        )
        calls = cloud.run("stack", "post-config")
        assert cloud.conf()["filter_scheduler"]["host_subset_size"] == "3"
        assert cloud.conf("placement/placement.conf") == {"placement": {"max_allocation_candidates": "7"}}
        merged = [number for number, call in enumerate(calls) if call.startswith("merge_config_file")]
        started = [number for number, call in enumerate(calls) if call.startswith("run_process")]
        assert len(merged) == 2 and max(merged) < min(started)
        assert "late" not in cloud.conf()["DEFAULT"]

    def test_the_services_know_every_option(self, tmp_path):
        cloud = host(tmp_path, BOTH + TWO_CELLS + "enable_service tls-proxy\n")
        cloud.run("stack", "post-config")
        for name in ("nova_sched", "conductor-cell2", "placement-cell2"):
            code, said = validate(cloud.conf_path.parent / f"{name}.conf")
            assert code == 0, said


class TestStart:
    def test_units(self, tmp_path):
        cloud = host(tmp_path, BOTH + TWO_CELLS + "NOVA_SCHED_DISCOVER_INTERVAL=60\n")
        cloud.run("stack", "post-config")
        etc = "/etc/nova_sched"
        conf = f"--config-file {etc}/nova_sched.conf"
        files = f"OS_NOVA_SCHED_CONFIG_FILES={etc}/nova_sched.conf:/etc/placement/placement.conf"
        units = cloud.units()
        script = f"{PLUGIN}/discover_hosts.sh"
        assert {name: unit["ExecStart"] for name, unit in units.items()} == {
            "nsch-scheduler": f"/venv/bin/nova-sched-scheduler {conf}",
            **{
                f"nsch-cond-{cell}": f"/venv/bin/nova-sched-conductor {conf} "
                f"--config-file {etc}/conductor-{cell}.conf --level cell --cell {cell}"
                for cell in ("cell1", "cell2")
            },
            **{
                f"nsch-{name}": f"/bin/uwsgi --procname-prefix nsch-{name} --ini {etc}/{name}-uwsgi.ini"
                for name in ("placement", "placement-cell1", "placement-cell2")
            },
            "nsch-discover": f"/bin/bash {script} /bin/nova-manage /etc/nova/nova.conf 60",
        }
        assert units["nsch-placement"]["Environment"] == files
        assert units["nsch-placement-cell2"]["Environment"] == f"{files}:{etc}/placement-cell2.conf"
        assert "Environment" not in units["nsch-scheduler"]
        assert cloud.conf("nova_sched/placement-cell2.conf") == {"placement_api": {"cells": "cell2"}}
        assert cloud.conf("nova_sched/placement-uwsgi.ini")["uwsgi"] == {
            "module": "placement_api.wsgi:application",
            "threads": "4",
        }

    def test_order(self, tmp_path):
        """Logs before services, the account before the endpoint answers, and both before nova starts."""
        cloud = host(tmp_path, BOTH)
        calls = cloud.run("stack", "post-config")
        starts = [
            "sudo rabbitmqctl -s set_policy",
            f"nova-sched create-log cell0 {RABBIT}/?stream=nova_sched.cell0",
            f"nova-sched create-log cell1 {RABBIT}/nova_cell1?stream=nova_sched.cell1",
            "cleanup_placement",
            "create_placement_accounts",
            "run_process nsch-cond-cell1",
            "run_process nsch-scheduler",
            "run_process nsch-placement",
            "wait_for_service 60 http://192.0.2.10/placement",
            "sudo rabbitmqctl -s list_consumers",
        ]
        found = [next(n for n, call in enumerate(calls) if call.startswith(start)) for start in starts]
        assert found == sorted(found)

    def test_a_site_answers_alone(self, tmp_path):
        cloud = host(tmp_path, BOTH)
        for _ in range(2):
            cloud.run("stack", "post-config")
            sites = {path.name: path.read_text() for path in (cloud.dir / "sites").iterdir()}
            assert sites == {"nsch-placement.conf": "ProxyPass /placement nsch-placement \n"}

    def test_a_conductor_that_does_not_read_fails_the_phase(self, tmp_path):
        cloud = host(tmp_path, BOTH)
        cloud.break_helper("test_with_retry")
        assert cloud.attempt("stack", "post-config").returncode != 0

    @pytest.mark.parametrize(
        "before, after, leftovers",
        [
            ("", BOTH, {"nsch-agent", "nsch-cond-api", "n-sch", "placement-api"}),
            (
                BOTH + TWO_CELLS,
                "",
                {"nsch-placement", "nsch-placement-cell1", "nsch-placement-cell2", "nsch-cond-cell2"},
            ),
            (BOTH, PLACEMENT, set()),
        ],
    )
    def test_services_of_other_settings_stop(self, tmp_path, before, after, leftovers):
        cloud = host(tmp_path, before)
        cloud.stack()
        for name in leftovers & {"n-sch", "placement-api"}:
            (cloud.dir / "running" / name).touch()
        cloud.set_localrc(after)
        calls = cloud.run("stack", "post-config")
        stopped = {
            call.split("@")[1].removesuffix(".service") for call in calls if call.startswith("systemctl disable")
        }
        assert stopped == leftovers
        assert not cloud.running() & leftovers
        if not after:
            assert not list((cloud.dir / "sites").glob("nsch-*"))


class TestEnd:
    def test_unstack_leaves_nothing_at_the_web_server(self, tmp_path):
        cloud = host(tmp_path, BOTH + TWO_CELLS)
        cloud.stack()
        assert len(list((cloud.dir / "sites").glob("nsch-*"))) == 3
        cloud.run("unstack")
        assert cloud.running() == set()
        assert not list((cloud.dir / "sites").glob("nsch-*"))
        assert cloud.conf_path.exists()

    def test_a_stack_that_failed_leaves_nothing_at_the_web_server(self, tmp_path):
        """Its endpoints have sites, and no units yet."""
        cloud = host(tmp_path, BOTH + TWO_CELLS)
        cloud.break_helper("run_process")
        assert cloud.attempt("stack", "post-config").returncode != 0
        assert len(list((cloud.dir / "sites").glob("nsch-*"))) == 3
        (cloud.dir / "fail").unlink()
        cloud.run("unstack")
        assert not list((cloud.dir / "sites").glob("nsch-*"))

    @pytest.mark.parametrize("localrc", [BOTH + TWO_CELLS, BOTH + SINGLE, PLACEMENT])
    def test_clean_leaves_nothing(self, tmp_path, localrc):
        cloud = host(tmp_path, localrc)
        before = cloud.broker()
        cloud.stack()
        vhost = "/" if "single" in localrc else "nova_cell1"
        cloud.add_objects(vhost, ["nova_sched.tap.cell1", "nova_sched.cell1"], ["nova_sched.tap.cell1.dropped"])
        cloud.run("unstack")
        cloud.run("clean")
        assert cloud.broker() == before | {"users": {}}
        assert cloud.broker()["vhosts"]["/"] == nova_objects()
        assert not cloud.conf_path.parent.exists()
        cloud.run("clean")
