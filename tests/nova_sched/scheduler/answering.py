"""A scheduler over logs in memory that answers as Nova's conductor calls it, and requests for it."""

from nova_sched.scheduler.endpoint import SchedulerEndpoint
from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
from nova_sched.selection.policy import Policy
from rpc_api import codec, events
from rpc_api.log import open_log
from rpc_api.objects.request_group import RequestGroup
from tests.builders import (
    CONTEXT,
    EPOCH,
    Voice,
    inventory_of,
    provider,
    report,
    request_spec,
    speaker_of,
    tree,
    uuid_of,
)

NIC = provider("nic", inventory_of("NET_BW_EGR_KILOBIT_PER_SEC", 1000), parent=0, traits=("CUSTOM_NET",))
#: Two more with the same inventories, and one with a child.
HOSTS = (report("a"), report("b"), report("c"), report("tree", inventory=tree("tree", NIC)))
SECONDS_MAX = 20.0


class World:
    """A scheduler over the logs of one or two cells, and its endpoint; a context manager."""

    _count = 0

    def __init__(self, *said, cells=("cell1",), policy=None, **options):
        World._count += 1
        self.voices, self.cells = {}, cells
        for cell in ("cell0", *cells):
            self.say(events.LogOpened(cell, EPOCH), cell=cell, by="operator/test")
        self.say(*said)
        self.scheduler = Scheduler(
            "s",
            cell0_of(self.url("cell0")),
            [Cell(cell, uuid_of(cell), self.url(cell)) for cell in cells],
            policy or Policy(),
            **options,
        )
        self.endpoint = SchedulerEndpoint(self.scheduler)

    def __enter__(self):
        self.scheduler.start().wait_ready()
        return self

    def __exit__(self, *exc):
        self.scheduler.stop()

    def url(self, cell):
        return f"memory://answers-{World._count}-{cell}"

    def say(self, *data, cell="cell1", by=None):
        for one in data:
            name = by or speaker_of(one)
            event = self.voices.setdefault((cell, name), Voice(name)).say(one)
            open_log(self.url(cell)).append([codec.encode_record(EPOCH, [event])])

    def ask(self, asked=None, instances=None, alternates=True, **more):
        """A Future of the answer to a call as Nova's conductor makes it."""
        asked = asked or request_spec(uuid_of("vm"), disk_gb=0)
        return self.endpoint.select_destinations(
            CONTEXT,
            spec_obj=asked,
            instance_uuids=instances or [asked.instance_uuid],
            return_objects=True,
            return_alternates=alternates,
            **more,
        )

    def selected(self, *arguments, **named):
        return self.ask(*arguments, **named).result(SECONDS_MAX)


def with_group(asked):
    asked.requested_resources = [
        RequestGroup(
            use_same_provider=True,
            requester_id="port-1",
            resources={"NET_BW_EGR_KILOBIT_PER_SEC": 10},
            required_traits={"CUSTOM_NET"},
            forbidden_traits=set(),
            aggregates=[],
            in_tree=None,
        )
    ]
    return asked


def with_extra(asked, **extra_specs):
    asked.flavor.extra_specs = extra_specs
    return asked
