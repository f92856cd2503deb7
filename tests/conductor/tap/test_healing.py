"""Messages are lost, come twice or come out of order: when each nova-compute has published once more, the log is as if
the tap had seen only that (law 5)."""

from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.tap.decode import Change
from conductor.tap.model import LEVEL, REPLACED_AFTER, REPORT_AGAIN, TapModel
from rpc_api import events
from tests.builders import Cell, created, uuid_of

TAP = "conductor/tap"
HOSTS = ("a", "b", "c")
NODES = ("1", "2", "3")


def node(name, host, method="save", **fields):
    whole = {
        "uuid": uuid_of(name),
        "host": host,
        "hypervisor_hostname": host,
        "hypervisor_type": "QEMU",
        "hypervisor_version": 1,
        "cpu_info": "",
        "stats": {},
        "running_vms": 0,
        "pci_device_pools": (),
        "numa_topology": (),
        "metrics": ({}, ()),
    }
    return Change("ComputeNode", method, {**whole, **fields}, frozenset())


def service(host, disabled=False):
    fields = {"host": host, "binary": "nova-compute", "disabled": disabled, "forced_down": False, "version": 74}
    return Change("Service", "save", fields, frozenset())


nodes = st.builds(
    node,
    st.sampled_from(NODES),
    st.sampled_from(HOSTS),
    st.sampled_from(("create", "save", "save", "destroy")),
    cpu_info=st.sampled_from(("x", "y")),
    stats=st.dictionaries(st.sampled_from(("rack", "failed_builds", "num_instances")), st.sampled_from(("1", "2"))),
)
steps = st.lists(
    st.one_of(
        nodes,
        st.builds(service, st.sampled_from(HOSTS), st.booleans()),
        st.sampled_from(
            [
                "restart",
                "loss",
                "time passes",
                "the log is refused",
                "a provider goes",
                "the log is slow",
                "the log is read",
            ]
        ),
    ),
    max_size=30,
)


class World:
    """A tap whose events are folded."""

    def __init__(self):
        self.cell = Cell(events.LevelPinned(LEVEL), *(created(name) for name in NODES))
        self.now = 0.0
        self.model = TapModel(60.0, self.now)
        #: Published and not folded yet, while the log is slow.
        self.published, self.is_slow = [], False

    @property
    def projection(self):
        return self.cell.projection

    def step(self, step):
        if isinstance(step, Change):
            self.model.take(step, self.projection, self.now)
        elif step == "restart":
            self.model = TapModel(60.0, self.now)
        elif step == "loss":
            self.model.messages_were_lost(self.projection)
        elif step == "time passes":
            self.now += REPORT_AGAIN
        elif step in ("the log is slow", "the log is read"):
            self.is_slow = step == "the log is slow"
        elif step == "the log is refused":
            self.model.due(self.projection, self.now)
        else:
            self.cell.say(events.ProviderDeleted(uuid_of("1"), "req-1", None))
            self.cell.say(created("1"))
        self.publish()

    def publish(self):
        self.published += self.model.due(self.projection, self.now) + self.model.liveness(self.projection, self.now)
        while self.published and not self.is_slow:
            self.cell.say(self.published.pop(0), by=TAP)

    def settle(self):
        """Each nova-compute publishes once more: the first with a new node, as after a restart of all of them."""
        self.is_slow = False
        self.publish()
        self.now += REPLACED_AFTER
        for _ in range(3):
            for name, host in zip(NODES, HOSTS, strict=True):
                self.step(service(host))
                self.step(node(name, host))
            self.now += REPORT_AGAIN
            self.publish()

    def hosts(self):
        return {name: (host.inventory, host.status) for name, host in self.projection.hosts.items()}


def clean():
    world = World()
    world.settle()
    return world.hosts()


@settings(max_examples=300, deadline=None)
@given(steps)
def test_the_log_heals(taken):
    world = World()
    for step in taken:
        world.step(step)
    world.settle()
    assert world.hosts() == clean() and sorted(world.hosts()) == list(HOSTS)
    assert not world.model.unsure and not world.projection.waiting
    world.now += REPORT_AGAIN
    world.model.monitor.heard(HOSTS, world.now)
    assert world.model.due(world.projection, world.now) == []
