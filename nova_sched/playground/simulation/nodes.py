"""The processes of a simulated cloud: the real engines and voices, without their threads.

A process has lives: after a crash the pending actions of its earlier life do not happen.
"""

import abc

from conductor.build import Call, Folded
from conductor.engine import CellEngine
from nova_sched.playground.simulation.world import SimCellLog, SimClock
from nova_sched.projection import snapshot
from nova_sched.scheduler.engine import CELL0, Ask, Engine
from rpc_api import errors, events

#: Seconds. All are short, so that each of them passes within a minute of simulated time.
TICK = 0.5
SNAPSHOT = 7.0
CHECKPOINT = 6.0
#: Parts of a checkpoint.
PARTS = 3
CLAIM_TIMEOUT = 10.0
CELL_DOWN_AFTER = 3.0
READ_BACK_TIMEOUT = 8.0
BUILD_TIMEOUT = 6.0
CANCEL_TIMEOUT = 4.0
SERVICE_DOWN = 5.0
REBASE_AFTER = 20.0
CLAIM_TTL = 15.0


class Node(abc.ABC):
    """A process that can crash and start again."""

    def __init__(self, cloud, name):
        self.cloud = cloud
        self.world = cloud.world
        self.name = name
        self.life = 0
        self.alive = False

    def guard(self, function):
        """Return a function that does nothing after the end of this life."""
        life = self.life

        def guarded(*arguments):
            if self.alive and self.life == life:
                function(*arguments)

        return guarded

    def start(self):
        if self.alive:
            return
        self.life += 1
        self.alive = True
        self.clock = SimClock(self.world, self.cloud.skew())
        self.begin()

    def crash(self):
        self.alive = False

    def every(self, seconds, function):
        """Call a function repeatedly in this life."""

        def again():
            if self.world.now >= self.world.silent_from:
                return
            function()
            self.world.at(seconds, self.guard(again))

        self.world.at(seconds * self.world.chance.random(), self.guard(again))

    @abc.abstractmethod
    def begin(self):
        """Begin a life."""

    def partition(self, seconds):
        """Stop reading for a while."""

    def lag(self, seconds):
        """Read one record after the other for a while, as if the log grew faster than it is folded."""


class SchedulerNode(Node):
    """A scheduler: an Engine over the logs of all cells and of cell0."""

    def begin(self):
        cloud = self.cloud
        self.engine = Engine(
            cloud.cells,
            cloud.policy,
            self.name,
            self._publish,
            self.world.uuid,
            self.clock,
            CLAIM_TIMEOUT,
            CELL_DOWN_AFTER,
            REBASE_AFTER,
            cloud.require_accounts,
            strict=True,
        )
        self._silent = set()
        self.logs = {}
        for cell, sim_log in cloud.logs.items():
            self.engine.states.expect(cell)
            self.logs[cell] = SimCellLog(
                self.world,
                self.guard,
                sim_log,
                self.name,
                self.clock,
                cloud.store,
                lambda beginning, cell=cell: self._on_begin(cell, beginning),
                lambda records, at_end, cell=cell: self._on_records(cell, records, at_end),
                lambda gap, cell=cell: self.engine.on_fault(cell, gap),
            )
        for log in self.logs.values():
            log.start()
        self.every(TICK, self._tick)
        self.every(SNAPSHOT, self._snapshot)
        self.every(CHECKPOINT, self._checkpoint)

    def _checkpoint(self):
        if not self.engine.states.is_behind(CELL0):
            keep_in_log(self.world, self.engine.world.projections[CELL0], lambda *data: self._publish(CELL0, *data))

    def _publish(self, cell, *data):
        producer = self.logs[cell].producer
        producer.level = self.engine.world.projections[cell].level
        producer.publish(*data)
        return producer.epoch, producer.sequence

    def _on_begin(self, cell, beginning):
        self._silent.add(cell)
        self.engine.on_begin(cell, beginning)
        self.engine.on_fault(cell, None)
        self._learn_to_speak(cell)

    def _on_records(self, cell, records, at_end):
        for part in self.cloud.checks.parts(cell, records):
            self.engine.on_records(cell, part, at_end)
            self._learn_to_speak(cell)
            self.cloud.checks.folded(self.name, cell, self.engine.world.projections[cell])

    def _learn_to_speak(self, cell):
        if cell in self._silent and not self.engine.states.is_behind(cell):
            self._silent.discard(cell)
            self.logs[cell].speak_after(self.engine.world.projections[cell].producers.get(self.name))

    def _tick(self):
        for cell, log in self.logs.items():
            self.engine.on_fault(cell, log.appender.fault, "append")
        for cell in self.engine.states.headless:
            self.logs[cell].look_for_snapshot()
        self.engine.on_tick()
        self.cloud.checks.no_faults(self.name, self.engine.counts)

    def _snapshot(self):
        if not self.engine.states.is_behind(CELL0):
            self.cloud.keep(snapshot.dump(self.engine.world.projections[CELL0]), CELL0)

    def partition(self, seconds):
        self.logs[self.world.chance.choice(sorted(self.logs))].partition(seconds)

    def lag(self, seconds):
        self.logs[self.world.chance.choice(sorted(self.logs))].lag(seconds)

    def select(self, request, instance_uuids, alternates, reply):
        """``select_destinations``: ``reply(selections or None)``."""
        if self.engine.states.is_behind(CELL0):
            reply(None)
            return
        ask = Ask(request, instance_uuids, alternates, self.clock.monotonic())

        def answered(future):
            # Checked now, raised a moment later, because a Future swallows what its callbacks raise.
            try:
                selections = None if future.exception() else future.result()
                if selections is not None:
                    self.world.at(0.0, self.cloud.checks.acknowledged(selections))
                reply(selections)
            except Exception as fault:
                self.world.at(0.0, self.cloud.checks.fault, fault)

        ask.future.add_done_callback(self.guard(answered))
        self.engine.on_ask(ask)

    def not_delivered(self, selections):
        """The caller of an answer is gone."""
        self.engine.on_not_delivered([(chosen[0].cell, chosen[0].claim_uuid) for chosen in selections])


class ConductorNode(Node):
    """The conductor of a cell: a CellEngine, whose builds are driven by messages."""

    def __init__(self, cloud, name, cell):
        super().__init__(cloud, name)
        self.cell = cell

    def begin(self):
        self.engine = CellEngine(
            self.cell, self.name, self._publish, SERVICE_DOWN, CLAIM_TTL, self.cloud.require_accounts
        )
        self._silent = True
        self.log = SimCellLog(
            self.world,
            self.guard,
            self.cloud.logs[self.cell],
            self.name,
            self.clock,
            self.cloud.store,
            self._on_begin,
            self._on_records,
            lambda gap: None,
        )
        self.log.start()
        self.every(TICK, self._tick)
        self.every(SNAPSHOT, self._snapshot)
        self.every(CHECKPOINT, self._checkpoint)

    def _checkpoint(self):
        if self.engine.is_current:
            keep_in_log(self.world, self.engine.projection, self._publish)

    def _tick(self):
        self.engine.on_tick(self.world.now)
        for server in self.engine.agents_to_tell(self.world.now):
            projection = self.engine.projection
            self.world.send(self.cloud.call, server, "use_level", self.cell, projection.epoch, projection.level)

    def _publish(self, *data):
        self.log.producer.level = self.engine.projection.level
        return self.log.producer.publish(*data)

    def _on_begin(self, beginning):
        self._silent = True
        self.engine.on_begin(beginning)
        self._learn_to_speak()

    def _learn_to_speak(self):
        if self._silent and self.engine.is_current:
            self._silent = False
            self.log.speak_after(self.engine.projection.producers.get(self.name))
        for host, server in self.engine.hosts_to_ask().items():
            self._ask_to_report(host, server)

    def _on_records(self, records, at_end):
        for part in self.cloud.checks.parts(self.cell, records):
            asked = self.engine.on_records(part, self.world.now)
            self._learn_to_speak()
            self.cloud.checks.folded(self.name, self.cell, self.engine.projection)
            for host, server in asked.items():
                if server:
                    self._ask_to_report(host, server)

    def _ask_to_report(self, host, server):
        projection = self.engine.projection
        after, _ = projection.producers.get(f"compute_agent/{host}", (0, 0))
        self.world.send(self.cloud.call, server, "report", host, projection.epoch, after)

    def _snapshot(self):
        if self.engine.is_current:
            self.cloud.keep(snapshot.dump(self.engine.projection), self.cell)

    def partition(self, seconds):
        self.log.partition(seconds)

    def lag(self, seconds):
        self.log.lag(seconds)

    def hear(self, method, *arguments):
        """Return a function that sends a message to the process that has this name at its arrival."""
        if self.alive:
            getattr(self, method)(*arguments)

    def beat(self, server, hosts, epoch):
        for host in self.engine.on_beat(server, hosts, epoch, self.world.now):
            self._ask_to_report(host, server)

    def delete(self, host, instance_uuid):
        server = self.engine.server_of(host)
        if server is not None:
            self.world.send(self.cloud.call, server, "delete", host, instance_uuid, self.engine.delete(instance_uuid))

    # --- builds ------------------------------------------------------------------------------------------------

    def build(self, request, reply):
        """Build an instance: ``reply(BuildOutcome)``."""
        if not self.engine.is_current:
            self.world.at(TICK, self.guard(self.build), request, reply)
            return
        self._go_on(self.engine.build(request), None, None, reply)

    def _go_on(self, steps, answer, fault, reply):
        try:
            step = steps.send(answer) if fault is None else steps.throw(fault)
        except StopIteration as end:
            reply(end.value)
            return
        resume = _Once(lambda answer, fault=None: self._go_on(steps, answer, fault, reply))
        if isinstance(step, Call):
            self._call(step, self.guard(resume))
        elif isinstance(step, Folded):
            if self.engine.projection.position >= step.position:
                self.world.at(0.0, self.guard(resume), None)
            else:
                self.engine.waiting.append((step.position, lambda: resume(None)))
                self._time_out(READ_BACK_TIMEOUT, resume, TimeoutError())
        else:
            self.engine.settled[step.claim_uuid] = resume
            self._time_out(READ_BACK_TIMEOUT, resume, TimeoutError())

    def _time_out(self, seconds, resume, fault):
        self.world.at(seconds, self.guard(resume), None, fault)

    def _call(self, step, resume):
        claim = step.claim
        timeout = BUILD_TIMEOUT if step.method == "build_instance" else CANCEL_TIMEOUT

        def answer(value):
            self.world.send(resume, value)

        self.world.send(self.cloud.call, step.server, step.method, claim.host, claim, answer)
        self._time_out(timeout, resume, errors.NoAnswer("simulated"))


def keep_in_log(world, projection, publish) -> None:
    """Write a checkpoint of a state into its log. Its parts come one by one, so a process may end between them."""
    if not projection.rules.one_ledger or projection.is_too_new:
        return
    packed, checkpoint = snapshot.dump(projection), world.uuid()
    size = -(-len(packed) // PARTS)
    contents = [packed[start : start + size] for start in range(0, len(packed), size)]
    for part, content in enumerate(contents):
        publish(events.StateKept(checkpoint, max(0, projection.position), part, len(contents), content))


class _Once:
    """A function that is called once: by the answer, or by an earlier timeout."""

    def __init__(self, function):
        self._function = function

    def __call__(self, *arguments):
        function, self._function = self._function, None
        if function is not None:
            function(*arguments)
