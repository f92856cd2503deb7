"""stack.sh, unstack.sh and clean.sh of a real devstack with this plugin; what would change the host is recorded."""

import os
import shutil
import subprocess

import pytest

from tests.devstack.real import CONTROLLER, VARIABLE, RealCloud

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} does not name a checkout of devstack"),
]

BOTH = "NOVA_SCHED_REPLACE_NSCH=True\nNOVA_SCHED_REPLACE_PLACEMENT=True\n"
COMPUTE = "n-cpu,placement-client"
OF_ANOTHER = "SERVICE_HOST=192.0.2.9\nRABBIT_HOST=192.0.2.9\nMYSQL_HOST=192.0.2.9\nDATABASE_TYPE=mysql\n"
NOVA = {"g-api", "keystone", "n-api", "n-api-meta", "n-cpu-1", "n-super-cond", "n-cond-cell1"}
OURS = {"nsch-cond-cell1", "nsch-scheduler", "nsch-placement"}
PATHS = {
    "one host": BOTH,
    "two cells": BOTH + "NOVA_NUM_CELLS=2\n",
    "one conductor": BOTH + "CELLSV2_SETUP=singleconductor\n",
}


def verify_units(cloud):
    """systemd's own check of our units, with commands that are there."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return
    for unit in sorted((cloud.dir / "etc/systemd/system").glob("devstack@nsch-*")):
        lines = unit.read_text().splitlines()
        copy = cloud.dir / "tmp" / unit.name
        copy.write_text("\n".join("ExecStart = /bin/true" if line.startswith("ExecStart") else line for line in lines))
        done = subprocess.run([program, "verify", str(copy)], capture_output=True, text=True, check=False)
        assert unit.name not in done.stderr, done.stderr


def run(cloud, script):
    code = cloud.run(script)
    out = (cloud.dir / f"{script}.out").read_text(errors="replace")
    assert code == 0, out[-3000:]
    assert not (cloud.dir / "unknown").exists(), (cloud.dir / "unknown").read_text()


@pytest.mark.parametrize("layout", PATHS)
def test_in_place_from_stack_to_clean(tmp_path, layout):
    cloud = RealCloud(tmp_path / "host", PATHS[layout])
    cells = ["cell1", "cell2"] if layout == "two cells" else ["cell1"]
    nova = (
        {*NOVA, *(f"n-cond-{cell}" for cell in cells)}
        if layout != "one conductor"
        else NOVA - {"n-super-cond", "n-cond-cell1"} | {"n-cond"}
    )
    ours = OURS | {f"nsch-cond-{cell}" for cell in cells}
    if layout == "two cells":
        ours |= {f"nsch-placement-{cell}" for cell in cells}

    for _ in range(2):
        run(cloud, "stack")
        assert cloud.running() == nova | ours
        verify_units(cloud)
        # Nova's services start after the endpoints and the taps are there.
        starts = [line.split("devstack@")[1].split(".")[0] for line in cloud.calls("systemctl start devstack@")]
        assert max(starts.index(name) for name in ours) < min(starts.index(name) for name in nova - {"keystone"})
        assert [line.split()[2] for line in cloud.calls("nova-sched create-log")] == ["cell0", *cells]
        (site,) = (cloud.dir / "etc/apache2/sites-available").glob("nsch-placement.conf")
        assert site.read_text().count("ProxyPass") == 1
        assert not (cloud.dir / "etc/apache2/sites-available/placement-api.conf").exists()
        assert cloud.conf("nova/nova.conf")["placement"]["username"] == "nova"
        assert "endpoint_override" not in cloud.conf("nova/nova.conf")["placement"]
        if layout == "two cells":
            for cell in cells:
                override = {"endpoint_override": f"http://192.0.2.10/placement-{cell}"}
                assert override.items() <= cloud.conf(f"nova/nova_{cell}.conf")["placement"].items()
            assert cloud.conf("nova/nova-compute.conf.d/nova_sched.conf")["placement"] == {
                "endpoint_override": "http://192.0.2.10/placement-cell1"
            }
        users = cloud.broker()["users"]["nova_sched_tap"]
        assert set(users["permissions"]) == ({"/"} if layout == "one conductor" else {f"nova_{cell}" for cell in cells})
        assert any("endpoint create" in line and "/placement" in line for line in cloud.calls("openstack")) or any(
            "endpoint list" in line and "placement" in line for line in cloud.calls("openstack")
        )
        run(cloud, "unstack")
        assert cloud.running() == set()
        assert not list((cloud.dir / "etc/apache2/sites-available").glob("nsch-*"))

    run(cloud, "clean")
    assert not list((cloud.dir / "etc").glob("nova_sched*"))
    assert "nova_sched_tap" not in cloud.broker()["users"]
    assert not any(vhost["policies"] for vhost in cloud.broker()["vhosts"].values())


def test_beside(tmp_path):
    cloud = RealCloud(tmp_path / "host")
    run(cloud, "stack")
    ours = {"nsch-cond-api", "nsch-cond-cell1", "nsch-scheduler", "nsch-agent"}
    assert cloud.running() == NOVA | {"n-sch", "placement-api"} | ours
    verify_units(cloud)
    run(cloud, "unstack")
    assert cloud.running() == set()


def test_controller_without_computes(tmp_path):
    cloud = RealCloud(
        tmp_path / "host", BOTH + "NOVA_SCHED_DISCOVER_INTERVAL=60\n", services=CONTROLLER.replace("n-cpu,", "")
    )
    run(cloud, "stack")
    assert cloud.running() == NOVA - {"n-cpu-1"} | OURS | {"nsch-discover"}
    # stack.sh itself does it only where n-sch or n-cpu runs.
    assert cloud.conf("nova/nova.conf")["placement"]["username"] == "nova"
    verify_units(cloud)


@pytest.mark.parametrize("cell", [None, 2])
def test_compute_node(tmp_path, cell):
    more = f"NOVA_NUM_CELLS=2\nNOVA_CPU_CELL={cell}\n" if cell else ""
    cloud = RealCloud(tmp_path / "host", BOTH + OF_ANOTHER + more, services=COMPUTE)
    run(cloud, "stack")
    assert cloud.running() == {"n-cpu-1"}
    assert not (cloud.dir / "etc/nova_sched").exists()
    assert cloud.calls("nova-sched", "rabbitmqctl") == []
    path = cloud.dir / "etc/nova/nova-compute.conf.d/nova_sched.conf"
    assert path.exists() == bool(cell)
    if cell:
        override = {"endpoint_override": "http://192.0.2.9/placement-cell2"}
        assert cloud.conf("nova/nova-compute.conf.d/nova_sched.conf")["placement"] == override
    run(cloud, "unstack")
    assert cloud.running() == set() and not path.exists()


def test_settings_that_cannot_work_end_stack_before_it_installs(tmp_path):
    cloud = RealCloud(tmp_path / "host", "NOVA_SCHED_REPLACE_NSCH=True\n")
    assert cloud.run("stack") == 1
    out = (cloud.dir / "stack.out").read_text(errors="replace")
    assert "NOVA_SCHED_REPLACE_NSCH=True needs NOVA_SCHED_REPLACE_PLACEMENT=True" in out
    assert not cloud.calls("apt-get --option Dpkg::Options::=--force-confold --assume-yes install rabbitmq-server")
