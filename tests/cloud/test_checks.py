"""The checks of the test cloud fail when something does not end as it should: tried on a cloud of this process, which
does what each test wants. The test cloud itself is too large for a usual run (see test_short.py)."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.devstack.cloud import program

HERE = Path(__file__).parent
NAMES = ("openstack", "asked", "moves", "some_servers", "compare", "compare_chaos", "chaos")


class FakeCloud:
    """Compute, Placement, images and networks: servers end in ``ends``, on the hosts in turn, and leave ``leaks``."""

    def __init__(self):
        self.compute = self.placement = self.image = self.network = self
        self.servers_by_id, self.held, self.ends, self.leaks = {}, {}, "ACTIVE", {}
        self.moves = True

    def connect(self, **_):
        return self

    def find_image(self, name):
        return SimpleNamespace(id=name)

    find_network = find_flavor = find_image

    def resource_providers(self):
        return [SimpleNamespace(id=name, name=name) for name in ("a", "b")]

    def create_server(self, name, **_):
        number = len(self.servers_by_id)
        host = "ab"[number % 2] if self.ends == "ACTIVE" else None
        server = SimpleNamespace(id=str(number), name=name, status=self.ends, task_state=None, compute_host=host)
        self.servers_by_id[server.id] = server
        self.held[server.id] = {host: {"VCPU": 1}} if host else {}
        return server

    def servers(self, **_):
        return list(self.servers_by_id.values())

    def get_server(self, uuid):
        return SimpleNamespace(**vars(self.servers_by_id[uuid]))

    def find_server(self, uuid, **_):
        return self.servers_by_id.get(uuid)

    def delete_server(self, uuid, **_):
        del self.servers_by_id[uuid]
        self.held[uuid] = self.leaks

    def migrate_server(self, uuid):
        server = self.servers_by_id[uuid]
        server.status = "VERIFY_RESIZE" if self.moves else "ERROR"
        if self.moves:
            server.compute_host = "ab".replace(server.compute_host, "")

    def confirm_server_resize(self, uuid):
        self.servers_by_id[uuid].status = "ACTIVE"

    def get(self, path):
        held = {name: {"resources": amounts} for name, amounts in self.held[path.rpartition("/")[2]].items()}
        return SimpleNamespace(json=lambda: {"allocations": held})


@pytest.fixture
def cloud(monkeypatch):
    """A FakeCloud with ``load(NAME)``, which imports one of the scripts on it."""
    made = FakeCloud()
    fake = ModuleType("openstack")
    fake.connect = made.connect
    for name in NAMES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "openstack", fake)
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("CLOUD_DIR", "/nonexistent")
    made.load = importlib.import_module
    made.asked = made.load("asked")
    monkeypatch.setattr(made.asked, "FORGOTTEN", 0)
    yield made
    for name in NAMES:
        sys.modules.pop(name, None)


def test_what_ends_as_it_should_ends_with_0(cloud, tmp_path):
    asked = cloud.asked
    assert asked.gone(asked.boot("create"))[1] == [{}]
    asked.finish(tmp_path / "rows.json")
    assert [row["what"] for row in json.loads((tmp_path / "rows.json").read_text())] == ["create"]


def test_a_server_that_ends_otherwise_is_an_error(cloud, tmp_path):
    cloud.ends = "ERROR"
    cloud.asked.boot("create")
    cloud.asked.boot("create, no host has 128 vCPUs", "ERROR")
    with pytest.raises(SystemExit, match=r"1 of the checks .*create: \['ERROR'\], wanted"):
        cloud.asked.finish(tmp_path / "rows.json")
    assert len(json.loads((tmp_path / "rows.json").read_text())) == 2


@pytest.mark.parametrize(
    "ends, wanted, is_good",
    [
        (["ACTIVE"] * 3, ("ACTIVE",), True),
        (["ACTIVE", "ERROR"], ("ACTIVE",), False),
        (["ERROR", "ACTIVE"], ["ACTIVE", "ERROR"], True),
        (["ACTIVE", "ACTIVE"], ["ACTIVE", "ERROR"], False),
        ([], ("ACTIVE",), False),
    ],
)
def test_the_states_of_several_servers(cloud, ends, wanted, is_good):
    servers = []
    for cloud.ends in ends:
        servers.append(cloud.asked.create("many"))
    cloud.asked.row("many", servers, 0, wanted)
    assert (not cloud.asked.wrong) == is_good


def test_what_is_left_in_placement_is_an_error(cloud):
    cloud.leaks = {"a": {"VCPU": 1}}
    cloud.asked.gone(cloud.asked.boot("create"))
    with pytest.raises(SystemExit, match="the deleted server 0 holds"):
        cloud.asked.finish()


def test_servers_that_live_through_a_migration(cloud):
    some = cloud.load("some_servers")
    for _ in range(2):
        cloud.asked.create("lasting")
    some.check(2)
    assert not cloud.asked.wrong
    some.check(3)
    assert cloud.asked.wrong == ["there are 2 servers, wanted 3"]
    cloud.moves = False
    some.check(2)
    assert cloud.asked.wrong[1:] == ["the migration ended ERROR"]


@pytest.mark.parametrize(
    "ours, code",
    [
        ([{"what": "a", "states": ["ACTIVE"]}], 0),
        ([{"what": "a", "states": ["ERROR"]}], 1),
        ([], 1),
        ([{"what": "a", "states": ["ACTIVE"]}, {"what": "b"}], 1),
    ],
)
def test_rows_beside_those_of_stock_services(cloud, tmp_path, ours, code):
    for name, rows in (("stock", [{"what": "a", "states": ["ACTIVE"], "seconds": 1}]), ("ours", ours)):
        (tmp_path / name).write_text(json.dumps(rows))
    assert cloud.load("compare").main(tmp_path / "stock", tmp_path / "ours") == code


@pytest.mark.parametrize(
    "ours, code",
    [
        pytest.param([{"create ACTIVE": 30}], 0, id="none in ERROR"),
        pytest.param([{"create ACTIVE": 39, "create ERROR": 1}], 0, id="a smaller share"),
        pytest.param([{"create ACTIVE": 9}, {"create ERROR": 1}], 0, id="the same share, in another round"),
        pytest.param([{"create ACTIVE": 8, "create ERROR": 1}], 1, id="a greater share"),
        pytest.param([{"create ACTIVE": 30, "resize ERROR": 1}], 1, id="a request that stock had no fault with"),
    ],
)
def test_servers_in_error_under_chaos(cloud, tmp_path, ours, code):
    stock = [{"create ACTIVE": 9, "create ERROR": 1, "resize ACTIVE": 4}]
    for name, found in (("stock", stock), ("ours", ours)):
        (tmp_path / name).write_text(json.dumps([{"what": "a round", "states": states} for states in found]))
    assert cloud.load("compare_chaos").main(tmp_path / "stock", tmp_path / "ours") == code


def test_whether_a_process_of_the_cloud_runs(cloud, tmp_path, monkeypatch):
    """A process that has ended, and that nobody waited for, has a pid and does not run."""
    chaos = cloud.load("chaos")
    monkeypatch.setattr(chaos, "RUN", str(tmp_path))
    ended = subprocess.Popen(["true"], stdout=subprocess.PIPE)
    ended.stdout.read()
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    pids = {"this": os.getpid(), "ended": ended.pid}
    for name, pid in pids.items():
        (tmp_path / f"{name}.pid").write_text(f"{pid}\n")
    assert [chaos.is_running(name) for name in ("this", "ended", "nothing")] == [True, False, False]
    (tmp_path / "run").mkdir()
    for name in pids:
        (tmp_path / f"{name}.pid").rename(tmp_path / "run" / f"{name}.pid")
    assert [shell(tmp_path, f"alive {name}") for name in ("this", "ended", "nothing")] == [0, 1, 1]
    ended.wait()


def shell(directory, command):
    """The exit code of a command with the functions of env.sh."""
    script = f'. "{HERE}/env.sh"; {command}'
    environment = {**os.environ, "CLOUD_DIR": str(directory), "CLOUD_VENV": str(directory / "venv")}
    return subprocess.run(["bash", "-c", script], env=environment, check=False).returncode


def test_a_cloud_that_is_wiped_leaves_nothing_of_its_hosts(tmp_path):
    """Also of those that were added later."""
    for name in ("host1", "host3", "cell1", "mysql", "run", "report", "venv"):
        (tmp_path / name).mkdir()
    (tmp_path / "run" / "compute-host3.command").write_text("true ")
    environment = {**os.environ, "CLOUD_DIR": str(tmp_path), "CLOUD_HOSTS": "cell1/host1"}
    subprocess.run([HERE / "down.sh", "--wipe"], env=environment, check=True, capture_output=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "venv"]


@pytest.mark.parametrize("script", sorted(HERE.glob("*.sh")), ids=lambda path: path.name)
def test_the_shell_reads_each_script(script):
    subprocess.run(["bash", "-n", script], check=True)


def test_shellcheck_finds_nothing():
    # (Variables that other scripts read, and lists of options that are meant to be split.)
    command = [program("shellcheck"), "-x", "-s", "bash", "-S", "warning", "-e", "SC2034,SC2046"]
    found = subprocess.run([*command, *HERE.glob("*.sh")], capture_output=True, text=True, check=False, cwd=HERE)
    assert found.returncode == 0, found.stdout
