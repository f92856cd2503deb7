"""What has more to do with a log than to fold it: the services' engines, and the operator's tools."""

import itertools
import json

from conductor.engine import CellEngine
from nova_sched.cli import event_text
from nova_sched.projection.beginning import Beginning
from nova_sched.replay.decisions import explanation
from nova_sched.replay.decisions.policies import PolicyBook
from nova_sched.replay.decisions.recorded import find
from nova_sched.replay.health.quarantine import CODES, set_aside
from nova_sched.replay.logs.source import Source
from nova_sched.replay.state.history import History
from nova_sched.replay.verify.audit import Audit
from nova_sched.replay.verify.decisions import replay
from nova_sched.replay.verify.laws import fold_all
from nova_sched.scheduler.engine import CELL0
from rpc_api import codec, errors, events
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests import builders, engines, invariants
from tests.fuzz import mutation
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import Target, decoded, hold


class Cloud(Target):
    """Records of a cloud of its own (``own``) come back damaged, doubled and in the wrong log,
    beside those of others."""

    def __init__(self, rng, *cells):
        super().__init__(rng)
        self.cloud = engines.TinyCloud(cells)
        self.own = []

    def know_own(self):
        """Take what the logs hold now for what is to be damaged."""
        self.own = [payload for log in self.cloud.logs.values() for payload in log]
        self.mutator = Mutator(self.rng, mutation.leaves([mutation.thaw(one) for one in self.own]))

    def make(self):
        if self.rng.random() < 0.5:
            return super().make()
        own = self.rng.choice(self.own)
        chance = self.rng.random()
        if chance < 0.3:
            return own
        if chance < 0.9:
            return mutation.pack(self.mutator.changed(mutation.thaw(own), self.rng.choice((1, 1, 3))))
        return self.mutator.damaged(own, self.rng.choice(self.records))


class Engines(Cloud):
    """A scheduler with requests under way and a cell conductor: no fault, every request answered,
    nothing stays held."""

    EPISODE = 60

    def __init__(self, rng):
        super().__init__(rng, "cell1", "cell2")
        for cell, hosts in (("cell1", "ab"), ("cell2", "cd")):
            for host in hosts:
                self.cloud.host(host, cell, vcpus=8)
        self.cloud.append("cell1", "compute_agent/host-1", self._data("HostReported"))
        self.scheduler = self.cloud.engine("one")
        self.conductor = CellEngine(
            "cell1", "conductor/cell1", lambda *data: self.cloud.append("cell1", "conductor/cell1", *data), 60.0, 60.0
        )
        self.conductor.on_begin(Beginning(None, 0, 0, True, False))
        self.read = 0
        self.asks = []
        for number in range(4):
            self._ask(f"vm-{number}")
        self.know_own()

    def _data(self, wanted):
        name, values, _ = next(event for event in self.events[LEVEL] if event[0] == wanted)
        return events.TABLE[name].Frozen._make(values)

    def _ask(self, name):
        group = self.rng.choice(
            (
                None,
                builders.server_group("affinity"),
                builders.server_group("anti-affinity"),
                builders.server_group("soft-affinity"),
            )
        )
        self.asks.append(self.cloud.ask(self.scheduler, name, f"{name}-b", group=group, alternates=2))

    def feed(self, payload):
        cell = (CELL0, "cell1", "cell1", "cell2")[len(payload) % 4]
        self.cloud.logs[cell].append(payload)
        self.cloud.deliver("one", cell)
        self._conduct()

    def _conduct(self):
        log = self.cloud.logs["cell1"]
        while self.read < len(log):
            self.conductor.on_records([(self.read, decoded(log[self.read]))], float(self.read))
            self.read += 1

    def settle(self):
        self.cloud.clock.seconds += 1.0
        self._ask("late")
        self.cloud.settle()
        self.cloud.clock.seconds += 100.0
        self.scheduler.on_tick()
        self.conductor.on_tick(self.cloud.clock.seconds)
        self.conductor.on_tick(self.cloud.clock.seconds + 100.0)
        self.cloud.settle()
        self._conduct()
        for ask in self.asks:
            hold(ask.future.done(), "a request without an answer", ask.request.request_id)
            fault = ask.future.exception()
            hold(fault is None or isinstance(fault, errors.NovaSchedError), "an answer of another kind", fault)
            hold("fault of the scheduler" not in str(fault), "a fault of the scheduler", fault)
        for projection in (*self.scheduler.world.projections.values(), self.conductor.projection):
            invariants.check(projection)
        hold(
            not self.scheduler.world.table.held.any() and not self.scheduler.world.in_flight.claims,
            "claims stay held",
            self.scheduler.world.in_flight.claims,
            self.scheduler.claims.unfinished(),
            [(cell, one.producers.get("scheduler/one")) for cell, one in self.scheduler.world.projections.items()],
        )
        hold(
            self.conductor.projection.position == self.scheduler.world.projections["cell1"].position,
            "not all is folded",
        )


class Tools(Cloud):
    """tail, explain and replay read every log to its end."""

    EPISODE = 20
    names = itertools.count()

    def __init__(self, rng):
        super().__init__(rng, "cell1")
        cloud = self.cloud
        cloud.host("a")
        cloud.host("b")
        engine = cloud.engine("one")
        engine.publish_policy()
        for name in ("vm-1", "vm-2"):
            cloud.ask(engine, name, alternates=1)
        cloud.settle()
        self.know_own()
        self.logs = {cell: open_log(f"memory://tools-{next(self.names)}") for cell in cloud.logs}
        for cell, log in self.logs.items():
            log.append(cloud.logs[cell])

    def feed(self, payload):
        if not payload:
            return
        self.logs[self.rng.choice(sorted(self.logs))].append([payload])
        for index, event in enumerate(codec.decode_record(payload).events):
            line = event_text.as_line("cell1", 0, index, event)
            hold(line.isprintable(), "a line that is not one", line)
            json.dumps(event_text.as_json("cell1", 0, index, event))

    def settle(self):
        for cell, log in self.logs.items():
            for one in set_aside(cell, log):
                hold(one.code in CODES, "a code that is not among those", one)
        source = Source([f"{cell}={log.url}" for cell, log in self.logs.items()])
        found = {one.recorded.key: one for one in replay(self.logs)}
        hold(all(one.same or one.difference.text for one in found.values()), "a difference without words")
        policies = PolicyBook()
        for instance in sorted({one.recorded.decision.instance_uuid for one in found.values()})[:4]:
            decisions = find(source, instance, policies)
            facts = explanation.facts_of(History(self.logs), policies, instance, decisions, decisions[-1])
            hold(facts["summary"].isprintable() and facts["end"]["code"], "no end", facts)
        for cell in self.logs:
            try:
                fold_all(History(self.logs), cell, audit=Audit())
            except errors.LogGap as gap:
                hold(str(gap), "a gap without words")
        for log in self.logs.values():
            log.delete()
