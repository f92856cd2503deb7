"""The drivers, and how one is found."""

import json
import os
import shutil
import sys
import uuid

import pytest
from oslo_config import cfg

from compute_agent import config, drivers
from compute_agent.drivers.base import BuildRefused
from compute_agent.drivers.local import LocalDriver
from nova_sched.projection.projection import Projection
from rpc_api import codec, errors, events, levels
from rpc_api.packing import pack


def conf_of(**options):
    conf = cfg.ConfigOpts()
    config.register(conf)
    conf([], default_config_files=[])
    for name, value in options.items():
        conf.set_override(name, value, "compute_agent")
    return conf


def consumer():
    return events.Consumer(str(uuid.uuid4()), "p", (events.Allocation(str(uuid.uuid4()), "VCPU", 1),), None)


class TestLocal:
    def test_the_inventory_is_this_machine_and_folds(self, tmp_path):
        inventory = LocalDriver("me", tmp_path, reserved_memory_mb=100).inventory()
        amounts = {one.resource_class: (one.total, one.reserved) for one in inventory.providers[0].inventories}
        assert amounts["VCPU"] == (len(os.sched_getaffinity(0)), 0)
        assert amounts["MEMORY_MB"][1] == 100 < amounts["MEMORY_MB"][0]
        projection = Projection("cell1")
        event = codec.make_event(
            events.HostReported(
                "me",
                "a",
                levels.pack_oldest(inventory),
                LocalDriver("me", tmp_path).status(),
                pack(events.HostConsumers(())),
                0,
            ),
            "compute_agent/me",
            1,
            1,
            1,
        )
        record = codec.encode_record("eeeeeeee-0000-4000-8000-000000000000", [event])
        projection.fold([(0, codec.decode_record(record))])
        assert set(projection.hosts) == {"me"}, projection.quarantine

    def test_what_runs_is_still_there_after_a_restart(self, tmp_path):
        driver, one, two = LocalDriver("me", tmp_path), consumer(), consumer()
        driver.spawn(one)
        driver.spawn(two)
        driver.destroy(one.instance_uuid)
        assert LocalDriver("me", tmp_path).running() == (two,)
        assert [entry["instance_uuid"] for entry in json.loads((tmp_path / "instances.json").read_text())] == [
            two.instance_uuid
        ]
        assert not (tmp_path / "instances.new").exists()

    @pytest.mark.parametrize("text", ["{", "[1]", '[{"instance_uuid": "x"}]', '{"a": 1}'])
    def test_a_state_file_that_is_broken(self, tmp_path, text):
        (tmp_path / "instances.json").write_text(text)
        with pytest.raises(errors.UsageError, match="instances.json cannot be read.*fix or remove it"):
            LocalDriver("me", tmp_path)

    def test_a_state_that_cannot_be_written_refuses_the_build(self, tmp_path):
        driver = LocalDriver("me", tmp_path / "gone")
        shutil.rmtree(tmp_path / "gone")
        with pytest.raises(BuildRefused, match="its state cannot be written: No such file"):
            driver.spawn(consumer())
        assert driver.running() == ()


class TestConfiguration:
    def test_simulated_hosts(self):
        found = config.drivers_of(conf_of(driver="simulated", host="s", simulated_hosts=3, simulated_vcpus=4))
        assert list(found) == ["s-1", "s-2", "s-3"]
        inventories = [one.inventory() for one in found.values()]
        assert len({inventory.providers[0].uuid for inventory in inventories}) == 3
        assert [inventory.total for inventory in inventories[0].providers[0].inventories] == [4, 65536, 1000]

    def test_simulated_numa_nodes_and_devices(self):
        found = config.drivers_of(
            conf_of(
                driver="simulated",
                host="s",
                simulated_vcpus=7,
                simulated_memory_mb=2048,
                simulated_numa_nodes=2,
                simulated_dedicated_cpus="3",
                simulated_huge_pages=["2048:256", "1048576:0"],
                simulated_pci=["8086:1520:4:0:physical_network=net1:dev_type=type-VF", "10DE:1eb8:1:-"],
            )
        )
        inventory = found["s-1"].inventory()
        pages = (events.HostPages(4, 131072, 0), events.HostPages(2048, 256, 0), events.HostPages(1048576, 0, 0))
        alone = tuple((cpu,) for cpu in range(7))
        assert inventory.numa_cells == (
            events.HostNUMACell(0, 0, (0,), (1, 2), alone[:3], 1024, pages),
            events.HostNUMACell(1, 1, (3, 4, 5), (6,), alone[3:], 1024, pages),
        )
        assert inventory.pci_pools == (
            events.PCIPool("8086", "1520", 0, {"dev_type": "type-VF", "physical_network": "net1"}, 4),
            events.PCIPool("10de", "1eb8", None, {"dev_type": "type-PCI"}, 1),
        )
        assert {one.resource_class: one.total for one in inventory.providers[0].inventories} == {
            "VCPU": 4,
            "PCPU": 3,
            "MEMORY_MB": 2048,
            "DISK_GB": 1000,
        }

    def test_simulated_cpus_that_are_all_dedicated(self):
        found = config.drivers_of(
            conf_of(
                driver="simulated", host="s", simulated_vcpus=4, simulated_numa_nodes=1, simulated_dedicated_cpus="0-3"
            )
        )
        inventory = found["s-1"].inventory()
        assert inventory.numa_cells[0].dedicated_cpus == (0, 1, 2, 3) and inventory.numa_cells[0].shared_cpus == ()
        assert [one.resource_class for one in inventory.providers[0].inventories] == ["PCPU", "MEMORY_MB", "DISK_GB"]

    @pytest.mark.parametrize(
        "options, fault",
        [
            ({"simulated_dedicated_cpus": "2"}, "simulated_numa_nodes is 0, wanted at least 1"),
            ({"simulated_huge_pages": ["2048:1"]}, "simulated_numa_nodes is 0, wanted at least 1"),
            ({"simulated_numa_nodes": 5, "simulated_vcpus": 4}, "simulated_numa_nodes is 5, wanted at most"),
            (
                {"simulated_numa_nodes": 1, "simulated_vcpus": 4, "simulated_dedicated_cpus": "5"},
                "none but the 4 simulated_vcpus",
            ),
            (
                {"simulated_numa_nodes": 1, "simulated_vcpus": 4, "simulated_dedicated_cpus": "3-4"},
                "none but the 4 simulated_vcpus",
            ),
            (
                {"simulated_numa_nodes": 1, "simulated_dedicated_cpus": "a"},
                "simulated_dedicated_cpus is 'a', wanted numbers",
            ),
            (
                {"simulated_numa_nodes": 1, "simulated_huge_pages": ["2M:1"]},
                "simulated_huge_pages has '2M:1', wanted size",
            ),
            ({"simulated_numa_nodes": 1, "simulated_huge_pages": ["1048576:65"]}, "wanted no more than the 65536 MB"),
            ({"simulated_numa_nodes": 1, "simulated_huge_pages": ["2048:1", "2048:2"]}, "names a size of pages twice"),
            ({"simulated_numa_nodes": 1, "simulated_huge_pages": ["0:1"]}, "or one below 1 KiB"),
            ({"simulated_pci": ["8086:1520:4"]}, "simulated_pci has '8086:1520:4', wanted vendor:product:number"),
            ({"simulated_pci": ["8086:1520:4:0", "8086:1520:2:0"]}, "differ in their count only"),
            ({"simulated_pci": ["8086:1520:4:0:count=2"]}, "a PCI pool has a tag with the name"),
        ],
    )
    def test_simulated_hosts_that_cannot_be(self, options, fault):
        with pytest.raises(errors.UsageError, match="fix") as raised:
            config.drivers_of(conf_of(driver="simulated", host="s", **options))
        assert fault in str(raised.value)

    def test_local_is_one_host_under_the_agents_name(self, tmp_path):
        assert list(config.drivers_of(conf_of(driver="local", host="me", state_path=str(tmp_path)))) == ["me"]

    def test_device_specs_of_the_local_driver(self, tmp_path):
        conf = conf_of(driver="local", host="me", state_path=str(tmp_path))
        conf.set_override("device_spec", ["{}", "{"], "pci")
        with pytest.raises(errors.UsageError, match=r"\[pci\] device_spec has '{', which is none"):
            config.drivers_of(conf)

    def test_a_driver_of_somebody_else(self, tmp_path, monkeypatch):
        (tmp_path / "thirdparty.py").write_text(
            "from oslo_config import cfg\n"
            "from compute_agent.drivers.simulated import SimulatedDriver, inventory_of\n"
            "OPTS = [cfg.StrOpt('thirdparty_name', default='third')]\n"
            "def drivers(conf, host):\n"
            "    name = conf.compute_agent.thirdparty_name\n"
            "    return {name: SimulatedDriver(inventory_of(name, 1, 1, 1))}\n"
        )
        info = tmp_path / "thirdparty-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty\nVersion: 1\n")
        (info / "entry_points.txt").write_text(
            "[nova_sched.drivers]\nthird = thirdparty\nbroken = thirdparty_missing\n"
        )
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        assert list(config.drivers_of(conf_of(driver="third"))) == ["third"]
        with pytest.raises(errors.UsageError, match="the driver 'broken' cannot be imported.*thirdparty_missing.*fix"):
            drivers.load("broken")
        with pytest.raises(errors.UsageError, match="no driver 'fourth'.*local, simulated, third"):
            drivers.load("fourth")
