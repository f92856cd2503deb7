"""The identity of a compute node: its provider's uuid is kept, and it does not start under another name, or with other
CPU sets, while it runs instances that would be offered a second time."""

import json
import uuid

import pytest

from compute_agent.drivers.compute_id import NAMESPACE, check_cpus, kept_uuid
from compute_agent.drivers.local import CPUs, LocalDriver
from rpc_api import errors, events
from rpc_api.packing import pack
from tests.builders import uuid_of

#: As in version 35fdbc0, which made the uuid of the provider from the name at each start.
OF_NAME = str(uuid.uuid5(NAMESPACE, "compute-1"))


def use(pins=(), reserved=()):
    return events.NUMAUse(0, 0, 0, tuple(pins), tuple(reserved), False, 64, 0)


def consumer(name, provider=OF_NAME, uses=(), **amounts):
    allocations = tuple(events.Allocation(provider, *item) for item in amounts.items())
    guest = pack(events.Guest(tuple(uses), (), {})) if uses else None
    return events.Consumer(uuid_of(name), "p", allocations, None, guest)


def root_of(driver):
    return driver.inventory().providers[0]


class TestIdentity:
    def test_a_first_start_keeps_the_uuid_of_the_name(self, tmp_path):
        assert root_of(LocalDriver("compute-1", tmp_path)).uuid == OF_NAME
        assert json.loads((tmp_path / "compute_id").read_text()) == {"uuid": OF_NAME, "host": "compute-1"}
        assert not list(tmp_path.glob("*.new"))

    def test_the_uuid_comes_from_the_file_and_not_from_the_name(self, tmp_path):
        other = uuid_of("other")
        (tmp_path / "compute_id").write_text(json.dumps({"uuid": other, "host": "compute-1"}))
        LocalDriver("compute-1", tmp_path).spawn(consumer("vm", other, VCPU=1))
        assert root_of(LocalDriver("compute-1", tmp_path)).uuid == other

    def test_it_does_not_start_under_another_name_while_it_runs_instances(self, tmp_path):
        driver = LocalDriver("compute-1", tmp_path)
        driver.spawn(consumer("vm", VCPU=1))
        with pytest.raises(errors.UsageError) as raised:
            LocalDriver("compute-1.example.com", tmp_path)
        assert str(raised.value) == (
            f"{tmp_path}/compute_id belongs to the host 'compute-1', which runs 1 instance, and this host is "
            "'compute-1.example.com'; set [compute_agent] host = compute-1, or delete the instances before the host "
            "gets another name"
        )
        assert LocalDriver("compute-1", tmp_path).running() == driver.running()

    def test_without_instances_another_name_is_a_new_host(self, tmp_path):
        LocalDriver("compute-1", tmp_path)
        renamed = root_of(LocalDriver("compute-2", tmp_path))
        assert (renamed.uuid, renamed.name) == (str(uuid.uuid5(NAMESPACE, "compute-2")), "compute-2")
        assert root_of(LocalDriver("compute-2", tmp_path)).uuid == renamed.uuid

    def test_a_state_of_an_earlier_version_has_no_file(self, tmp_path):
        LocalDriver("compute-1", tmp_path).spawn(consumer("vm", VCPU=1))
        (tmp_path / "compute_id").unlink()
        with pytest.raises(errors.UsageError, match=f"runs 1 instance of the provider {OF_NAME}.* the host 'other'"):
            LocalDriver("other", tmp_path)
        assert root_of(LocalDriver("compute-1", tmp_path)).uuid == OF_NAME

    @pytest.mark.parametrize(
        "text",
        ["", "{", "[]", "1", '{"uuid": "x", "host": "a"}', '{"uuid": 1, "host": "a"}', '{"host": "a"}']
        + [json.dumps({"uuid": OF_NAME, "host": host}) for host in ("", None, 1)],
    )
    def test_a_file_that_is_broken(self, tmp_path, text):
        (tmp_path / "compute_id").write_text(text)
        with pytest.raises(errors.UsageError, match="compute_id cannot be read .*, wanted the uuid .*; restore it"):
            kept_uuid(tmp_path, "compute-1", ())

    def test_a_file_that_cannot_be_written(self, tmp_path):
        with pytest.raises(errors.UsageError, match="compute_id cannot be written .No such file.*fix its rights"):
            kept_uuid(tmp_path / "gone", "compute-1", ())


SHARED, DEDICATED = frozenset({0, 1}), frozenset({2, 3})


class TestCPUs:
    @pytest.mark.parametrize(
        "consumers, shared, dedicated, fault",
        [
            ([], SHARED, DEDICATED, None),
            ([consumer("a", VCPU=4)], SHARED, (), None),
            ([consumer("a", VCPU=40)], SHARED, (), None),
            ([consumer("a", VCPU=1)], (), DEDICATED, "use VCPU, and no CPU is in [compute] cpu_shared_set"),
            ([consumer("a", MEMORY_MB=1)], (), DEDICATED, None),
            ([consumer("a", PCPU=2)], SHARED, DEDICATED, None),
            ([consumer("a", PCPU=2)], SHARED, (), "use 2 PCPU, and [compute] cpu_dedicated_set has 0 CPUs"),
            ([consumer("a", PCPU=2), consumer("b", PCPU=1)], SHARED, DEDICATED, "2 instances such as"),
            ([consumer("a", uses=[use(pins=[(0, 3)])], PCPU=1)], SHARED, DEDICATED, None),
            ([consumer("a", uses=[use(pins=[(0, 1)])], PCPU=1)], SHARED, DEDICATED, "to CPU 1, which is not in"),
            ([consumer("a", uses=[use(pins=[(0, 3)], reserved=[5])], PCPU=2)], SHARED, DEDICATED, "CPU 5, which"),
            ([consumer("a", uses=[use(), use(pins=[(0, 9)])], PCPU=1)], SHARED, DEDICATED, "dedicated_set (2, 3); add"),
            ([consumer("a", uses=[use(pins=[(0, 9)])])], SHARED, (), "cpu_dedicated_set (none); add"),
        ],
    )
    def test_cpus_that_are_in_no_set(self, consumers, shared, dedicated, fault):
        if fault is None:
            check_cpus(consumers, frozenset(shared), frozenset(dedicated))
            return
        with pytest.raises(errors.UsageError) as raised:
            check_cpus(consumers, frozenset(shared), frozenset(dedicated))
        assert fault in str(raised.value)

    def test_the_local_driver_does_not_start_with_other_sets(self, tmp_path):
        LocalDriver("compute-1", tmp_path, cpus=CPUs(SHARED, DEDICATED)).spawn(consumer("vm", PCPU=1))
        LocalDriver("compute-1", tmp_path, cpus=CPUs(frozenset(), DEDICATED))
        with pytest.raises(errors.UsageError, match="use 1 PCPU"):
            LocalDriver("compute-1", tmp_path, cpus=CPUs(SHARED, frozenset()))
        with pytest.raises(errors.UsageError, match="use 1 PCPU"):
            LocalDriver("compute-1", tmp_path)
