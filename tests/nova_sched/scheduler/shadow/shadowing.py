"""A shadow over logs that are lists, with hosts of Nova whose providers and allocations Placement's API writes."""

from nova_sched.projection.state import CELL0
from nova_sched.scheduler.shadow.engine import Settings, ShadowEngine
from nova_sched.scheduler.shadow.messages import Choice
from rpc_api import events
from rpc_api.levels import LEVEL
from tests.builders import (
    consumer_put,
    created,
    facts_of,
    group,
    inventory_of,
    of,
    put,
    put_inventories,
    request,
    uuid_of,
)
from tests.engines import TinyCloud

API, CONDUCTOR, SHADOW = "placement/api", "conductor/c", "shadow/s"
BUILD = "build_and_run_instance"


class Shadowed(TinyCloud):
    """``has_allocations``: Nova uses our Placement API, so its allocations come into the log."""

    def __init__(self, *hosts, cells=("cell1",), policy=None, has_allocations=True, sees_builds=True):
        super().__init__(cells, policy)
        self.pin(LEVEL)
        for name in hosts:
            self.nova_host(name)
        self.sees_builds = sees_builds
        self.engine = ShadowEngine(
            self.cells,
            self.policy,
            SHADOW,
            lambda cell, *data: (1, self.append(cell, SHADOW, *data)),
            lambda: next(self._uuids),
            self.clock,
            settings=Settings(60.0, 3600.0, has_allocations),
            sees_builds=lambda: self.sees_builds,
        )
        self.engines["s"] = self.engine
        for cell in self.logs:
            self._read["s", cell] = 0
        self.settle()

    def nova_host(self, name, cell="cell1", vcpus=4, memory_mb=1024, **facts):
        """A host of Nova: its provider by the API, and its facts by the tap of the conductor."""
        inventories = inventory_of("VCPU", vcpus), inventory_of("MEMORY_MB", memory_mb)
        self.append(cell, API, created(name), put_inventories(name, *inventories))
        self.append(cell, CONDUCTOR, facts_of(name, authority="nova", server="", **facts))

    def asks(self, *instances, vcpus=1, name=None, **fields):
        """A copied request for instances."""
        fields = {"request_id": f"req-{name or instances[0]}"} | fields
        self.engine.on_request(request(group(VCPU=vcpus), **fields), [uuid_of(each) for each in instances])

    def allocates(self, instance, *hosts, vcpus=1, cell="cell1"):
        """Nova's scheduler allocates for an instance, on all of these hosts."""
        self.append(cell, API, put(consumer_put(instance, *(of(host, vcpus) for host in hosts))))
        self.settle()

    def calls(self, instance, host, method=BUILD, request_id=None):
        """Nova's conductor calls a host for an instance."""
        self.engine.on_choice(Choice(uuid_of(instance), host, method, request_id or f"req-{instance}"))

    def passes(self, seconds):
        """Time passes, and the shadow looks at it."""
        self.clock.seconds += seconds
        self.engine.on_tick()

    @property
    def compared(self):
        """All comparisons."""
        return self.events(CELL0, "DecisionCompared")

    def verdicts(self):
        """(Verdict, cause) of all comparisons."""
        return [(each.verdict, each.cause) for each in self.compared]

    def written_by_shadow(self):
        """Names of the events that the shadow appended, by cell."""
        return {
            cell: {
                name
                for name in events.EVENTS
                if any(type(data) is getattr(events, name) for data in self._of_shadow(cell))
            }
            for cell in self.logs
        }

    def _of_shadow(self, cell):
        from rpc_api import codec

        return [
            event.data
            for payload in self.logs[cell]
            for event in codec.decode_record(payload).events
            if event.producer == SHADOW
        ]
