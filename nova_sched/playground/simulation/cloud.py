"""A simulated cloud, its run, and the outcome."""

import random
import uuid
from typing import NamedTuple

from compute_agent.drivers.simulated import inventory_of
from nova_sched.playground.simulation import forgery
from nova_sched.playground.simulation.agent_node import AgentNode
from nova_sched.playground.simulation.checks import Broken, Checks
from nova_sched.playground.simulation.client import Client
from nova_sched.playground.simulation.nodes import CLAIM_TTL, ConductorNode, SchedulerNode
from nova_sched.playground.simulation.script import NO_FAULTS, Faults, write
from nova_sched.playground.simulation.world import KeptSnapshots, SimClock, SimLog, World
from nova_sched.playground.simulation.writer_node import WriterNode
from nova_sched.process.cell_log import fitting, keep_newest
from nova_sched.process.checkpoints import newest_in
from nova_sched.projection.digest import state_digest
from nova_sched.projection.rules import rules_of
from nova_sched.scheduler.engine import CELL0
from nova_sched.selection.policy import DEFAULT_FILTERS, Policy
from rpc_api import codec, events
from rpc_api.errors import SnapshotMismatch
from rpc_api.levels import LEVEL
from rpc_api.proof import RECORDS

CELLS = ("cell1", "cell2")
HOSTS_AN_AGENT = 2
AGENTS_A_CELL = 2
SCHEDULERS = 2
CONDUCTORS_A_CELL = 2
WRITERS_A_CELL = 2
GROUPS = 12
#: Extra specs that distinguish simulated hosts.
WEIGHERS = tuple(
    (name, 1.0)
    for name in (
        "RAMWeigher",
        "CPUWeigher",
        "ServerGroupSoftAffinityWeigher",
        "ServerGroupSoftAntiAffinityWeigher",
        "PCIWeigher",
    )
)
#: Simulated seconds after the last action in which everything must come to rest.
QUIET = 3 * CLAIM_TTL
#: The last of these seconds, in which no process publishes anything.
SILENCE = 3.0


class Outcome(NamedTuple):
    """The outcome of a run: ``fault`` is None, or the invariant that did not hold after ``steps`` steps at
    ``seconds``."""

    seed: int
    fault: str | None
    steps: int
    seconds: float
    counts: dict
    digest: str


class SimCloud:
    """Two cells of four hosts each, two conductors and two workers of Placement's API per cell, two schedulers, and a
    client."""

    def __init__(self, seed: int, faults: Faults):
        self.seed = seed
        self.world = World(seed, faults)
        self.cells = CELLS
        self.policy = Policy(
            enabled_filters=(*DEFAULT_FILTERS, "NUMATopologyFilter", "PciPassthroughFilter"), weighers=WEIGHERS
        )
        #: ``[cells] require_accounts``: half of the clouds require accounts.
        self.require_accounts = random.Random(f"accounts {seed}").choice((True, None))
        self.store = KeptSnapshots()
        self.checks = Checks((CELL0, *CELLS))
        self.logs = {
            cell: SimLog(cell, self.checks.record, self.checks.begun, self.checks.lost, bool(self.require_accounts))
            for cell in (CELL0, *CELLS)
        }
        self.schedulers = [SchedulerNode(self, f"scheduler/s{number}") for number in range(SCHEDULERS)]
        self.conductors = [
            ConductorNode(self, f"conductor/{cell}-{number}", cell)
            for cell in CELLS
            for number in range(CONDUCTORS_A_CELL)
        ]
        self.agents = []
        for cell in CELLS:
            for number in range(AGENTS_A_CELL):
                hosts = [f"{cell}-host{number * HOSTS_AN_AGENT + index}" for index in range(HOSTS_AN_AGENT)]
                self.agents.append(
                    AgentNode(self, f"agent-{cell}-{number}", cell, {host: _inventory(host, number) for host in hosts})
                )
        self.client = Client(self)
        self.writers = [
            WriterNode(self, f"placement/{cell}-{number}", cell) for cell in CELLS for number in range(WRITERS_A_CELL)
        ]
        self.nodes = [*self.schedulers, *self.conductors, *self.agents, *self.writers]
        self._agents = {agent.name: agent for agent in self.agents}
        for node in self.nodes:
            self.world.at(self.world.chance.random(), node.start)
        if random.Random(f"level {seed}").random() < 0.5:
            # Half of the clouds are new ones, of the newest level; the others are pinned later, or never.
            for cell in self.logs:
                self.world.at(1.5, self.pin, cell, LEVEL)

    def close(self):
        for log in self.logs.values():
            log.close()

    # --- what the processes need ---------------------------------------------------------------------------------

    def skew(self):
        """Return the error of the clock of a process that starts, in seconds."""
        chance = self.world.chance
        return chance.uniform(-300.0, 300.0) if chance.random() < self.world.faults.skewed else 0.0

    def conductors_of(self, cell):
        return [conductor for conductor in self.conductors if conductor.cell == cell]

    def call(self, server, method, host, *arguments):
        """Deliver a call from an agent's queue; it is lost while the agent is down."""
        agent = self._agents[server]
        if agent.alive:
            getattr(agent, method)(host, *arguments)

    def keep(self, packed, cell):
        if self.world.chance.random() < self.world.faults.torn:
            self.store.save(cell, packed[: self.world.chance.randrange(len(packed))])
        elif not self.world.lost():
            try:
                keep_newest(self.store, cell, packed, self.logs[cell].log)
            except SnapshotMismatch:
                pass  # it has records that the log lost; the process will notice that

    def claim_of(self, placed, request):
        """Return the ClaimProposed of a placement, as rpc_api.contracts.selections makes it."""
        return events.ClaimProposed(
            placed.claim_uuid or self.world.uuid(),
            placed.instance_uuid,
            placed.instance_uuid,
            request.request_id,
            request.project_id,
            placed.host,
            placed.allocations,
            placed.rule,
            False,
            placed.guest,
            user_id=placed.user_id,
        )

    def unclaimed(self, host, inventory):
        """Return a consumer without a claim."""
        root = inventory.providers[0].uuid
        return events.Consumer(self.world.uuid(), "stranger", (events.Allocation(root, "VCPU", 1),), None)

    # --- what is done to it --------------------------------------------------------------------------------------

    def do(self, stimulus):
        """Do one action of a script."""
        chance = random.Random(stimulus.seed)
        if stimulus.kind == "ask":
            request, instances = asked(chance, stimulus.seed)
            self.client.ask(request, instances, 2)
        elif stimulus.kind == "delete":
            self.client.delete_one()
        elif stimulus.kind.startswith("crash"):
            nodes = {
                "scheduler": self.schedulers,
                "conductor": self.conductors,
                "agent": self.agents,
                "writer": self.writers,
            }
            node = chance.choice(nodes[stimulus.kind.partition(" ")[2]])
            node.crash()
            self.world.at(chance.uniform(0.1, 12.0), node.start)
        elif stimulus.kind == "partition":
            node = chance.choice([*self.schedulers, *self.conductors, *self.writers])
            if node.alive:
                node.partition(chance.uniform(0.5, 15.0))
        elif stimulus.kind == "lag":
            node = chance.choice([*self.schedulers, *self.conductors, *self.writers])
            if node.alive:
                node.lag(chance.uniform(2.0, 15.0))
        elif stimulus.kind == "truncate":
            cell = chance.choice(list(self.logs))
            self.logs[cell].truncate(chance.choice((0, 1, 5, 50, 200)), self._covered(cell))
        elif stimulus.kind == "lose tail":
            self._lose_tail(chance.choice(list(self.logs)), chance.choice((1, 2, 5, 10, 30, 100)))
        elif stimulus.kind == "lose snapshots":
            self._lose_snapshots()
        elif stimulus.kind == "re-create":
            self.logs[chance.choice(list(self.logs))].re_create()
        elif stimulus.kind == "pin":
            level = chance.randint(2, LEVEL)
            for cell in self.cells if chance.random() < 0.5 else (*self.cells, CELL0):
                self.pin(cell, level)
        elif stimulus.kind == "forge":
            self._forge(chance, chance.choice(list(self.logs)))
        else:
            agent = chance.choice(self.agents)
            if stimulus.kind == "reboot":
                agent.crash()
                agent.lose_instances()
                self.world.at(chance.uniform(0.1, 5.0), agent.start)
            elif stimulus.kind == "change inventory":
                agent.change_inventory(chance)
            elif agent.alive:
                agent.lie()

    def _checkpoint(self, cell):
        """The newest checkpoint of a log; None if it has none."""
        oracle = self.checks.oracles[cell]
        if oracle.epoch is None:
            return None
        log = self.logs[cell]
        return newest_in(log.log, cell, oracle.epoch, False, accounts_required=log.accounts_required).checkpoint

    def _covered(self, cell):
        """The first position that must stay in a log, as ``nova-sched trim`` has it; None for any."""
        if not self.checks.oracles[cell].rules.one_ledger:
            return None
        checkpoint = self._checkpoint(cell)
        return 0 if checkpoint is None else checkpoint.position - RECORDS + 1

    def _lose_tail(self, cell, count):
        """A power cut: the last records are lost. A log at level 3 whose first records are gone does not lose its
        newest checkpoint, which is far inside the log of a real cloud."""
        log, keep = self.logs[cell], -1
        if self.checks.oracles[cell].rules.one_ledger and log.log.bounds().first > 0:
            checkpoint = self._checkpoint(cell)
            if checkpoint is None:
                return
            keep = checkpoint.last
        log.lose_tail(count, keep)

    def _lose_snapshots(self):
        """The snapshot store is empty, except for logs at level 3 whose first checkpoint is not written yet."""
        for cell, oracle in self.checks.oracles.items():
            if (
                not oracle.rules.one_ledger
                or self.logs[cell].log.bounds().first == 0
                or self._checkpoint(cell) is not None
            ):
                for level in range(1, LEVEL + 1):
                    self.store.kept.pop(cell if level == 1 else f"{cell}@{level}", None)

    def _is_known(self, cell):
        """Whether a reader that starts now gets the state of a log."""
        oracle, log = self.checks.oracles[cell], self.logs[cell].log
        return log.bounds().first == 0 or fitting(self.store, cell, oracle.epoch, log, False)[0] is not None

    def pin(self, cell, level):
        """Pin a log, as ``nova-sched pin`` does: it needs its state."""
        oracle = self.checks.oracles[cell]
        if oracle.epoch is not None and self._is_known(cell):
            now = SimClock(self.world, 0.0).now_ns()
            pinned = codec.make_event(events.LevelPinned(level), "operator/pin", now, 1, now)
            self.logs[cell].append([codec.encode_record(oracle.epoch, [pinned], oracle.level)], "operator.pin")
            self.logs[cell].is_record |= rules_of(level).one_ledger
            self.checks.counts["pins"] += 1

    def _forge(self, chance, cell):
        oracle = self.checks.oracles[cell]
        if oracle.epoch is not None:
            with self.checks.unchanged(oracle):
                self.logs[cell].append([forgery.record(chance, oracle)], chance.choice(forgery.ACCOUNTS))

    def repair(self):
        """End all faults, and start all processes."""
        self.world.faults = NO_FAULTS
        for agent in self.agents:
            agent.restore_inventories()
        for node in self.nodes:
            node.start()


def _inventory(host, number):
    """Every second agent's hosts have two NUMA nodes and a PCI device on one of them."""
    inventory = inventory_of(host, 8, 8192, 100)
    if number % 2:
        return inventory
    cells = tuple(
        events.HostNUMACell(
            cell,
            cell,
            (),
            tuple(range(4 * cell, 4 * cell + 4)),
            ((4 * cell, 4 * cell + 1), (4 * cell + 2, 4 * cell + 3)),
            4096,
            (events.HostPages(4, 2**20, 0), events.HostPages(2048, 512, 0)),
        )
        for cell in (0, 1)
    )
    return inventory._replace(
        numa_cells=cells, pci_pools=(events.PCIPool("8086", "1520", 0, {"dev_type": "type-PCI"}, 2),)
    )


def asked(chance, number):
    """Return a SchedulingRequest, and the uuids of its instances."""
    vcpus = chance.choice((1, 1, 2, 2, 3, 4))
    amounts = (events.ResourceAmount("MEMORY_MB", 256 * vcpus), events.ResourceAmount("VCPU", vcpus))
    groups = (events.ResourceGroup("", amounts, (), (), (), (), (), None),)
    group = None
    if chance.random() < 0.4:
        which = chance.randrange(GROUPS)
        policy = ("anti-affinity", "affinity", "soft-anti-affinity")[which % 3]
        group = events.ServerGroupRequest(str(uuid.UUID(int=which + 1, version=4)), policy, 1, "host", None, (), ())
    instances = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(chance.choice((1, 1, 1, 2, 3)))]
    return events.SchedulingRequest(
        f"req-{number}",
        "project",
        "simulated",
        {},
        {},
        groups,
        "",
        (),
        (),
        (),
        None,
        (),
        (),
        (),
        None,
        None,
        None,
        group,
        False,
        # (A request of an old server has no user.)
        "user" if number % 4 else None,
        **_devices_asked(chance, vcpus),
    ), instances


def _devices_asked(chance, vcpus):
    """Give every fourth request dedicated CPUs, pages of some size, or a PCI device."""
    if chance.random() < 0.75:
        return {}
    wanted = {}
    if chance.random() < 0.7:
        cell = events.NUMACellRequest(
            0,
            (),
            tuple(range(vcpus)),
            256 * vcpus,
            chance.choice((None, 4, 2048)),
            "dedicated",
            chance.choice((None, "prefer", "isolate")),
            0,
        )
        wanted["numa"] = events.NUMARequest((cell,), None, (), False)
    if not wanted or chance.random() < 0.5:
        wanted["pci"] = (
            events.PCIRequest(
                1,
                ({"vendor_id": "8086", "product_id": "1520"},),
                "nic",
                None,
                None,
                chance.choice(("legacy", "preferred")),
            ),
        )
    return wanted


def run(seed: int, steps: int, faults: Faults = Faults(), script=None) -> Outcome:
    """Run one simulation to its end, or to a broken invariant."""
    script = write(seed, steps, faults) if script is None else script
    cloud = SimCloud(seed, faults)
    world, fault = cloud.world, None
    for stimulus in script:
        world.at(stimulus.at, cloud.do, stimulus)
    end = (script[-1].at if script else 0.0) + 1.0
    world.at(end, cloud.repair)
    world.silent_from = end + QUIET - SILENCE
    try:
        while world.now < end + QUIET and world.step():
            pass
        cloud.checks.quiet(cloud)
    except Broken as broken:
        fault = str(broken)
    finally:
        cloud.close()
    digest = " ".join(state_digest(oracle)[:8] for oracle in cloud.checks.oracles.values())
    return Outcome(seed, fault, world.steps, world.now, dict(cloud.checks.counts), digest)
