"""Random writes of several clients to a small world of providers and consumers, from a seed.

A write is one of our events, with what its request needs beside: the microversion, and whether a single consumer is
written with POST. Each client remembers the generations that it read last, and does not read before each write.

Hosts whose authority is Nova come to roots and leave them meanwhile. Only our fold knows of them, and nothing that a
client of the API can read may change by that.
"""

import random
from typing import NamedTuple

from rpc_api import events
from tests.builders import REQUEST, facts_of, uuid_of

PROVIDERS = [uuid_of(f"provider {number}") for number in range(20)]
NAMES = [f"name-{number}" for number in range(24)]
AGGREGATES = [uuid_of(f"aggregate {number}") for number in range(3)]
INSTANCES = [uuid_of(f"instance {number}") for number in range(14)]
MIGRATIONS = [uuid_of(f"migration {number}") for number in range(6)]
NOBODY = uuid_of("a provider that is never created")
CLASSES = ["VCPU", "MEMORY_MB", "DISK_GB"]
CUSTOM_CLASSES = ["CUSTOM_A", "CUSTOM_B", "CUSTOM_C"]
TRAITS = ["HW_CPU_X86_AVX", "STORAGE_DISK_SSD", "MISC_SHARES_VIA_AGGREGATE", "COMPUTE_STATUS_DISABLED"]
CUSTOM_TRAITS = ["CUSTOM_GOLD", "CUSTOM_SILVER", "CUSTOM_IRON"]
HOSTS = ["h1", "h2", "h3", "h4"]
RATIOS = (1.0, 1.0, 1.0, 1.5, 2.0, 16.0, 0.5, 0.33, 0.1, 1.1, 0.0, -0.05)
PROJECTS, USERS, TYPES = ("p1", "p2"), ("u1", "u2"), ("INSTANCE", "MIGRATION")
CLIENTS, DEEPEST, MAX_TREE, MAX_TREES = 4, 3, 4, 7
#: Kinds of writes, the names of methods of :class:`Writer`, and how often each comes.
WEIGHTS = {
    "create": 8,
    "change": 6,
    "delete": 4,
    "set_inventories": 13,
    "add_inventory": 5,
    "change_inventory": 6,
    "remove_inventory": 3,
    "set_traits": 5,
    "set_aggregates": 5,
    "put": 26,
    "put_many": 6,
    "move": 6,
    "double": 5,
    "wipe": 5,
    "drop": 3,
    "reshape": 5,
    "create_class": 3,
    "rename_class": 1,
    "delete_class": 1,
    "create_trait": 2,
    "delete_trait": 1,
    "report_host": 3,
    "remove_host": 1,
}


class Write(NamedTuple):
    """An event, and what its request needs beside."""

    event: object
    version: str = "1.39"
    #: Whether a single consumer is written with POST.
    post: bool = False


class Client:
    """The generations that one client read last."""

    def __init__(self):
        self.providers, self.consumers, self.held = {}, {}, {}

    def read(self, state):
        self.providers = {uuid: facts["generation"] for uuid, facts in state["providers"].items()}
        self.consumers = {uuid: facts["generation"] for uuid, facts in state["consumers"].items()}
        self.held = {uuid: facts["allocations"] for uuid, facts in state["consumers"].items()}


class Writer:
    """Draws writes. ``state`` is what the world holds, as :func:`tests.against_nova.ledger_answers.state_of` makes it:
    the writes are drawn so that many of them are accepted."""

    def __init__(self, seed):
        self.draw = random.Random(seed)
        self.clients = [Client() for _ in range(CLIENTS)]
        self.client, self.state = self.clients[0], None

    def write(self, state):
        """The next write."""
        self.state, self.client = state, self.draw.choice(self.clients)
        if self.chance(0.8):
            self.client.read(state)
        while True:
            (kind,) = self.draw.choices(list(WEIGHTS), list(WEIGHTS.values()))
            write = getattr(self, kind)()
            if write is not None:
                return write

    def chance(self, probability):
        return self.draw.random() < probability

    # --- what is there ---

    def provider(self, having=None):
        """A provider: one that is there, or seldom any; ``having`` is a part of its facts that must not be empty."""
        known = [uuid for uuid, facts in self.state["providers"].items() if having is None or facts[having]]
        if not known or self.chance(0.02):
            return self.draw.choice([*PROVIDERS, NOBODY])
        return self.draw.choice(sorted(known))

    def generation(self, uuid):
        """The generation of a provider that the client knows."""
        return self.draw.randrange(6) if self.chance(0.03) else self.client.providers.get(uuid, 0)

    def consumer(self, known=0.4):
        """A consumer, with a probability one that holds something."""
        holding = sorted(self.state["consumers"])
        if holding and self.chance(known):
            return self.draw.choice(holding)
        return self.draw.choice(INSTANCES + MIGRATIONS)

    def classes(self):
        """Names of resource classes; seldom one that does not exist."""
        return CLASSES + (CUSTOM_CLASSES if self.chance(0.03) else self.state["classes"])

    # --- providers ---

    def create(self):
        there = self.state["providers"]
        absent = [uuid for uuid in PROVIDERS if uuid not in there]
        uuid = self.draw.choice(absent if absent and self.chance(0.9) else PROVIDERS)
        return Write(events.ProviderCreated(uuid, self.draw.choice(NAMES), self.parent(uuid), *REQUEST))

    def parent(self, uuid):
        """The parent of a provider: None, one whose tree is not full, or seldom any."""
        if self.chance(0.04):
            return self.draw.choice([*PROVIDERS, NOBODY, uuid])
        there = self.state["providers"]
        roots = [facts["root"] for facts in there.values()]
        if len(set(roots)) < MAX_TREES and self.chance(0.4):
            return None
        open_trees = sorted(other for other, facts in there.items() if roots.count(facts["root"]) < MAX_TREE)
        return self.draw.choice(open_trees) if open_trees else None

    def change(self):
        uuid = self.provider()
        facts = self.state["providers"].get(uuid, {"name": "x", "parent": None})
        name = facts["name"] if self.chance(0.6) else self.draw.choice(NAMES)
        parent = facts["parent"] if self.chance(0.4) else self.parent(uuid)
        may_move = self.chance(0.75)
        event = events.ProviderChanged(uuid, name, parent, may_move, *REQUEST)
        return Write(event, "1.39" if may_move else self.draw.choice(("1.14", "1.36")))

    def delete(self):
        parents = {facts["parent"] for facts in self.state["providers"].values()}
        alone = [uuid for uuid in sorted(self.state["providers"]) if uuid not in parents]
        uuid = self.draw.choice(alone) if alone and self.chance(0.6) else self.provider()
        return Write(events.ProviderDeleted(uuid, *REQUEST))

    # --- what a provider has ---

    def inventory(self, name):
        total = self.draw.choice((1, 2, 4, 6, 8, 10, 12, 50))
        reserved = self.draw.choice((0, 0, 0, 1, total // 2, total))
        reserved = min(reserved, total)
        ratio = self.draw.choice(RATIOS)
        if int((total - reserved) * ratio) < 0:
            ratio = 1.0
        max_unit = self.draw.choice((total, total, total, 50, 50, 50, 3))
        return events.Inventory(
            name,
            total,
            reserved,
            self.draw.choice((1, 1, 1, 1, 1, 1, 2, 3)),
            max_unit,
            self.draw.choice((1, 1, 1, 1, 1, 1, 2, 3)),
            ratio,
        )

    def inventories(self, uuid):
        """Inventories of a provider: mostly those of its classes, and some more."""
        names = self.draw.sample(self.classes(), self.draw.randrange(3))
        if self.chance(0.75):
            names += self.state["providers"].get(uuid, {}).get("inventories", {}).keys()
        names = list(dict.fromkeys(names))
        self.draw.shuffle(names)
        return tuple(map(self.inventory, names))

    def set_inventories(self):
        uuid = self.provider()
        if self.chance(0.05):
            return Write(events.InventoriesPut(uuid, None, "all", (), *REQUEST))
        return Write(events.InventoriesPut(uuid, self.generation(uuid), "all", self.inventories(uuid), *REQUEST))

    def add_inventory(self):
        inventory = self.inventory(self.draw.choice(self.classes()))
        return Write(events.InventoriesPut(self.provider(), None, "add", (inventory,), *REQUEST))

    def one_class(self, uuid):
        known = sorted(self.state["providers"].get(uuid, {}).get("inventories", ()))
        return self.draw.choice(known if known and self.chance(0.8) else CLASSES + CUSTOM_CLASSES)

    def change_inventory(self):
        uuid = self.provider("inventories")
        inventory = self.inventory(self.one_class(uuid))
        return Write(events.InventoriesPut(uuid, self.generation(uuid), "change", (inventory,), *REQUEST))

    def remove_inventory(self):
        uuid = self.provider("inventories")
        inventory = events.Inventory(self.one_class(uuid), 1, 0, 1, 1, 1, 1.0)
        return Write(events.InventoriesPut(uuid, None, "remove", (inventory,), *REQUEST))

    def set_traits(self):
        uuid = self.provider()
        if self.chance(0.1):
            return Write(events.TraitsPut(uuid, None, (), *REQUEST))
        names = TRAITS + (CUSTOM_TRAITS if self.chance(0.2) else self.state["traits"])
        if self.chance(0.15):
            traits = self.state["providers"].get(uuid, {}).get("traits", ())
        else:
            traits = self.draw.sample(names, self.draw.randrange(4))
        return Write(events.TraitsPut(uuid, self.generation(uuid), tuple(traits), *REQUEST))

    def set_aggregates(self):
        uuid, aggregates = self.provider(), tuple(self.draw.sample(AGGREGATES, self.draw.randrange(4)))
        if self.chance(0.3):
            return Write(events.AggregatesPut(uuid, None, aggregates, *REQUEST), self.draw.choice(("1.1", "1.18")))
        return Write(events.AggregatesPut(uuid, self.generation(uuid), aggregates, *REQUEST))

    # --- allocations ---

    def allocations(self, providers=None):
        """Allocations of one or two providers, mostly of what is free."""
        found = {}
        for _ in range(self.draw.choice((1, 1, 1, 2))):
            uuid = providers[0] if providers else self.provider("inventories")
            facts = self.state["providers"].get(uuid, {"inventories": {}, "used": {}})
            names = sorted(facts["inventories"])
            if not names or self.chance(0.03):
                names = CLASSES + CUSTOM_CLASSES
            for name in self.draw.sample(names, min(len(names), self.draw.choice((1, 1, 2)))):
                found[uuid, name] = self.amount(facts, name)
        return tuple(events.Allocation(*key, amount) for key, amount in found.items())

    def amount(self, facts, name):
        if name not in facts["inventories"] or self.chance(0.2):
            return self.draw.randrange(1, 15)
        total, reserved, least, most, step, ratio = facts["inventories"][name]
        free = int((total - reserved) * ratio) - facts["used"][name]
        fitting = [number for number in range(step, min(free, most, 12) + 1, step) if number >= least]
        return self.draw.choice(fitting[:4]) if fitting else self.draw.randrange(1, 9)

    def how(self):
        """The microversion of a write to allocations, whether it is guarded, and the type that it names."""
        version = self.draw.choice(("1.39", "1.39", "1.38", "1.28", "1.36", "1.13", "1.27"))
        minor = int(version[2:])
        return version, minor >= 28, self.draw.choice(TYPES) if minor >= 38 else None

    def written(self, uuid, allocations, guarded, kind):
        """What a consumer will hold, with the generation that the client knows."""
        generation = self.client.consumers.get(uuid) if guarded else None
        if guarded and self.chance(0.04):
            generation = self.draw.choice((None, 0, 1, 2, 3))
        project, user = self.draw.choice(PROJECTS), self.draw.choice(USERS)
        return events.ConsumerPut(uuid, guarded, generation, project, user, kind, tuple(allocations), None)

    def allocations_put(self, written, post=False):
        """The write of ``{uuid: allocations}``."""
        version, guarded, kind = self.how()
        consumers = [self.written(uuid, allocations, guarded, kind) for uuid, allocations in written.items()]
        # Before microversion 1.28 PUT takes no empty allocations.
        post = post or len(consumers) > 1 or (not guarded and not consumers[0].allocations)
        return Write(events.AllocationsPut(tuple(consumers), *REQUEST), version, post)

    def held(self, uuid):
        """What the client knows that a consumer holds."""
        return [
            events.Allocation(provider, name, amount)
            for provider, resources in self.client.held.get(uuid, {}).items()
            for name, amount in resources.items()
        ]

    def put(self):
        return self.allocations_put({self.consumer(0.25): self.allocations()}, self.chance(0.2))

    def put_many(self):
        written = {}
        for _ in range(self.draw.choice((2, 2, 3))):
            written[self.consumer()] = () if self.chance(0.2) else self.allocations()
        return self.allocations_put(written, True)

    def move(self):
        """What an instance holds passes to its migration, or back, and the instance gets something else."""
        holding = sorted(self.client.held)
        if not holding:
            return None
        source = self.draw.choice(holding)
        target = self.draw.choice(MIGRATIONS if source in INSTANCES else INSTANCES)
        rest = () if self.chance(0.6) else self.allocations()
        return self.allocations_put({source: rest, target: self.held(source)}, True)

    def double(self):
        """A consumer holds the same again elsewhere, as in an evacuation."""
        holding = sorted(self.client.held)
        if not holding:
            return None
        source = self.draw.choice(holding)
        both = {allocation[:2]: allocation for allocation in (*self.held(source), *self.allocations())}
        return self.allocations_put({source: tuple(both.values())})

    def wipe(self):
        return self.allocations_put({self.consumer(0.8): ()}, self.chance(0.3))

    def drop(self):
        return Write(events.AllocationsDropped(self.consumer(0.8), *REQUEST))

    # --- reshapes ---

    def reshape(self):
        return self.moved_class() if self.chance(0.7) else self.any_reshape()

    def moved_class(self):
        """A class moves from a provider to another one of its tree, with what consumers hold of it."""
        providers = self.state["providers"]
        having = sorted(uuid for uuid, facts in providers.items() if facts["inventories"])
        if not having:
            return None
        source = self.draw.choice(having)
        tree = [uuid for uuid in sorted(providers) if providers[uuid]["root"] == providers[source]["root"]]
        target = self.draw.choice([uuid for uuid in tree if uuid != source] or [source])
        name = self.draw.choice(sorted(providers[source]["inventories"]))
        inventories = {
            uuid: {one: events.Inventory(one, *has) for one, has in providers[uuid]["inventories"].items()}
            for uuid in dict.fromkeys((source, target))
        }
        inventories[target][name] = inventories[source].pop(name)
        moved = {}
        for consumer, facts in self.state["consumers"].items():
            if name in facts["allocations"].get(source, ()) and not self.chance(0.06):
                held = {
                    (provider, one): amount
                    for provider, resources in facts["allocations"].items()
                    for one, amount in resources.items()
                }
                amount = held.pop((source, name))
                held[target, name] = held.get((target, name), 0) + amount
                moved[consumer] = [events.Allocation(*key, amount) for key, amount in held.items()]
        return self.reshaped({uuid: tuple(has.values()) for uuid, has in inventories.items()}, moved)

    def any_reshape(self):
        inventories = {
            uuid: self.inventories(uuid) for uuid in (self.provider() for _ in range(self.draw.choice((1, 2, 3))))
        }
        moved = {}
        for _ in range(self.draw.randrange(3)):
            moved[self.consumer()] = () if self.chance(0.2) else self.allocations(list(inventories))
        return self.reshaped(inventories, moved)

    def reshaped(self, inventories, consumers):
        version, kind = self.draw.choice((("1.39", "INSTANCE"), ("1.30", None)))
        return Write(
            events.Reshaped(
                tuple(
                    events.ProviderInventories(uuid, self.generation(uuid), has) for uuid, has in inventories.items()
                ),
                tuple(self.written(uuid, allocations, True, kind) for uuid, allocations in consumers.items()),
                *REQUEST,
            ),
            version,
        )

    # --- resource classes and traits ---

    def create_class(self):
        return Write(events.ClassCreated(self.draw.choice(CUSTOM_CLASSES), *REQUEST))

    def rename_class(self):
        name, new_name = self.draw.choice(CUSTOM_CLASSES), self.draw.choice(CUSTOM_CLASSES)
        return Write(events.ClassRenamed(name, new_name, *REQUEST), self.draw.choice(("1.2", "1.6")))

    def delete_class(self):
        return Write(events.ClassDeleted(self.draw.choice(CUSTOM_CLASSES), *REQUEST))

    def create_trait(self):
        return Write(events.TraitCreated(self.draw.choice(CUSTOM_TRAITS), *REQUEST))

    def delete_trait(self):
        return Write(events.TraitDeleted(self.draw.choice(CUSTOM_TRAITS), *REQUEST))

    # --- hosts, which Placement does not know ---

    def report_host(self):
        root = self.draw.choice(range(len(PROVIDERS)))
        return Write(facts_of(self.draw.choice(HOSTS), root=f"provider {root}", authority="nova"))

    def remove_host(self):
        return Write(events.HostRemoved(self.draw.choice(HOSTS), "gone"))
