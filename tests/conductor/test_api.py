"""The API level's conductor: from a scheduler's answer to builds in a cell."""

import uuid
from concurrent.futures import Future

import pytest

from compute_agent.drivers.simulated import inventory_of
from conductor.api import ApiConductor
from nova_sched.projection.ledger import RUNNING
from nova_sched.scheduler.endpoint import SchedulerEndpoint
from nova_sched.scheduler.service import Cell as CellOf
from nova_sched.scheduler.service import Scheduler, cell0_of
from nova_sched.selection.policy import Policy
from rpc_api import errors, events, messages, nova_exception
from rpc_api.bus import LocalBus
from rpc_api.contracts import conductor as conductor_rpc
from rpc_api.contracts import scheduler as scheduler_rpc
from rpc_api.feed.epoch import ensure_open
from rpc_api.log import open_log
from rpc_api.objects.instance_group import InstanceGroup
from rpc_api.objects.numa import InstanceNUMACell, InstanceNUMATopology
from rpc_api.objects.pci import InstancePCIRequest, InstancePCIRequests
from rpc_api.wording import number_of
from tests.builders import CONTEXT, pool, request_spec, uuid_of
from tests.conductor.cells import SECONDS_MAX, Cell

FILTERS = (
    "ComputeFilter",
    "ServerGroupAntiAffinityFilter",
    "ServerGroupAffinityFilter",
    "NUMATopologyFilter",
    "PciPassthroughFilter",
)
CPUS = ((0, 1, 2, 3), (4, 5, 6, 7))


def _inventory(host):
    """8 CPUs for pinned guests on two NUMA nodes, each of which has a PCI device."""
    cells = tuple(
        events.HostNUMACell(node, node, (), cpus, tuple((cpu,) for cpu in cpus), 4096, ())
        for node, cpus in enumerate(CPUS)
    )
    made = inventory_of(host, 8, 8192, 100, cells, (pool(1, numa_node=0), pool(1, numa_node=1)))
    root = made.providers[0]
    return made._replace(
        providers=(
            root._replace(inventories=(*root.inventories, events.Inventory("VCPU", 8, 0, 1, 8, 1, 1.0))),
            *made.providers[1:],
        )
    )


class Site:
    """A scheduler, a cell with hosts of NUMA nodes and PCI devices, and the API conductor; a context manager."""

    def __init__(self, endpoint=SchedulerEndpoint, **options):
        self.bus = LocalBus()
        self.cell = Cell(self.bus)
        for host, driver in self.cell.drivers.items():
            driver.offered = _inventory(host)
        cell0 = f"memory://api-{uuid.uuid4().hex}"
        ensure_open(open_log(cell0), "cell0", "operator/test")
        self.scheduler = Scheduler(
            "s", cell0_of(cell0), [CellOf("cell1", uuid_of("cell1"), self.cell.url)], Policy(enabled_filters=FILTERS)
        )
        self.endpoint = endpoint(self.scheduler, **options)
        self.api = ApiConductor(self.bus, {"cell1": self.bus}, 3)

    def __enter__(self):
        self.cell.__enter__()
        self.scheduler.start().wait_ready(SECONDS_MAX)
        self.bus.serve(scheduler_rpc.TOPIC, "s", [self.endpoint], scheduler_rpc.VERSION)
        self.bus.serve(conductor_rpc.cell_topic("cell1"), "c", [self.cell.conductor], conductor_rpc.VERSION)
        return self

    def __exit__(self, *exc):
        self.api.close()
        self.scheduler.stop()
        self.cell.__exit__(*exc)

    def build(self, asked, *instances):
        instances = instances or (asked.instance_uuid,)
        return self.api.schedule_and_build_instances(CONTEXT, asked, list(instances)).result(SECONDS_MAX)

    def refuse_first(self):
        """The host that is claimed first refuses, whichever it is."""
        refused = []

        def only_once(driver, spawn):
            def told(consumer):
                if not refused:
                    refused.append(driver)
                    driver.refuse = "no"
                spawn(consumer)

            return told

        for driver in self.cell.drivers.values():
            driver.spawn = only_once(driver, driver.spawn)


@pytest.fixture
def site():
    with Site() as site:
        yield site


def plain(name):
    return request_spec(uuid_of(name), disk_gb=0)


def pinned_with_device(name):
    """A pinned guest of a server group that wants a PCI device."""
    asked = plain(name)
    asked.flavor.extra_specs = {"hw:cpu_policy": "dedicated"}
    asked.numa_topology = InstanceNUMATopology(
        cells=[InstanceNUMACell(id=0, cpuset=set(), pcpuset={0, 1}, memory=512, cpu_policy="dedicated")]
    )
    asked.pci_requests = InstancePCIRequests(
        requests=[
            InstancePCIRequest(
                count=1,
                spec=[{"vendor_id": "8086", "product_id": "1520"}],
                alias_name="nic",
                is_new=False,
                request_id=uuid_of("pci"),
                requester_id=None,
                numa_policy=None,
            )
        ]
    )
    asked.instance_group = InstanceGroup(uuid=uuid_of("group"), policy="anti-affinity", members=[], hosts=[], _rules={})
    return asked


def test_an_alternate_is_claimed_under_the_terms_of_its_own_host(site):
    site.refuse_first()
    (outcome,) = site.build(pinned_with_device("vm"))
    assert (outcome.outcome, outcome.attempts) == (messages.BUILT, 2), outcome
    claimed, alternate = site.cell.events("ClaimProposed")
    assert alternate.host == outcome.host != claimed.host
    for claim in (claimed, alternate):
        assert claim.rule == events.GroupRule(uuid_of("group"), "spread", claim.host, uuid_of("vm"), 1)
        guest = events.thaw("Guest", claim.guest)
        (use,), (device,) = guest.numa, guest.pci
        assert sorted(cpu for cpu, _ in use.pins) == [0, 1] and {cpu for _, cpu in use.pins} <= set(CPUS[use.cell])
        assert (device.count, device.request_id) == (1, uuid_of("pci"))
    assert site.cell.holds() == {uuid_of("vm"): [(outcome.host, RUNNING)]}


@pytest.mark.parametrize("ends", ["released", "expired"])
def test_a_claim_that_does_not_hold_any_more_is_not_built(site, monkeypatch, ends):
    """The cell's log says so, whatever the API level hands over."""
    cell, build_instance = site.cell, site.cell.conductor.build_instance

    def late(context, build):
        claim = build.claims[0]
        if ends == "released":
            end, by = events.ClaimReleased(claim.consumer_uuid, claim.claim_uuid, "changed its mind"), cell.scheduler
        else:
            end, by = events.ClaimExpired(claim.consumer_uuid, claim.claim_uuid), cell.conductor.producer
        by.wait(by.publish(end), SECONDS_MAX)
        cell.folded()
        return build_instance(context, build)

    monkeypatch.setattr(cell.conductor, "build_instance", late)
    (outcome,) = site.build(plain("vm"))
    assert (outcome.outcome, outcome.attempts) == (messages.MAX_RETRIES_EXCEEDED, 0)
    assert "it does not hold any more" in outcome.reason
    assert not any(driver.spawned for driver in cell.drivers.values())


def test_a_cell_conductor_is_told_how_far_to_read_before_it_builds(site, monkeypatch):
    """Where it is behind it waits until then: tests/conductor/test_cell.py."""
    cell, build_instance, told = site.cell, site.cell.conductor.build_instance, []

    def seen(context, build):
        (entry,) = cell.folded().consumers[build.instance_uuid]
        told.append((build.position == entry.position, build.claims[0].claim_uuid == entry.claim_uuid))
        return build_instance(context, build)

    monkeypatch.setattr(cell.conductor, "build_instance", seen)
    assert site.build(plain("vm"))[0].outcome == messages.BUILT
    assert told == [(True, True)]


# --- versions side by side --------------------------------------------------------------------------------------------


class OldEndpoint:
    """A scheduler of version N-1: it gives terms in any case, and reads no ``filter_properties``."""

    RPC_METHODS = ("select_destinations",)

    def __init__(self, scheduler):
        self._endpoint = SchedulerEndpoint(scheduler, gives_terms=True)

    def select_destinations(
        self,
        context,
        request_spec=None,
        filter_properties=None,
        spec_obj=None,
        instance_uuids=None,
        return_objects=False,
        return_alternates=False,
    ):
        return self._endpoint.select_destinations(
            context,
            None,
            None,
            spec_obj=spec_obj,
            instance_uuids=instance_uuids,
            return_objects=return_objects,
            return_alternates=return_alternates,
        )


def test_a_scheduler_of_the_version_before():
    with Site(OldEndpoint) as site:
        site.refuse_first()
        (outcome,) = site.build(pinned_with_device("vm"))
        assert (outcome.outcome, outcome.attempts) == (messages.BUILT, 2)


@pytest.mark.parametrize("gives_terms, outcome", [(True, messages.BUILT), (False, messages.SERVICE_UNAVAILABLE)])
def test_a_conductor_of_the_version_before(monkeypatch, gives_terms, outcome):
    """It does not ask for terms: [scheduler] placement_endpoint has them given."""
    monkeypatch.setattr(scheduler_rpc, "WITH_TERMS", None)
    with Site(gives_terms=gives_terms) as site:
        assert site.build(plain("vm"))[0].outcome == outcome
        assert not site.cell.events("BuildFailed")


# --- what goes wrong --------------------------------------------------------------------------------------------------


class Answers:
    """A scheduler with given answers."""

    def __init__(self, answer):
        self._answer = answer

    def select_destinations(self, context, **arguments):
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def answered(answer, *instances):
    """The outcomes of a build whose scheduler answers so."""
    bus = LocalBus()
    bus.serve(scheduler_rpc.TOPIC, "s", [Answers(answer)], scheduler_rpc.VERSION)
    api = ApiConductor(bus, {"cell1": bus}, 3)
    try:
        return api.schedule_and_build_instances(CONTEXT, plain("vm"), list(instances or [uuid_of("vm")])).result(
            SECONDS_MAX
        )
    finally:
        api.close()


@pytest.mark.parametrize(
    "fault, outcome",
    [
        (nova_exception.NoValidHost(reason="none"), messages.NO_VALID_HOST),
        (nova_exception.ServiceUnavailable(reason="the log is away"), messages.SERVICE_UNAVAILABLE),
        (errors.LogUnavailable("of a scheduler of the version before"), messages.SERVICE_UNAVAILABLE),
        (errors.NoAnswer("nobody answered"), messages.SERVICE_UNAVAILABLE),
        (ZeroDivisionError("a fault"), messages.SERVICE_UNAVAILABLE),
    ],
)
def test_each_instance_has_an_outcome_that_says_what_failed(fault, outcome):
    two = uuid_of("one"), uuid_of("two")
    outcomes = answered(fault, *two)
    assert [(one.instance_uuid, one.outcome, one.host, one.attempts) for one in outcomes] == [
        (one, outcome, None, 0) for one in two
    ]
    assert all(str(fault) in one.reason for one in outcomes)


def test_no_scheduler_is_there():
    api = ApiConductor(LocalBus(), {}, 3)
    (outcome,) = api.schedule_and_build_instances(CONTEXT, plain("vm"), [uuid_of("vm")]).result(SECONDS_MAX)
    assert outcome.outcome == messages.SERVICE_UNAVAILABLE and "no server" in outcome.reason
    api.close()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_answer_for_another_number_of_instances_builds_nothing(site, count):
    (good,) = site.endpoint.select_destinations(
        CONTEXT,
        spec_obj=plain("other"),
        instance_uuids=[uuid_of("other")],
        return_objects=True,
        filter_properties=scheduler_rpc.WITH_TERMS,
    ).result(SECONDS_MAX)
    outcomes = answered([good] * count, uuid_of("one"), uuid_of("two"))
    assert [outcome.outcome for outcome in outcomes] == [messages.SERVICE_UNAVAILABLE] * 2
    assert f"hosts for {number_of(count, 'instance')}, wanted 2" in outcomes[0].reason


def test_an_answer_without_a_host_builds_nothing():
    (outcome,) = answered([[]])
    assert outcome.outcome == messages.SERVICE_UNAVAILABLE and "hosts for 0 instances, wanted 1" in outcome.reason


def test_a_conductor_of_a_cell_that_does_not_answer(site, monkeypatch):
    lost = Future()
    lost.set_exception(errors.NoAnswer("it did not answer"))
    monkeypatch.setattr(site.cell.conductor, "build_instance", lambda context, build: lost)
    (outcome,) = site.build(plain("vm"))
    assert outcome.outcome == messages.SERVICE_UNAVAILABLE and "the conductor of cell1 did not answer" in outcome.reason


@pytest.mark.parametrize(
    "fault",
    [errors.NoAnswer("it is gone"), nova_exception.NoValidHost(reason="it is gone"), RuntimeError("it is gone")],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_each_instance_has_the_outcome_of_its_own_build(site, monkeypatch, fault, at_once):
    api, build_instance = site.api._cells["cell1"], site.api._cells["cell1"].build_instance

    def some(context, build):
        if build.instance_uuid == uuid_of("two"):
            return build_instance(context, build)
        if at_once:
            raise fault
        lost = Future()
        lost.set_exception(fault)
        return lost

    monkeypatch.setattr(api, "build_instance", some)
    first, second = site.build(plain("one"), uuid_of("one"), uuid_of("two"))
    assert (first.outcome, second.outcome) == (messages.SERVICE_UNAVAILABLE, messages.BUILT)
    assert "it is gone" in first.reason


def test_a_conductor_that_is_stopping(site):
    site.api.close()
    (outcome,) = site.build(plain("vm"))
    assert outcome.outcome == messages.SERVICE_UNAVAILABLE and "stopping" in outcome.reason
