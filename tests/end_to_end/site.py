"""A scheduler on logs in memory that is asked by primitives, as they stand on the wire."""

import itertools

from nova_sched.scheduler.endpoint import SchedulerEndpoint
from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
from nova_sched.selection.policy import Policy
from rpc_api import codec, events
from rpc_api.bus import LocalBus
from rpc_api.contracts.scheduler import TOPIC, VERSION
from rpc_api.log import open_log
from rpc_api.nova_exception import NoValidHost
from tests.builders import CONTEXT, EPOCH, Voice, inventory_of, pool, provider, report, tree, uuid_of
from tests.end_to_end.every_field import CELL, UNSET
from tests.servers import wait_until

CPUS = tuple(range(256))
LARGE = 2**30
_NUMBERS = itertools.count()


class Site:
    """A scheduler over two hosts, a and b, with much of everything, and the conductor's way to ask it.

    ``filters`` are the enabled ones, ``running`` the consumers that run on a host.
    """

    def __init__(self, name, *filters, **running):
        self.name = f"{name}-{next(_NUMBERS)}"
        node = events.HostNUMACell(
            0, 0, (), CPUS, tuple((cpu,) for cpu in CPUS), 2**20, (events.HostPages(4, 2**28, 0),)
        )
        said = [
            report(
                host,
                *running.get(host, ()),
                inventory=tree(
                    host,
                    provider(f"{host} port", inventory_of("CUSTOM_PORT", LARGE), parent=0),
                    inventories=(
                        inventory_of("VCPU", LARGE),
                        inventory_of("PCPU", LARGE),
                        inventory_of("MEMORY_MB", LARGE),
                        inventory_of("DISK_GB", LARGE),
                    ),
                    supported_instances=(("x86_64", "kvm", "hvm"),),
                    numa_cells=(node,),
                    pci_pools=(pool(2**20, numa_node=0),),
                ),
            )
            for host in ("a", "b")
        ]
        for cell, data in (("cell0", ()), (CELL, said)):
            opened = codec.make_event(events.LogOpened(cell, EPOCH), "operator/test", 1, 1, 0)
            open_log(self.url(cell)).append([codec.encode_record(EPOCH, [opened])])
            for one in data:
                event = Voice(f"compute_agent/{one.host}").say(one)
                open_log(self.url(cell)).append([codec.encode_record(EPOCH, [event])])
        policy = Policy(
            enabled_filters=filters or (*Policy().enabled_filters, "NUMATopologyFilter", "PciPassthroughFilter")
        )
        cells = [Cell(CELL, uuid_of(CELL), self.url(CELL))]
        self.scheduler = Scheduler("s", cell0_of(self.url("cell0")), cells, policy)
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
            answer = self.client.call(
                context,
                "select_destinations",
                timeout=60,
                **{
                    "spec_obj": primitive,
                    "instance_uuids": instance_uuids,
                    "return_objects": True,
                    "return_alternates": True,
                    **arguments,
                },
            )
        except NoValidHost as refusal:
            return refusal
        return [[one.service_host for one in of_one] for of_one in answer]

    def refusals(self):
        """Reasons that came to cell0's log since the last look, of requests that no host was given to."""
        self.folded("cell0")
        with open_log(self.url("cell0")) as log, log.read_from(self.looked) as reader:
            records = reader.read(100_000)
        self.looked += len(records)
        said = [event.data for record in records for event in codec.decode_record(record.payload).events]
        return [one.reason for one in said if isinstance(one, (events.RequestRefused, events.DecisionMade))]

    def claims(self):
        """The ClaimProposed of the cell's log, oldest first."""
        self.folded(CELL)
        with open_log(self.url(CELL)) as log, log.read_from(0) as reader:
            said = [event.data for one in reader.read(100_000) for event in codec.decode_record(one.payload).events]
        return [one for one in said if isinstance(one, events.ClaimProposed)]

    def release(self):
        """Give back what the instances hold."""

        def publish(engine):
            held = engine.world.projections[CELL].consumers.values()
            gone = [
                events.ClaimReleased(one.consumer_uuid, one.claim_uuid, "tested")
                for of_one in held
                for one in of_one
                if one.claim_uuid is not None
            ]
            return gone and engine.publish(CELL, *gone)

        self.scheduler.call(publish).result(20)
        self.folded(CELL)

    def folded(self, cell):
        """Wait until what the scheduler published is folded."""
        wait_until(
            lambda: self.scheduler.call(
                lambda engine: (
                    engine.world.projections[cell].producers.get(self.scheduler.name, (0, 0))[1]
                    >= self.scheduler.logs[cell].producer.sequence
                )
            ).result(20),
            20,
            f"{cell} is not folded",
        )

    def close(self):
        self.scheduler.stop()
