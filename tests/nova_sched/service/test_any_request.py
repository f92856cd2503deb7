"""Whatever a RequestSpec lacks or holds, the conductor gets hosts, or NoValidHost with a reason that the log records.

One whole request is spoilt in each of its fields, one at a time and several at once, as a primitive on the wire. After
each one the scheduler still decides, and nothing of it is a fault.
"""

import logging
import math
import random

import pytest

from nova_sched.selection.policy import Policy
from nova_sched.service.endpoint import SchedulerEndpoint
from nova_sched.service.scheduler import Cell, Scheduler, cell0_of
from rpc_api import codec, events
from rpc_api.bus import LocalBus
from rpc_api.log import open_log
from rpc_api.nova_exception import NoValidHost
from rpc_api.objects import base
from rpc_api.scheduler import TOPIC, VERSION
from tests.builders import EPOCH, Voice, inventory_of, pool, provider, report, tree, uuid_of
from tests.service.every_field import CELL, INSTANCE, UNSET, paths, spoilt, whole
from tests.servers import wait_until
from tests.service.specs import CONTEXT

CPUS = tuple(range(256))
LARGE = 2**30
#: What a field may hold beside what it should.
ODD = [
    UNSET, None, True, False, -1, 0, 1, 7, 2**31, 2**53, -2**63, 2**63, 2**70, 0.5, -0.0, math.nan, math.inf, 1e308,
    "", "text", "-1", "99999999999999999999", "nan", "a,b", ",", "\x00\x1b[31m\r\n", "\ud800", "\u202e\u0661", "x" * 70_000,
    "trait:", "resources:VCPU", uuid_of("other"), [], [None], [[]], [[], []], [-1], [2**70], ["", ""], ["text"] * 3,
    [1.5, "x"], ["x" * 300] * 300, {}, {"": ""}, {"a": None}, {"a": []}, {"a": {}}, {"1": 2**70}, {"\x00": "\n"}, {"resources:": "1"},
    {"resources:VCPU": "-1"}, {"trait:X": "maybe"}, {"hw:cpu_policy": "mixed"}, {"max_server_per_host": "nan"},
    {"group": ["text"]}, {"fault_domain": []}, {"_nova_check_type": ["rebuild", "x"]}, {"query": ["["]},
    {base.NAME: "RequestSpec"}, {base.NAME: "ImageMeta", base.NAMESPACE: "nova", base.VERSION: "1.8", base.DATA: {}},
    {base.NAME: None, base.NAMESPACE: 1, base.VERSION: [], base.DATA: None},
    {base.NAME: "Flavor", base.NAMESPACE: "nova", base.VERSION: "1.99", base.DATA: {}}, "1.99", "2.0", "0.9", "1.0",
    "affinity", "anti-affinity", "soft-affinity", "dedicated", "mixed", "shared", "required", "isolate", "1.2",
]
ALL = {place: name for name, place in ((".".join(map(str, path)).replace("nova_object.", ""), path) for path in paths())}


class Site:
    """A scheduler over two hosts with much of everything, and the conductor's way to ask it."""

    def __init__(self, name):
        self.name = name
        node = events.HostNUMACell(0, 0, (), CPUS, tuple((cpu,) for cpu in CPUS), 2**20,
                                   (events.HostPages(4, 2**28, 0),))
        said = [report(host, inventory=tree(
            host, provider(f"{host} port", inventory_of("CUSTOM_PORT", LARGE), parent=0), inventories=(
                inventory_of("VCPU", LARGE), inventory_of("PCPU", LARGE), inventory_of("MEMORY_MB", LARGE),
                inventory_of("DISK_GB", LARGE)), supported_instances=(("x86_64", "kvm", "hvm"),),
            numa_cells=(node,), pci_pools=(pool(2**20, numa_node=0),)))
            for host in ("a", "b")]
        for cell, data in (("cell0", ()), (CELL, said)):
            opened = codec.make_event(events.LogOpened(cell, EPOCH), "operator/test", 1, 1, 0)
            open_log(self.url(cell)).append([codec.encode_record(EPOCH, [opened])])
            for one in data:
                open_log(self.url(cell)).append([codec.encode_record(EPOCH, [Voice(f"compute_agent/{one.host}").say(one)])])
        policy = Policy(enabled_filters=(*Policy().enabled_filters, "NUMATopologyFilter", "PciPassthroughFilter"))
        self.scheduler = Scheduler("s", cell0_of(self.url("cell0")), [Cell(CELL, uuid_of(CELL), self.url(CELL))], policy)
        self.scheduler.start().wait_ready()
        bus = LocalBus()
        bus.serve(TOPIC, "s", [SchedulerEndpoint(self.scheduler)], VERSION)
        self.client = bus.client(TOPIC, VERSION)
        self.asked = self.looked = 0

    def url(self, cell):
        return f"memory://any-request-{self.name}-{cell}"

    def ask(self, primitive, instance_uuids=UNSET, context=CONTEXT, **arguments):
        """Hosts of the answer, or the NoValidHost; anything else is raised."""
        if instance_uuids is UNSET:
            self.asked += 1
            instance_uuids = [uuid_of(f"{self.name} {self.asked}")]
        try:
            answer = self.client.call(context, "select_destinations", timeout=60, **{
                "spec_obj": primitive, "instance_uuids": instance_uuids, "return_objects": True,
                "return_alternates": True, **arguments})
        except NoValidHost as refusal:
            return refusal
        return [[one.service_host for one in of_one] for of_one in answer]

    def refusals(self):
        """Reasons that came to cell0's log since the last look, of requests that no host was given to."""
        self._folded("cell0")
        with open_log(self.url("cell0")) as log, log.read_from(self.looked) as reader:
            records = reader.read(100_000)
        self.looked += len(records)
        said = [event.data for one in records for event in codec.decode_record(one.payload).events]
        return [one.reason for one in said if isinstance(one, (events.RequestRefused, events.DecisionMade))]

    def release(self):
        """Give back what the instances hold."""
        def publish(engine):
            held = engine.cloud.projections[CELL].consumers.values()
            gone = [events.ClaimReleased(one.consumer_uuid, one.claim_uuid, "tested") for of_one in held for one in of_one]
            return gone and engine.publish(CELL, *gone)
        self.scheduler.call(publish).result(20)
        self._folded(CELL)

    def _folded(self, cell):
        """Wait until what the scheduler published is folded."""
        wait_until(lambda: self.scheduler.call(lambda engine: (
            engine.cloud.projections[cell].producers.get(self.scheduler.name, (0, 0))[1]
            >= self.scheduler.logs[cell].producer.sequence)).result(20), 20, f"{cell} is not folded")

    def close(self):
        self.scheduler.stop()


@pytest.fixture(scope="module")
def site():
    made = Site("one")
    yield made
    made.close()


def check(site, caplog, primitive, what, **arguments):
    """Ask, and see that the answer is one of the two that there may be."""
    caplog.clear()
    site.refusals()
    got = site.ask(primitive, **arguments)
    if isinstance(got, NoValidHost):
        reasons = site.refusals()
        assert reasons and all(reasons), f"{what}: {got} is not on record"
        assert "fault of" not in str(got), f"{what}: {got}"
        assert str(got).isprintable() or "\n" not in str(got), f"{what}: {got!r}"
    else:
        assert got and all(host in ("a", "b") for of_one in got for host in of_one), f"{what}: {got}"
        site.release()
    assert site.scheduler.fault is None, what
    loud = [one for one in caplog.records if one.levelno >= logging.ERROR or one.exc_info and one.levelno > logging.DEBUG]
    assert not loud, f"{what}: {loud[0].getMessage()}"
    return got


def test_the_whole_request_is_placed(site, caplog):
    assert check(site, caplog, whole(), "whole") == [["a"]]


def run(site, caplog, spoil):
    """Check each of (what, primitive); an ordinary request is placed afterwards."""
    for what, primitive in spoil:
        check(site, caplog, primitive, what)
    assert check(site, caplog, whole(), "an ordinary request afterwards") == [["a"]]


SEED = 20261129


@pytest.mark.parametrize("part", range(8))
def test_one_field_is_spoilt(site, caplog, part):
    """Each field is left out and None, and holds some of what is odd."""
    draw = random.Random(SEED + part)
    run(site, caplog, [(f"{ALL[path]} = {str(value)[:60]!r}", spoilt(whole(), path, value))
                       for path in sorted(ALL, key=str)[part::8] for value in (UNSET, None, *draw.sample(ODD, 3))])


@pytest.mark.long
@pytest.mark.parametrize("part", range(32))
def test_one_field_holds_everything_odd(site, caplog, part):
    run(site, caplog, [(f"{ALL[path]} = {str(value)[:60]!r}", spoilt(whole(), path, value))
                       for path in sorted(ALL, key=str)[part::32] for value in ODD])


@pytest.mark.parametrize("seed", range(4))
def test_some_fields_are_spoilt_at_once(site, caplog, seed):
    draw = random.Random(SEED * 1000 + seed)
    made = []
    for _ in range(100):
        primitive, said = whole(), []
        for path in draw.sample(sorted(ALL, key=str), draw.randint(2, 6)):
            value = draw.choice(ODD)
            primitive = spoilt(primitive, path, value)
            said.append(f"{ALL[path]} = {str(value)[:60]!r}")
        made.append(("; ".join(said), primitive))
    run(site, caplog, made)
