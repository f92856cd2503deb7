"""The agents of a simulated cloud: the real voices of their hosts, without their threads."""

from compute_agent.drivers.base import BuildRefused
from compute_agent.drivers.simulated import SimulatedDriver
from compute_agent.voice import HostVoice
from nova_sched.playground.simulation.nodes import Node
from nova_sched.playground.simulation.world import SimAppender
from rpc_api.feed.epoch import ensure_open
from rpc_api.feed.publisher import Producer

#: Seconds. All are short, so that each of them passes within a minute of simulated time.
BEAT = 1.0
CONFIRM = 4.0


class AgentNode(Node):
    """The agent of some hosts. Its drivers outlive it, as hypervisors do."""

    def __init__(self, cloud, name, cell, inventories):
        super().__init__(cloud, name)
        self.cell = cell
        self._inventories = inventories
        self.drivers = {
            host: SimulatedDriver(inventory, cloud.world.faults.failing_builds, cloud.seed)
            for host, inventory in inventories.items()
        }

    def begin(self):
        log = self.cloud.logs[self.cell]
        epoch = self._open(log)
        # It publishes for several hosts, so it has the account of its role.
        self.appender = SimAppender(self.world, self.guard, log, epoch, "compute_agent")
        self.voices = {
            host: HostVoice(
                host, driver, Producer(self.appender, f"compute_agent/{host}", self.clock), self.name, self.clock
            )
            for host, driver in self.drivers.items()
        }
        for voice in self.voices.values():
            voice.report()
        self.every(BEAT, self._beat)
        self.every(CONFIRM, lambda: [voice.confirm() for voice in self.voices.values()])

    def _open(self, log):
        log.look()
        opening = ensure_open(log.log, self.cell, f"compute_agent/{self.name}", self.clock, self.world.uuid)
        log.look()
        return opening.epoch

    def _beat(self):
        if self.appender.fault:
            self._open_again()
        for voice in self.voices.values():
            voice.report_change()
        for conductor in self.cloud.conductors_of(self.cell):
            self.world.send(conductor.hear, "beat", self.name, sorted(self.voices), self.appender.epoch)

    def _open_again(self):
        log = self.cloud.logs[self.cell]
        epoch = self._open(log)
        is_another = epoch != self.appender.epoch
        self.appender.use(log.log, epoch, self._begin_anew if is_another else lambda: None)
        if is_another:
            for voice in self.voices.values():
                voice.report()

    def _begin_anew(self):
        for voice in self.voices.values():
            voice.producer.begin_anew()
            voice.use_level(1)

    def lose_instances(self):
        """Reboot the machine: its instances are gone."""
        for driver in self.drivers.values():
            for consumer in driver.running():
                driver.destroy(consumer.instance_uuid)

    def change_inventory(self, chance):
        """Let a host report another provider, or another amount of VCPU, which may be none or a fault. It goes on to
        run its instances."""
        host = chance.choice(sorted(self.drivers))
        root, *children = self._inventories[host].providers
        change = chance.choice(("uuid", "class", "closed", "fault", "as it was"))
        if change == "uuid":
            root = root._replace(uuid=self.world.uuid())
        elif change == "class":
            root = root._replace(inventories=[own for own in root.inventories if own.resource_class != "VCPU"])
        elif change != "as it was":
            ratio = {"closed": 0.0, "fault": -1.0}[change]
            changed = [
                own._replace(allocation_ratio=ratio) if own.resource_class == "VCPU" else own
                for own in root.inventories
            ]
            root = root._replace(inventories=changed)
        self.drivers[host].offered = self._inventories[host]._replace(providers=(root, *children))

    def restore_inventories(self):
        """Let all hosts report what they had at first."""
        for host, inventory in self._inventories.items():
            self.drivers[host].offered = inventory

    def lie(self):
        """Run an instance without a claim, and report it."""
        chance = self.world.chance
        host = chance.choice(sorted(self.drivers))
        consumer = self.cloud.unclaimed(host, self.drivers[host].inventory())
        try:
            self.drivers[host].spawn(consumer)
        except BuildRefused:
            return
        self.voices[host].report()

    # --- calls -------------------------------------------------------------------------------------------------

    def build_instance(self, host, claim, answer):
        built, ticket = self.voices[host].build(claim)
        if ticket is None:
            answer(built)
        else:
            self.appender.when_durable(ticket, lambda: answer(built))

    def cancel_build(self, host, claim, answer):
        ticket = self.voices[host].cancel(claim.claim_uuid, claim.instance_uuid)
        if ticket is None:
            answer(True)
        else:
            self.appender.when_durable(ticket, lambda: answer(True))

    def delete(self, host, instance_uuid, claim_uuids):
        self.voices[host].delete(instance_uuid, claim_uuids)

    def use_level(self, cell, epoch, level):
        if epoch == self.appender.epoch:
            for voice in self.voices.values():
                voice.use_level(level)

    def report(self, host, epoch, after):
        voice, before = self.voices[host], self.appender.epoch
        if voice.producer.epoch < after:
            voice.begin_anew(after)
        if epoch != before:
            self._open_again()
        if self.appender.epoch == before:
            voice.report()
