"""The ledger against a naive model: entries put on, taken off, started and moved; who is in which group,
and what breaks."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nova_sched.projection.fold import allocation_moved
from nova_sched.projection.holding import add_entry, remove_entry, start
from nova_sched.projection.ledger import CLAIMED, RUNNING, Entry
from rpc_api.digest import consumer_hash
from tests import builders, invariants
from tests.builders import Cell, consumer, of, report, uuid_of

HOSTS = st.sampled_from(("a", "b"))
NAMES = st.sampled_from(("vm-1", "vm-2", "vm-3", "vm-4"))
SOME_RULES = st.builds(
    builders.rule,
    st.sampled_from(("red", "blue")),
    st.sampled_from(("spread", "together", "member")),
    st.sampled_from(("rack-1", "rack-2")),
    st.sampled_from(("p", "q", "r")),
    st.integers(0, 3),
)
RULES = st.none() | SOME_RULES
AMOUNTS = st.integers(0, 9)


class Machine(RuleBasedStateMachine):
    """``held`` is the model: (host, consumer) -> (instance, amount, rule, runs)."""

    def __init__(self):
        super().__init__()
        self.projection = Cell(report("a"), report("b")).projection
        self.held = {}
        self.number = 0

    def entry(self, host, name):
        return self.projection.hosts[host].entries[uuid_of(name)]

    @rule(host=HOSTS, name=NAMES, amount=AMOUNTS, kept=RULES, runs=st.booleans())
    def put_on(self, host, name, amount, kept, runs):
        if (host, name) in self.held:
            return
        self.number += 1
        allocations = (of(host, amount),)
        add_entry(
            self.projection,
            self.projection.hosts[host],
            Entry(
                uuid_of(name),
                uuid_of(name),
                "project",
                host,
                allocations,
                kept,
                uuid_of(f"claim {self.number}"),
                RUNNING if runs else CLAIMED,
                self.number,
                consumer_hash(uuid_of(name), allocations),
            ),
        )
        self.held[host, name] = (name, amount, kept, runs)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def take_off(self, data):
        host, name = data.draw(st.sampled_from(sorted(self.held)))
        remove_entry(self.projection, self.projection.hosts[host], self.entry(host, name))
        del self.held[host, name]

    @rule(host=HOSTS, name=NAMES, amount=AMOUNTS, kept=RULES)
    def start(self, host, name, amount, kept):
        noted = []
        mine = sorted(
            (key for key, one in self.held.items() if key[0] == host and one[0] == name), key=lambda key: key[1] != name
        )
        start(self.projection, self.projection.hosts[host], consumer(name, of(host, amount), rule=kept), 7, noted)
        if not mine:
            self.held[host, name] = (name, amount, kept, True)
            assert [one.kind for one in noted] == ["unclaimed-start"]
            return
        _, before, had, _ = self.held[mine[0]]
        self.held[mine[0]] = (name, amount, (had or kept) if before != amount else had, True)
        assert [one.kind for one in noted] == (["differs"] if before != amount else [])

    @precondition(lambda self: self.held)
    @rule(data=st.data(), back=st.booleans())
    def move(self, data, back):
        """To the migration's uuid, or back to the instance's."""
        host, name = data.draw(st.sampled_from(sorted(self.held)))
        instance, *_rest = self.held[host, name]
        to = instance if back else f"migration of {instance}"
        taken = any(other == to for _, other in self.held)
        entry = self.entry(host, name)
        self.number += 1
        noted = []
        event = builders.Voice("conductor/c").say(builders.moved(host, name, to))
        allocation_moved(self.projection, self.number, event, noted)
        assert bool(noted) == taken
        if not taken:
            self.held[host, to] = self.held.pop((host, name))
            assert self.entry(host, to) is entry

    @rule(asked=SOME_RULES, without_itself=st.booleans())
    def breach(self, asked, without_itself):
        """What the index says of one more member is what counting them all says."""
        mine = [one[2] for one in self.held.values() if one[2] and one[2].group_uuid == asked.group_uuid]
        others = [one for one in mine if not without_itself or one.partition != asked.partition]
        elsewhere = {one.domain for one in others if one.domain != asked.domain}
        partitions = {one.partition for one in mine if one.domain == asked.domain}
        broken = {
            "member": False,
            "together": bool(elsewhere),
            "spread": asked.partition not in partitions and len(partitions) >= asked.limit,
        }[asked.policy]
        assert (self.projection.groups.breach(asked, without_itself) is not None) == broken

    @invariant()
    def agrees_with_the_model(self):
        invariants.check(self.projection)
        found = {
            (host.name, uuid): (
                entry.instance_uuid,
                sum(allocation.amount for allocation in entry.allocations),
                entry.rule,
                entry.state is RUNNING,
            )
            for host in self.projection.hosts.values()
            for uuid, entry in host.entries.items()
        }
        assert found == {(host, uuid_of(name)): (uuid_of(one[0]), *one[1:]) for (host, name), one in self.held.items()}


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
