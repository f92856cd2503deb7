"""Any course of events, valid and not, against a naive model: the fold and the model say the same at every step."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nova_sched.projection.digest import state_digest
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.projection import Projection
from rpc_api import codec, events
from tests import builders
from tests.builders import Cell, inventory_of, of, provider, report, tree, uuid_of
from tests.nova_sched.projection.model import Model

HOSTS = st.sampled_from(("a", "b", "c"))
INSTANCES = st.sampled_from(("vm-1", "vm-2", "vm-3", "vm-4"))
AMOUNTS = st.integers(1, 5)
ATTEMPTS = st.integers(1, 2)
SIZES = st.tuples(st.integers(0, 8), st.sampled_from((0.5, 1.0, 1.5, 2.0)))
GROUPS = st.none() | st.tuples(st.just("group"), st.sampled_from(("rack-1", "rack-2")), st.sampled_from(("p", "q")))


@st.composite
def uses(draw):
    """What is used: an amount of the root, and perhaps one of the child (the host's name is put in later)."""
    return {"": draw(AMOUNTS)} | draw(st.just({}) | st.fixed_dictionaries({"-numa": AMOUNTS}))


def on(host, wanted):
    return {host + suffix: amount for suffix, amount in wanted.items()}


def allocations(used):
    return [of(name, amount) for name, amount in used.items()]


class Machine(RuleBasedStateMachine):
    """Each rule appends one event and compares its result."""

    def __init__(self):
        super().__init__()
        self.cell = Cell(events.LogOpened("cell1", builders.EPOCH))
        self.model = Model()
        self.in_flight = InFlight(self.cell.projection.table)
        self.last = None

    def say(self, data):
        voice = self.cell.voice(builders.speaker_of(data))
        self.last = voice.say(data)
        return self.cell.append([self.last])

    # --- hosts -----------------------------------------------------------------------------------------------------

    @rule(
        host=HOSTS,
        size=SIZES,
        child=st.none() | SIZES,
        disabled=st.booleans(),
        runs=st.dictionaries(INSTANCES, uses(), max_size=3),
    )
    def report(self, host, size, child, disabled, runs):
        has = {host: size} | ({} if child is None else {host + "-numa": child})
        inventories = {name: [inventory_of("VCPU", total, ratio=ratio)] for name, (total, ratio) in has.items()}
        children = [provider(name, *its, parent=0) for name, its in inventories.items() if name != host]
        runs = {instance: on(host, wanted) for instance, wanted in runs.items()}
        self.said(
            report(
                host,
                *(builders.consumer(instance, *allocations(used)) for instance, used in runs.items()),
                inventory=tree(host, *children, inventories=inventories[host]),
                disabled=disabled,
            ),
            self.model.reported(host, has, disabled, runs),
        )

    def said(self, data, noted):
        outcome = self.say(data)
        assert set(outcome.split(", ")) == (noted or {"ok"}), outcome

    @rule(host=HOSTS)
    def lose(self, host):
        self.model.lost(host, True)
        assert self.say(events.HostLost(host, "silent")) == "ok"

    @rule(host=HOSTS)
    def see(self, host):
        self.model.lost(host, False)
        assert self.say(events.HostSeen(host)) == "ok"

    @rule(host=HOSTS)
    def remove(self, host):
        self.model.removed(host)
        assert self.say(events.HostRemoved(host, "gone")) == "ok"

    @rule()
    def pin(self):
        """The log gets level 2: use of what a host does not have counts on its root from here on."""
        assert self.say(events.LevelPinned(2)) == ("ok" if self.model.never_dropped else "pinned")
        self.model.never_dropped = True

    # --- claims ----------------------------------------------------------------------------------------------------

    @rule(host=HOSTS, name=INSTANCES, wanted=uses(), attempt=ATTEMPTS, group=GROUPS)
    def claim(self, host, name, wanted, attempt, group):
        wanted = on(host, wanted)
        free = {
            name: self.model.capacity(host, name) - self.model.used(host, name)
            for name in wanted
            if name in self.model.hosts.get(host, {"has": ()})["has"]
        }
        expected = self.model.claimed(host, name, wanted, attempt, group)
        data = self.proposal(host, name, wanted, attempt, group)
        outcome = self.say(data)
        self.in_flight.remove(data.claim_uuid)
        assert outcome.startswith(expected), (outcome, expected)
        if outcome == "accepted":
            assert all(amount <= free[name] for name, amount in wanted.items())

    @rule(host=HOSTS, name=INSTANCES, wanted=uses(), attempt=ATTEMPTS, group=GROUPS)
    def propose(self, host, name, wanted, attempt, group):
        """A claim is under way: it is held, and the log does not know it yet."""
        data = self.proposal(host, name, on(host, wanted), attempt, group)
        self.in_flight.remove(data.claim_uuid)
        self.in_flight.add(data)

    def proposal(self, host, name, wanted, attempt, group):
        kept = group and builders.rule(group[0], "spread", group[1], group[2], 1)
        return builders.claim(name, host, *allocations(wanted), attempt=attempt, rule=kept)

    @rule(name=INSTANCES, attempt=ATTEMPTS)
    def release(self, name, attempt):
        self.model.ended(name, attempt)
        assert self.say(builders.released(name, attempt)) == "ok"

    @rule(name=INSTANCES, attempt=ATTEMPTS)
    def expire(self, name, attempt):
        self.model.ended(name, attempt)
        assert self.say(builders.expired(name, attempt)) == "ok"

    @rule(host=HOSTS, name=INSTANCES, wanted=uses())
    def start(self, host, name, wanted):
        noted = self.model.started(host, name, on(host, wanted))
        self.said(builders.started(name, host, *allocations(on(host, wanted))), noted)

    @rule(host=HOSTS, name=INSTANCES)
    def delete(self, host, name):
        self.model.deleted(host, name)
        assert self.say(builders.deleted(name, host)) == "ok"

    @rule(host=HOSTS, name=INSTANCES, back=st.booleans())
    def move(self, host, name, back):
        pair = (f"migration of {name}", name) if back else (name, f"migration of {name}")
        # In place an instance would hold twice on one host, which the model does not know.
        if any(one["instance"] == name and consumer == pair[1] for (_, consumer), one in self.model.held.items()):
            return
        self.said(builders.moved(host, *pair), set() if self.model.moved(host, *pair) else {"not-moved"})

    # --- what changes nothing --------------------------------------------------------------------------------------

    @rule()
    def again(self):
        """The last event comes a second time, perhaps after its producer started again."""
        if self.last is not None:
            epoch = self.cell.projection.producers[self.last.producer][0]
            self.unchanged(self.last, "ok" if epoch == self.last.producer_epoch else "stale-epoch")

    @rule(host=HOSTS)
    def restart(self, host):
        """A host's agent starts again, and an event of its earlier incarnation comes late."""
        voice = self.cell.voice(f"compute_agent/{host}")
        late = builders.Voice(voice.name, voice.epoch)
        late.sequence = voice.sequence
        voice.restart()
        self.cell.append([voice.say(events.HostConfirmed(host, 0))])
        self.unchanged(late.say(events.HostRemoved(host, "late")), "stale-epoch")

    @rule(
        host=HOSTS,
        broken=st.sampled_from((b"", b"\xc1", tree("x")._replace(providers=()), tree("x", root="elsewhere"))),
    )
    def break_inventory(self, host, broken):
        self.cell.say(report("elsewhere"))
        voice = builders.Voice(f"compute_agent/{host}", epoch=2**40)
        self.unchanged(voice.say(report(host, inventory=broken, disabled=True)), "invalid")

    @rule(host=HOSTS, name=INSTANCES)
    def lie(self, host, name):
        """A producer without the right appends an event."""
        if host in self.model.hosts:
            self.unchanged(builders.Voice("compute_agent/stranger").say(builders.started(name, host)), "not-its-host")
        self.unchanged(builders.Voice("scheduler/stranger").say(builders.deleted(name, host)), "not-allowed")

    def unchanged(self, event, outcome):
        before = state_digest(self.cell.projection)
        assert self.cell.append([event]) == outcome
        assert state_digest(self.cell.projection) == before

    # --- at every step ---------------------------------------------------------------------------------------------

    @invariant()
    def agrees_with_the_model(self):
        """Holdings and use are the model's; that columns follow from them is checked by the cell at each event."""
        projection = self.cell.projection
        assert self.cell.holdings() == {
            (host, uuid_of(consumer)): "running" if one["runs"] else "claimed"
            for (host, consumer), one in self.model.held.items()
        }
        for host, known in self.model.hosts.items():
            for name in known["has"]:
                assert self.cell.used(name) == self.model.used(host, name)
                held = sum(
                    amount
                    for entry in self.in_flight.claims.values()
                    for uuid, _, amount in entry.allocations
                    if uuid == uuid_of(name)
                )
                assert self.cell.free(name) <= self.model.capacity(host, name) - self.model.used(host, name)
                assert self.cell.free(name) >= self.model.capacity(host, name) - self.model.used(host, name) - held
        assert set(projection.hosts) - {"elsewhere"} == set(self.model.hosts)

    def teardown(self):
        """Folded from scratch out of its bytes, in one batch, the log gives the same state."""
        again = Projection("cell1")
        again.fold(
            [
                (position, codec.decode_record(codec.encode_record(record.epoch, record.events, record.level)))
                for position, record in self.cell.records
            ]
        )
        assert state_digest(again) == state_digest(self.cell.projection)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
