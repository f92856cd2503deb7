"""The tap's picture of the hosts of a cell, and what it publishes: each event is folded at once."""

import json

import pytest

from conductor.tap import instances
from conductor.tap.decode import decode
from conductor.tap.model import LEVEL, REPLACED_AFTER, REPORT_AGAIN, REPORT_PAUSE, TapModel
from nova_sched.nova_objects.devices import GROWS_AFTER
from nova_sched.projection.ledger import HELD
from nova_sched.projection.provider_tree import read
from rpc_api import events
from tests.builders import (
    Cell,
    consumer_put,
    created,
    facts_of,
    inventory_of,
    of,
    put,
    put_inventories,
    put_traits,
    report,
    uuid_of,
)
from tests.conductor.tap.messages import INSTANCE, NODE, POOL, recorded, with_fields

BODIES = recorded()
TAP = "conductor/tap"
DOWN_TIME = 60.0


def pools(*counts):
    """PCI pools as on the wire."""
    return {
        "nova_object.data": {
            "objects": [
                {"nova_object.data": POOL | {"count": count, "product_id": f"{number}"}}
                for number, count in enumerate(counts)
            ]
        }
    }


class Tapped:
    """A tap over a cell whose events are folded at once; ``host1`` has a provider with inventory."""

    def __init__(self, *published, level=LEVEL, root=True):
        self.cell = Cell(events.LevelPinned(level), *published)
        if root:
            self.cell.say(created("host1"))
            self.cell.say(put_inventories("host1", inventory_of("VCPU", 8)))
        self.now = 1000.0
        self.model = TapModel(DOWN_TIME, self.now)
        self.refused = []

    @property
    def projection(self):
        return self.cell.projection

    def take(self, *bodies):
        """Messages (names of recorded ones, or bytes) arrive, and what is due is appended; returns these events."""
        for body in bodies:
            change = decode(BODIES[body] if isinstance(body, str) else body)
            fault = self.model.take(change, self.projection, self.now)
            if fault:
                self.refused.append(fault)
        return self.append(self.model.due(self.projection, self.now))

    def append(self, due):
        for data in due:
            assert self.cell.say(data, by=TAP) == "ok", data
        return due

    def later(self, seconds):
        """Time passes, and what is due is appended; returns these events."""
        self.now += seconds
        due = self.append(self.model.due(self.projection, self.now))
        return due + self.append(self.model.liveness(self.projection, self.now))

    def host(self, name="host1"):
        return self.projection.hosts[name]

    def inventory(self, name="host1"):
        return read(self.host(name).inventory).inventory


def names(due):
    return [type(data).__name__ for data in due]


def status(tapped, name="host1"):
    return tapped.host(name).status


# --- reports ---------------------------------------------------------------------------------------------------------


def test_a_host_is_reported_when_its_node_and_its_service_are_known():
    tapped = Tapped()
    assert tapped.take("node created") == []
    assert "1 (host1)" in tapped.model.facts(tapped.projection)["waiting for a service"]
    assert names(tapped.take("heartbeat")) == ["HostReported"]
    inventory = tapped.inventory()
    assert (inventory.nodename, inventory.hypervisor_type, inventory.hypervisor_version) == (
        "host1.example.org",
        "QEMU",
        8002000,
    )
    assert inventory.root_uuid == NODE and inventory.authority == "nova" and inventory.numa_cells == ()
    tapped.now += REPORT_PAUSE
    assert names(tapped.take("node saved")) == ["HostReported"]
    inventory = tapped.inventory()
    assert len(inventory.numa_cells) == 2 and inventory.pci_pools[0].count == 3
    assert inventory.stats == {"rack": "7", "service_version": "74"}
    assert status(tapped) == events.HostStatus(
        False,
        None,
        False,
        1,
        2,
        {"cpu.percent": 0.5},
        (events.NUMAMetric("numa.membw.current", 0, 10), events.NUMAMetric("numa.membw.current", 1, 20)),
    )


def test_the_order_does_not_matter():
    one, other = Tapped(), Tapped()
    one.take("heartbeat", "node saved")
    other.take("node saved", "heartbeat")
    assert one.host().inventory == other.host().inventory and status(one) == status(other)


def test_nothing_is_reported_again_without_a_change():
    tapped = Tapped()
    assert len(tapped.take("heartbeat", "node saved")) == 1
    for _ in range(10):
        tapped.now += 10
        assert tapped.take("heartbeat", "node saved") == []


def test_instances_that_come_and_go_are_no_change_of_the_inventory():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    before = tapped.host().inventory
    tapped.now += REPORT_PAUSE
    stats = {
        "num_instances": "9",
        "num_vm_active": "9",
        "num_proj_2": "9",
        "rack": "7",
        "io_workload": "3",
        "uptime": "x",
    }
    assert names(tapped.take(with_fields(BODIES["node saved"], stats=stats, vcpus_used=8, running_vms=9))) == [
        "HostReported"
    ]
    assert tapped.host().inventory == before and status(tapped).num_io_ops == 3


def test_a_host_that_changes_often_is_reported_once_per_pause():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    for number in range(5):
        tapped.now += REPORT_PAUSE / 10
        assert tapped.take(with_fields(BODIES["node saved"], stats={"io_workload": f"{number}"})) == []
    assert names(tapped.later(REPORT_PAUSE)) == ["HostReported"] and status(tapped).num_io_ops == 4
    assert tapped.later(REPORT_PAUSE) == []


def test_a_partial_object_updates_what_is_known():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    tapped.now += REPORT_PAUSE
    gone = dict.fromkeys(("hypervisor_type", "numa_topology", "pci_device_pools", "stats", "host", "metrics"), ...)
    tapped.take(with_fields(BODIES["node saved"], cpu_info="new", **gone))
    inventory = tapped.inventory()
    assert inventory.cpu_info == "new" and inventory.hypervisor_type == "QEMU" and len(inventory.numa_cells) == 2


def test_a_partial_object_of_an_unknown_node_waits():
    tapped = Tapped()
    assert tapped.take("heartbeat", with_fields(BODIES["node saved"], hypervisor_type=...)) == []
    assert names(tapped.take("node saved")) == ["HostReported"]
    assert tapped.take(with_fields(BODIES["node saved"], uuid=...)) == [] and "without a uuid" in tapped.refused[0]


def test_a_report_that_the_log_does_not_have_comes_again():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    assert tapped.cell.say(facts_of("host1", authority="nova"), by=TAP) == "ok"
    tapped.now += REPORT_AGAIN
    assert names(tapped.take("heartbeat")) == ["HostReported"]
    tapped.now += REPORT_AGAIN
    assert tapped.take("heartbeat") == []


def test_a_report_that_the_log_refuses_is_not_published_all_the_time():
    tapped = Tapped()
    twice = {"nova_object.data": {"cells": [{"nova_object.data": {"id": 0, "cpuset": [0], "memory": 1}}] * 2}}
    body = with_fields(BODIES["node saved"], numa_topology=json.dumps(twice))
    for change in (BODIES["heartbeat"], body):
        tapped.model.take(decode(change), tapped.projection, tapped.now)
    (refused,) = tapped.model.due(tapped.projection, tapped.now)
    assert tapped.cell.say(refused, by=TAP) == "invalid"
    published = 0
    for _ in range(60):
        tapped.now += 2
        tapped.model.take(decode(body), tapped.projection, tapped.now)
        published += len(tapped.model.due(tapped.projection, tapped.now))
    assert published == 2


def test_a_host_waits_for_its_provider():
    tapped = Tapped(root=False)
    assert names(tapped.take("heartbeat", "node saved")) == ["HostReported"]
    assert tapped.model.facts(tapped.projection)["waiting for a provider"] == "1 (host1)"
    tapped.now += REPORT_AGAIN
    assert tapped.take("heartbeat") == []
    tapped.cell.say(created("host1"))
    assert list(tapped.projection.hosts) == ["host1"]


def test_the_host_of_an_agent_is_left_alone():
    tapped = Tapped(report("host1"), root=False)
    assert tapped.take("heartbeat", "node saved", "disabled") == []
    assert tapped.later(DOWN_TIME) == []


def test_what_is_held_stays_while_the_tap_reports():
    tapped = Tapped(root=True)
    tapped.cell.say(put(consumer_put("vm", of("host1", 3))))
    tapped.take("heartbeat", "node saved")
    assert [entry.state for entry in tapped.projection.consumers[uuid_of("vm")]] == [HELD]
    assert tapped.cell.free("host1") == 5


# --- PCI -------------------------------------------------------------------------------------------------------------

POOLS = [
    ("a device is taken", [(4, 0), (3, 1)], [4]),
    ("a device comes", [(4, 0), (5, 1)], [5]),
    ("all are taken, and nova-compute drops the pool", [(4, 0), (None, 4)], [4]),
    ("the tap starts while devices are in use, and one comes back", [(2, 1), (3, 1)], [3]),
    ("devices were taken away from an empty host", [(4, 0), (3, 0)], [3]),
]


@pytest.mark.parametrize("steps, wanted", [row[1:] for row in POOLS], ids=[row[0] for row in POOLS])
def test_pools_have_all_devices(steps, wanted):
    tapped = Tapped()
    tapped.take("heartbeat")
    for free, running in steps:
        tapped.now += REPORT_PAUSE
        counts = () if free is None else (free,)
        tapped.take(with_fields(BODIES["node saved"], pci_device_pools=pools(*counts), running_vms=running))
    tapped.later(GROWS_AFTER)
    assert [pool.count for pool in tapped.inventory().pci_pools] == wanted


def free(tapped, count, **more):
    """The compute node of host1 publishes so many free devices."""
    pool = {"nova_object.data": POOL | {"count": count}}
    tapped.take(with_fields(BODIES["node saved"], pci_device_pools={"nova_object.data": {"objects": [pool]}}, **more))


def devices(tapped):
    return [pool.count for pool in tapped.inventory().pci_pools]


def test_a_device_is_taken_and_given_back():
    """Each time the pools come before the device: the number must not grow between the two."""
    tapped = Tapped()
    tapped.take("heartbeat")
    free(tapped, 4, running_vms=0)
    for count, message in ((3, "device taken"), (4, "device free")) * 3:
        tapped.now += REPORT_PAUSE
        free(tapped, count)
        assert devices(tapped) == [4]
        tapped.later(GROWS_AFTER / 2)
        tapped.take(message)
        tapped.later(GROWS_AFTER)
        assert devices(tapped) == [4]


def test_a_device_of_an_unknown_instance_comes_back_while_another_one_is_in_use():
    tapped = Tapped()
    tapped.take("heartbeat")
    free(tapped, 3)  # of 4
    tapped.now += REPORT_PAUSE
    free(tapped, 2)
    tapped.take("device taken")
    assert devices(tapped) == [3]
    tapped.now += REPORT_PAUSE
    free(tapped, 3)
    tapped.later(GROWS_AFTER)
    assert devices(tapped) == [4]


def test_pools_with_other_tags_take_the_place_of_those_before():
    tapped = Tapped()
    tapped.take("heartbeat")
    free(tapped, 4)
    tapped.now += REPORT_PAUSE
    pool = {"nova_object.data": POOL | {"count": 4, "tags": POOL["tags"] | {"physical_network": "a"}}}
    tapped.take(with_fields(BODIES["node saved"], pci_device_pools={"nova_object.data": {"objects": [pool]}}))
    assert devices(tapped) == [4]


def test_a_device_that_fits_two_pools_is_not_counted():
    tapped = Tapped()
    tapped.take("heartbeat")
    objects = [
        {"nova_object.data": POOL | {"count": 2, "tags": POOL["tags"] | {"physical_network": name}}} for name in "ab"
    ]
    tapped.take(with_fields(BODIES["node saved"], pci_device_pools={"nova_object.data": {"objects": objects}}))
    tapped.take("device taken")
    tapped.later(GROWS_AFTER)
    tapped.later(GROWS_AFTER)
    assert devices(tapped) == [2, 2]
    # The address of the card tells which one it is. The pools with other tags are gone.
    tapped = Tapped()
    tapped.take("heartbeat", "device taken")
    for number, primitive in enumerate(objects):
        primitive["nova_object.data"]["tags"]["address"] = f"0000:81:00.{number}"
    tapped.take(with_fields(BODIES["node saved"], pci_device_pools={"nova_object.data": {"objects": objects}}))
    tapped.later(GROWS_AFTER)
    tapped.later(GROWS_AFTER)
    by_address = {pool.tags.get("address"): pool.count for pool in tapped.inventory().pci_pools}
    assert (by_address["0000:81:00.0"], by_address["0000:81:00.1"]) == (3, 2)


def test_a_tap_that_starts_again_knows_the_devices_by_the_log():
    tapped = Tapped()
    tapped.take("heartbeat", with_fields(BODIES["node saved"], pci_device_pools=pools(4), running_vms=0))
    tapped.model = TapModel(DOWN_TIME, tapped.now)
    tapped.take(with_fields(BODIES["node saved"], pci_device_pools=pools(1), running_vms=3))
    assert [pool.count for pool in tapped.inventory().pci_pools] == [4]


# --- services --------------------------------------------------------------------------------------------------------


def test_a_service_is_disabled_and_enabled():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    tapped.now += REPORT_PAUSE
    tapped.take("disabled")
    assert (status(tapped).disabled, status(tapped).disabled_reason) == (True, "AUTO: 10 builds failed")
    tapped.now += REPORT_PAUSE
    tapped.take("forced down")
    assert status(tapped)[:3] == (False, None, True)
    assert tapped.projection.table.down[tapped.host().root]


LATE = with_fields(BODIES["heartbeat"], disabled=True, disabled_reason="maintenance")


@pytest.mark.parametrize(
    "steps, disabled",
    [
        (["late"], False),
        (["late", "late"], True),
        (["late", "heartbeat", "late"], False),
        (["late", "late", "heartbeat"], False),
        (["trait", "late", "late", "late"], False),
        (["trait", "late", "late", "no trait", "late", "heartbeat"], False),
        (["late", "trait", "late", "no trait", "late"], False),
        (["trait", "late", "no trait", "late", "late"], True),
    ],
)
def test_a_heartbeat_is_older_than_the_trait_of_a_disabled_service(steps, disabled):
    """A heartbeat has what the database had at the one before. It counts where nova-compute could not set the trait."""
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    for step in steps:
        tapped.now += REPORT_PAUSE
        if step.endswith("trait"):
            traits = ("COMPUTE_STATUS_DISABLED",) if step == "trait" else ()
            assert tapped.cell.say(put_traits("host1", *traits)) == "ok"
        else:
            tapped.take(LATE if step == "late" else step)
        refuses = tapped.projection.table.row_has_trait("COMPUTE_STATUS_DISABLED", tapped.host().root)
        assert not status(tapped).disabled or not refuses
    assert status(tapped).disabled is disabled
    assert status(tapped).disabled_reason == ("maintenance" if steps[-1] == "late" else None)


def test_the_service_of_another_binary_is_no_heartbeat():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    for _ in range(7):
        tapped.now += 10
        tapped.take("another service")
    assert names(tapped.later(0)) == ["HostLost"]


def test_a_host_without_heartbeats_is_lost_and_seen_again():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    assert tapped.later(DOWN_TIME - 1) == []
    assert names(tapped.later(1)) == ["HostLost"] and tapped.host().lost
    assert tapped.later(1) == []
    assert tapped.take("heartbeat") == []
    assert names(tapped.later(0)) == ["HostSeen"] and not tapped.host().lost


def test_after_a_restart_a_status_is_reported_with_the_facts_of_the_log():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    inventory = tapped.host().inventory
    tapped.model = TapModel(DOWN_TIME, tapped.now)
    assert names(tapped.take("disabled")) == ["HostReported"]
    assert tapped.host().inventory == inventory and status(tapped).disabled and status(tapped).failed_builds == 2


# --- hosts that go, come again, are renamed, register twice ----------------------------------------------------------


def test_a_destroyed_node_removes_its_host():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    assert tapped.take("node destroyed") == [events.HostRemoved("host1", "nova-compute removed its compute node")]
    assert not tapped.projection.hosts
    assert tapped.take("node destroyed") == [] and tapped.take("heartbeat") == []
    tapped.now += REPORT_PAUSE
    assert names(tapped.take("node created")) == ["HostReported"]


@pytest.mark.parametrize("body", ["heartbeat", "disabled"])
def test_a_service_that_speaks_before_the_log_shows_the_removal_of_its_host(body):
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    for change in map(decode, (BODIES["node destroyed"], with_fields(BODIES[body], version=75, disabled_reason="x"))):
        tapped.model.take(change, tapped.projection, tapped.now)
    tapped.now += REPORT_PAUSE
    removal = tapped.model.due(tapped.projection, tapped.now)
    assert names(removal) == ["HostRemoved"]
    tapped.model.take(decode(BODIES[body]), tapped.projection, tapped.now)
    assert tapped.model.due(tapped.projection, tapped.now + REPORT_AGAIN - REPORT_PAUSE) == []
    tapped.append(removal)
    assert tapped.take(body) == [] and not tapped.projection.hosts
    tapped.now += REPORT_PAUSE
    assert names(tapped.take("node created")) == ["HostReported"]


def test_a_destroyed_node_removes_a_host_that_only_the_log_knows():
    tapped = Tapped(facts_of("host1", authority="nova")._replace(server=""), root=True)
    if "host1" not in tapped.projection.hosts:
        tapped.cell.say(facts_of("host1", authority="nova"), by=TAP)
    assert names(tapped.take("node destroyed")) == ["HostRemoved"]


def test_a_host_that_is_created_again_under_its_name():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    tapped.now += REPORT_PAUSE
    tapped.cell.say(created("new"))
    assert names(tapped.take(with_fields(BODIES["node created"], uuid=uuid_of("new")))) == ["HostReported"]
    assert tapped.inventory().root_uuid == uuid_of("new") and not tapped.refused
    # The old node is gone for the tap, and its destruction changes nothing.
    assert tapped.take("node destroyed") == []


def test_a_compute_that_registers_twice_is_shown_and_not_used():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    other = with_fields(BODIES["node saved"], uuid=uuid_of("other"), hypervisor_hostname="other")
    for _ in range(5):
        tapped.now += 60
        assert tapped.take("heartbeat", "node saved", other) == []
    assert len(tapped.refused) == 5 and "has two compute nodes" in tapped.refused[0]
    assert tapped.model.facts(tapped.projection)["hosts with two compute nodes"] == "1 (host1)"
    # The first one publishes nothing any more.
    tapped.cell.say(created("other"))
    tapped.now += REPLACED_AFTER
    assert names(tapped.take(other)) == ["HostReported"] and tapped.inventory().root_uuid == uuid_of("other")
    assert tapped.model.facts(tapped.projection)["hosts with two compute nodes"] == "none"


def test_a_second_bare_metal_node_is_named_as_such():
    """One nova-compute has many nodes of Ironic: a host of its own for each is no way out."""
    tapped = Tapped()
    tapped.take("heartbeat", with_fields(BODIES["node saved"], hypervisor_type="ironic"))
    other = {"uuid": uuid_of("other"), "hypervisor_hostname": "other", "hypervisor_type": "ironic"}
    assert tapped.take(with_fields(BODIES["node saved"], **other)) == []
    assert tapped.refused == [
        f"the host host1 has several bare-metal nodes (Ironic), and nova_sched can choose one per nova-compute: "
        f"{NODE} is used, and {uuid_of('other')} is not; keep nova-scheduler in a cloud with such hosts"
    ]


def test_a_renamed_host():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    renamed = [with_fields(BODIES[name], host="host9") for name in ("heartbeat", "node saved")]
    assert names(tapped.take(*renamed)) == ["HostRemoved", "HostReported"]
    assert list(tapped.projection.hosts) == ["host9"] and tapped.inventory("host9").root_uuid == NODE


def test_a_renamed_host_that_only_the_log_knows():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    tapped.model = TapModel(DOWN_TIME, tapped.now)
    renamed = [with_fields(BODIES[name], host="host9") for name in ("heartbeat", "node saved")]
    assert names(tapped.take(*renamed)) == ["HostRemoved", "HostReported"]


# --- removals that the log does not show yet -------------------------------------------------------------------------


class Late(Tapped):
    """As Tapped, but nothing is folded before :meth:`read`."""

    def __init__(self):
        super().__init__()
        self.cell.say(created("new"))
        self.published = []

    def append(self, due):
        self.published += due
        return due

    def read(self):
        """The log is read to its end; returns the names of its hosts."""
        published, self.published = self.published, []
        for data in published:
            assert self.cell.say(data, by=TAP) == "ok", data
        return sorted(self.projection.hosts)


def second(name, **fields):
    """A message of a second compute node, with the provider "new"."""
    return with_fields(BODIES[name], uuid=uuid_of("new"), id=2, **fields)


def test_a_host_that_goes_before_the_log_shows_its_report():
    tapped = Late()
    tapped.take("heartbeat", "node created")
    assert names(tapped.take("node destroyed")) == ["HostRemoved"] and tapped.take("disabled") == []
    assert tapped.read() == []
    tapped.now += REPORT_PAUSE
    assert tapped.take("heartbeat") == []


def test_a_rename_that_is_taken_back_before_the_log_shows_it():
    tapped = Late()
    tapped.take("heartbeat", "node saved", with_fields(BODIES["heartbeat"], host="host9"))
    assert tapped.read() == ["host1"]
    tapped.now += REPORT_PAUSE
    for host in ("host9", "host1"):
        tapped.take(with_fields(BODIES["node saved"], host=host))
    tapped.now += REPORT_PAUSE
    tapped.take("heartbeat")
    assert tapped.read() == ["host1"] and tapped.inventory().root_uuid == NODE


@pytest.mark.parametrize("is_published", [False, True])
def test_a_host_that_is_created_again_and_destroyed_before_the_log_shows_it(is_published):
    tapped = Late()
    tapped.take("heartbeat", "node saved")
    tapped.read()
    tapped.now += REPORT_PAUSE
    if is_published:
        tapped.take("node destroyed", second("node created"))
        tapped.take(second("node destroyed"))
    else:
        tapped.take("node destroyed", second("node created"), second("node destroyed"))
    assert tapped.read() == []


def test_a_new_node_takes_the_place_of_the_old_one_when_that_goes():
    """nova-compute with another name of its hypervisor makes the new node first."""
    tapped = Tapped()
    tapped.cell.say(created("new"))
    tapped.take("heartbeat", "node saved")
    tapped.now += REPORT_PAUSE
    assert tapped.take(second("node created", hypervisor_hostname="another")) == [] and tapped.refused
    assert names(tapped.take("node destroyed")) == ["HostRemoved", "HostReported"]
    assert tapped.inventory().root_uuid == uuid_of("new")
    assert tapped.model.facts(tapped.projection)["hosts with two compute nodes"] == "none"


def test_two_hosts_swap_their_nodes():
    tapped = Tapped()
    tapped.cell.say(created("new"))
    other = with_fields(BODIES["heartbeat"], host="host2")
    tapped.take("heartbeat", "node saved", other, second("node saved", host="host2"))
    tapped.now += REPORT_PAUSE
    tapped.take(with_fields(BODIES["node saved"], host="host2"), second("node saved", host="host1"))
    assert {name: tapped.inventory(name).root_uuid for name in tapped.projection.hosts} == {
        "host1": uuid_of("new"),
        "host2": NODE,
    }


def test_a_rename_while_the_tap_restarts_and_the_log_is_slow():
    tapped = Late()
    tapped.take("heartbeat", "node saved")
    tapped.model = TapModel(DOWN_TIME, tapped.now)
    renamed = [with_fields(BODIES[name], host="host9") for name in ("heartbeat", "node saved")]
    tapped.model.take(decode(renamed[1]), tapped.projection, tapped.now)
    tapped.read()
    assert names(tapped.take(*renamed)) == ["HostRemoved", "HostReported"] and tapped.read() == ["host9"]


def test_a_second_node_that_goes_is_not_shown_any_more():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved", second("node saved", hypervisor_hostname="another"))
    tapped.take(second("node destroyed"))
    assert tapped.model.facts(tapped.projection)["hosts with two compute nodes"] == "none" and tapped.host()


def test_a_host_that_goes_while_it_belongs_to_an_agent():
    """When it is passed back to Nova, it is removed."""
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    tapped.cell.say(events.AuthorityPassed("host1", "agent"), by="operator/one")
    assert tapped.take("node destroyed") == []
    tapped.cell.say(events.AuthorityPassed("host1", "nova"), by="operator/one")
    assert names(tapped.take("heartbeat")) == ["HostRemoved"] and not tapped.projection.hosts


def test_a_host_that_belongs_to_an_agent_is_not_removed_for_another_node():
    tapped = Tapped()
    tapped.cell.say(created("new"))
    tapped.take("heartbeat", "node saved")
    tapped.cell.say(events.AuthorityPassed("host1", "agent"), by="operator/one")
    assert tapped.take("node destroyed", second("node created")) == [] and tapped.host()


def test_a_removal_that_the_log_lost_is_published_again():
    tapped = Late()
    tapped.take("heartbeat", "node saved")
    assert tapped.read() == ["host1"]
    assert names(tapped.take("node destroyed")) == ["HostRemoved"]
    tapped.published.clear()
    tapped.model.log_began()
    assert names(tapped.take("disabled")) == ["HostRemoved"] and tapped.read() == []


def test_a_change_that_waited_when_the_tap_began_to_read_again():
    """Another process may have read meanwhile, so it is not reported, but known to be missing."""
    tapped = Tapped()
    tapped.take("heartbeat", "node created")
    assert tapped.take("node saved") == []
    tapped.model.read_again(0.2, tapped.now)
    assert "host1" in tapped.model.unsure


# --- instances -------------------------------------------------------------------------------------------------------


def where(tapped):
    tracked = tapped.projection.tracked.get(INSTANCE)
    return None if tracked is None else (tracked.host, dict(tracked.image_properties))


def test_an_instance_is_tracked_moves_and_goes():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    properties = {"hw_disk_bus": "virtio"}
    assert names(tapped.take("instance built")) == ["InstancesTracked"] and where(tapped) == ("host1", properties)
    assert tapped.take("instance built") == []
    assert tapped.take("instance moved") == [] and where(tapped) == ("host1", properties)  # the log has no host2
    tapped.cell.say(created("host2"))
    tapped.cell.say(facts_of("host2", authority="nova"), by=TAP)
    assert names(tapped.take("instance moved")) == ["InstancesTracked"] and where(tapped) == ("host2", properties)
    assert names(tapped.take("instance shelved")) == ["InstancesTracked"] and where(tapped) is None
    tapped.take("instance built")
    assert names(tapped.take("instance deleted")) == ["InstancesTracked"] and where(tapped) is None
    assert tapped.take("instance deleted") == []


def test_an_instance_on_the_host_of_an_agent_is_left_to_the_agent():
    tapped = Tapped(report("host1"), root=False)
    assert tapped.take("instance built") == []


def test_many_saves_of_instances_are_one_event():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    bodies = [with_fields(BODIES["instance built"], uuid=uuid_of(f"vm-{number}")) for number in range(600)]
    due = tapped.take(*bodies, *bodies)
    assert [len(event.instances) for event in due] == [500, 100]
    assert tapped.take(*bodies) == []


def test_instances_whose_end_was_missed_are_found_by_their_allocations():
    """After a loss, an instance that holds nothing in the log is gone."""
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    held = with_fields(BODIES["instance built"], uuid=uuid_of("held"))
    tapped.cell.say(put(consumer_put("held", of("host1", 3))))
    tapped.take("instance built", held)
    tapped.model.messages_were_lost(tapped.projection)
    (gone,) = tapped.later(REPORT_PAUSE)
    assert gone == events.InstancesTracked("host1", (), (INSTANCE,))
    assert list(tapped.projection.tracked.of("host1")) == [uuid_of("held")]


def test_instances_wait_for_their_host():
    """The notification driver publishes what waited in the order of the last changes. Not more are kept than others."""
    tapped = Tapped()
    kept = range(instances.INSTANCES_KEPT + 1)
    bodies = [BODIES["instance built"], with_fields(BODIES["instance built"], uuid=uuid_of("elsewhere"), host="other")]
    assert tapped.take(*bodies) == []
    assert names(tapped.take("heartbeat", "node saved")) == ["HostReported"]
    (event,) = tapped.later(0)
    assert (event.host, [instance.instance_uuid for instance in event.instances]) == ("host1", [INSTANCE])
    assert tapped.later(0) == []
    tapped.take("instance moved", "instance built")
    tapped.cell.say(created("host2"))
    tapped.cell.say(put_inventories("host2", inventory_of("VCPU", 8)))
    other = {"host": "host2", "uuid": uuid_of("host2")}
    tapped.take(with_fields(BODIES["heartbeat"], host="host2"), with_fields(BODIES["node saved"], **other))
    assert tapped.later(REPORT_PAUSE) == [], "it came back before its other host was in the log"
    for number in kept:
        tapped.model._instances._moved[str(number)] = "other", {}
    tapped.later(0)
    assert len(tapped.model._instances._moved) == instances.INSTANCES_KEPT


# --- what was missed -------------------------------------------------------------------------------------------------


def test_hosts_are_unsure_after_a_loss_until_their_objects_come():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    tapped.model.messages_were_lost(tapped.projection)
    assert tapped.model.facts(tapped.projection)["unsure hosts"] == "1 (host1)"
    tapped.take("heartbeat")
    assert tapped.model.unsure == {"host1": {"ComputeNode"}}
    tapped.take("node saved")
    assert not tapped.model.unsure


def test_only_the_host_whose_messages_were_lost_is_unsure():
    """What its nova-compute has published before does not count; its instances that hold nothing are gone."""
    tapped = Tapped()
    tapped.cell.say(created("host2"))
    tapped.cell.say(put_inventories("host2", inventory_of("VCPU", 8)))
    other = {"host": "host2", "uuid": uuid_of("host2")}
    tapped.take("heartbeat", with_fields(BODIES["heartbeat"], host="host2"))
    tapped.take("node saved", with_fields(BODIES["node saved"], **other))
    tapped.take("instance built", with_fields(BODIES["instance built"], host="host2", uuid=uuid_of("vm2")))
    tapped.model.host_lost_messages("host1")
    tapped.model.host_lost_messages("unknown")
    assert tapped.model.unsure.keys() == {"host1", "unknown"}
    assert tapped.later(REPORT_PAUSE) == [events.InstancesTracked("host1", (), (INSTANCE,))]
    tapped.take("heartbeat", "node saved")
    tapped.later(REPORT_AGAIN)
    assert not tapped.model.unsure


def test_a_log_that_began_again_gets_all_hosts():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved", "instance built")
    tapped.cell = Cell(events.LevelPinned(LEVEL), created("host1"))
    tapped.model.log_began()
    assert names(tapped.later(0)) == ["HostReported"]
    assert names(tapped.take("instance built")) == ["InstancesTracked"]


def test_a_log_that_asks_for_a_host_gets_it():
    tapped = Tapped()
    tapped.take("heartbeat", "node saved")
    tapped.model.report_again(["host1", "host2"])
    assert tapped.later(0) == []  # the log has it as it is
    tapped.cell = Cell(events.LevelPinned(LEVEL), created("host1"))
    tapped.model.report_again(["host1"])
    assert names(tapped.later(0)) == ["HostReported"]
