"""Play a scenario file: write its providers to a new log, decide its requests one after the other, claim, and compare.

The log is at the newest level, and what it holds are writes of Placement's API: so the example of a file is also one of
what a cloud's services write. Nothing is drawn and no time is read, so a scenario always gives the same.
"""

import uuid
from dataclasses import dataclass

from nova_sched.playground.scenario_file import ProviderPart, RequestPart, Scenario
from nova_sched.playground.specs import bare_spec, flavor_of
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.projection.world import World
from nova_sched.request.from_spec import request_from
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.decide import claim_of, decide
from nova_sched.selection.policy import Policy
from rpc_api import codec, errors, events
from rpc_api.feed.epoch import open_at_level
from rpc_api.levels import LEVEL, pack_oldest
from rpc_api.log.port import EventLog
from rpc_api.packing import pack

NAMESPACE = uuid.UUID("3f0f6f1e-6c1b-4d53-9f0a-0d1f6b7f5a11")
CELL = "cell1"
PROJECT = "scenario"
AT_NS = 1_760_000_000_000_000_000
REQUEST = ("req-scenario", PROJECT)
MAX_UNIT = 2**31 - 1


@dataclass
class Played:
    """The result of one request of a file: the ``host`` and what is allocated there (provider -> class -> amount), or
    the summary of the decision why there is ``none``; ``fault`` says how this differs from the file, or is empty."""

    request: RequestPart
    host: str | None
    allocations: dict[str, dict[str, int]]
    none: str
    fault: str


def play_scenario(scenario: Scenario, log: EventLog) -> list[Played]:
    """Write a scenario to an empty log, and play its requests. Raises UsageError if its providers make no sense."""
    return _Stage(log).play(scenario)


def uuid_of(name: str) -> str:
    """The uuid of a provider, consumer or aggregate of a scenario."""
    return str(uuid.uuid5(NAMESPACE, name))


class _Stage:
    """A log, and the world that it adds up to."""

    def __init__(self, log):
        self._log = log
        opening, is_new = open_at_level(log, CELL, "operator/scenario", LEVEL)
        if not is_new:
            raise errors.UsageError(f"the log {log.url} exists; name another --out or --log")
        self._epoch = opening.epoch
        table = HostTable()
        self._projection = Projection(CELL, table)
        self._projection.writes = []
        self._world = World(table, {CELL: self._projection}, InFlight(table))
        self._sequences = {}
        self._names = {}
        with log.read_from(0) as reader:
            for record in reader.read():
                self._projection.fold([(record.position, codec.decode_record(record.payload))])

    def _say(self, producer, data):
        """Append one event and fold it; returns its outcomes."""
        sequence = self._sequences[producer] = self._sequences.get(producer, 0) + 1
        event = codec.make_event(data, producer, 1, sequence, AT_NS)
        payload = codec.encode_record(self._epoch, [event], LEVEL)
        self._log.append([payload])
        position = self._projection.position + 1
        outcomes, _ = self._projection.fold([(position, codec.decode_record(payload))])
        return outcomes

    def _write(self, data):
        self._say("placement/scenario", data)
        if self._projection.quarantine:
            raise errors.UsageError(f"the scenario is refused: {self._projection.quarantine[-1].reason}")
        reason = self._projection.writes[-1].reason
        if reason is not None:
            raise errors.UsageError(f"the scenario is refused: {self._named(str(reason))}; fix the file")

    def _named(self, text):
        for name in self._names:
            text = text.replace(uuid_of(name), name)
        return text

    def play(self, scenario):
        for name in scenario.classes:
            self._write(events.ClassCreated(name, *REQUEST))
        for name in scenario.traits:
            self._write(events.TraitCreated(name, *REQUEST))
        for part in (*scenario.providers, *scenario.hosts):
            self._provide(part, None)
        for part in scenario.hosts:
            self._say("conductor/scenario", _facts_of(part))
        for name, allocations in scenario.consumers.items():
            self._names[name] = None
            self._write(events.AllocationsPut((_put_of(name, allocations),), *REQUEST))
        chain = FilterChain(self._world.table, Policy())
        return [self._request(chain, part) for part in scenario.requests]

    def _provide(self, part: ProviderPart, parent):
        self._names[part.name] = None
        provider_uuid = uuid_of(part.name)
        self._write(events.ProviderCreated(provider_uuid, part.name, parent, *REQUEST))
        inventories = tuple(_inventory_of(name, values) for name, values in part.inventories.items())
        if inventories:
            self._write(events.InventoriesPut(provider_uuid, None, "all", inventories, *REQUEST))
        if part.traits:
            self._write(events.TraitsPut(provider_uuid, None, tuple(part.traits), *REQUEST))
        if part.aggregates:
            self._write(events.AggregatesPut(provider_uuid, None, tuple(map(uuid_of, part.aggregates)), *REQUEST))
        for child in part.children:
            self._provide(child, provider_uuid)

    def _request(self, chain, part: RequestPart):
        for number in range(part.count):
            name = f"{part.name} {number + 1}" if part.count > 1 else part.name
            played = self._decide(chain, part, name)
        return played

    def _decide(self, chain, part, name):
        instance_uuid = uuid_of(name)
        spec = bare_spec(instance_uuid, PROJECT, _flavor_of(part))
        request = request_from(spec, f"req-{instance_uuid}", [instance_uuid])
        decision = decide(self._world, chain, request, instance_uuid, Policy(), 0)
        if not decision.candidates:
            return Played(part, None, {}, decision.summary, _fault_of(part, None, {}, decision.summary))
        chosen = decision.candidates[0]
        claim = claim_of(uuid_of(f"claim of {name}"), instance_uuid, request, chosen)
        (outcome,) = self._say("scheduler/scenario", claim)
        if outcome.reason is not None:
            raise errors.NovaSchedError(f"the claim of {name} on {chosen.host} is refused: {outcome.reason}")
        allocations = {}
        for provider_uuid, resource_class, amount in claim.allocations:
            row = self._world.table.row_of_uuid[provider_uuid]
            allocations.setdefault(self._world.table.provider_names[row], {})[resource_class] = amount
        return Played(part, chosen.host, allocations, "", _fault_of(part, chosen.host, allocations, ""))


def _facts_of(part):
    """The report of a host whose providers are those of the API."""
    inventory = events.HostInventory(
        part.name, None, None, "QEMU", 9_000_000, "{}", (), {}, (), root_uuid=uuid_of(part.name), authority="nova"
    )
    status = events.HostStatus(False, None, False, 0, 0, {})
    return events.HostReported(part.name, part.name, pack_oldest(inventory), status, pack(events.HostConsumers(())), 0)


def _inventory_of(name, values):
    total = int(values["total"])
    return events.Inventory(
        name,
        total,
        int(values.get("reserved", 0)),
        int(values.get("min_unit", 1)),
        int(values.get("max_unit", MAX_UNIT)),
        int(values.get("step_size", 1)),
        float(values.get("allocation_ratio", 1.0)),
    )


def _put_of(name, allocations):
    held = tuple(
        events.Allocation(uuid_of(provider), resource_class, amount)
        for provider, of in allocations.items()
        for resource_class, amount in of.items()
    )
    return events.ConsumerPut(uuid_of(name), True, None, PROJECT, PROJECT, None, held)


def _flavor_of(part):
    flavor = part.flavor
    extra_specs = {str(key): str(value) for key, value in (flavor.get("extra_specs") or {}).items()}
    # What a flavor does not name it does not ask for: a node or an accelerator is one unit of its own class.
    for key, resource_class in (("vcpus", "VCPU"), ("ram_mb", "MEMORY_MB"), ("disk_gb", "DISK_GB")):
        if key not in flavor:
            extra_specs.setdefault(f"resources:{resource_class}", "0")
    return flavor_of(
        part.name, int(flavor.get("vcpus", 1)), int(flavor.get("ram_mb", 1)), int(flavor.get("disk_gb", 0)), extra_specs
    )


def _fault_of(part, host, allocations, none):
    """How a result differs from what the file says; empty if it does not."""
    if part.refused is not None:
        if host is not None:
            return f"it went to {host}, wanted no host"
        return "" if part.refused in none else f"the reason is {none!r}, wanted {part.refused!r} in it"
    if host is None:
        return f"it found no host: {none}"
    if part.host is not None and host != part.host:
        return f"it went to {host}, wanted {part.host}"
    if part.allocations is not None and allocations != part.allocations:
        return f"it holds {allocations}, wanted {part.allocations}"
    return ""
