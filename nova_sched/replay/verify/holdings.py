"""Who holds what in one cell, for the audit: hosts, their providers, and consumers with their generations."""

from collections import Counter, defaultdict
from typing import NamedTuple

from nova_sched.projection.ledger import AGENT, NO_HOST, NOVA
from nova_sched.replay.verify.providers import Providers
from rpc_api import errors, events
from rpc_api.digest import MASK, consumer_hash
from rpc_api.packing import pack


class Held(NamedTuple):
    """What a consumer has on a host; ``claim_uuid`` is None for an instance that runs without a claim, ``hash`` is None
    for one that does not run. What Nova ``holds`` is neither claimed nor running."""

    instance_uuid: str
    allocations: tuple
    rule: object
    guest: object
    claim_uuid: str | None
    hash: int | None = None
    holds: bool = False

    @property
    def running(self):
        return self.hash is not None


class Host:
    """A host by its last report: its packed inventory, its providers, and the counts of the audit."""

    def __init__(self, authority=AGENT):
        self.inventory = None
        #: Uuid of its root provider (None while it waits for it), and the bytes of a tree that was reported by itself.
        self.root, self.tree = None, b""
        self.authority = authority
        self.providers = []
        self.held = {}
        self.digest = 0
        #: NUMA node -> (dedicated CPUs, {page size: available pages}); key of a PCI pool -> number of devices.
        self.nodes, self.pools = {}, {}


class Holdings:
    """What consumers hold of the providers of one cell. ``capacity`` and ``used`` are by (provider, resource class),
    ``generations`` by consumer."""

    def __init__(self, on_change=lambda audit: None, cell=None):
        self.cell = cell
        self.providers_of = Providers()
        self.used = Counter()
        #: What is on no host is on the one of this name.
        self.hosts = {NO_HOST: Host(NOVA)}
        #: Uuid of a root provider that is not there -> (name, host that waits for it).
        self.waiting = {}
        #: Root of a tree that is no host's -> the bytes that an agent reported of it.
        self._plain = {}
        self.is_ledger = False
        self.generations = {}
        #: Uuid of a write over several logs -> its AllocationsPrepared, while it is under way; consumers of those that
        #: this log decided.
        self.prepared, self.committed = {}, {}
        self.over_commitments = []
        self.group_breaches = []
        self.write_breaches = []
        self._groups = defaultdict(dict)
        #: Consumer -> names of the hosts on which it holds resources, in the order in which it came there.
        self._where = defaultdict(dict)
        #: Provider -> consumer -> the number of its allocations there.
        self._users = defaultdict(Counter)
        #: Producer -> (epoch, sequence) of its last event that counted.
        self.spoken = {}
        self._on_change = on_change

    @property
    def capacity(self):
        """Return (provider, resource class) -> capacity."""
        return self.providers_of.capacity

    def put(self, consumers):
        """Give each of some consumers its allocations, and no others. Each consumer's generation rises by one, and that
        of each provider of which one holds something now, or of which one that holds nothing any more did."""
        before, named, gone = dict(self.generations), set(), []
        for one in consumers:
            mine = self.allocations_of(one.consumer_uuid)
            named.update(held.provider_uuid for held in one.allocations or mine)
            for name, _, held in self._holdings(one.consumer_uuid):
                gone.append((name, one.consumer_uuid, held))
                self._release(name, one.consumer_uuid)
        emptied = {one.consumer_uuid for one in consumers if not one.allocations}
        for one in consumers:
            for name, part in self._by_host(one.allocations).items():
                self._hold(name, one.consumer_uuid, _put_held(one, name, part, gone, emptied))
            if one.allocations:
                self.generations[one.consumer_uuid] = before.get(one.consumer_uuid, 0) + 1
        self._mark(named)

    def take_over(self, one, generation):
        """Give a consumer what another Placement says, with its generation there. Terms replace those on their host."""
        uuid, before = one.consumer_uuid, self._holdings(one.consumer_uuid)
        self.drop(uuid)
        gone = [held for held in before if one.terms is None or held[0] != one.terms.host]
        for name, part in self._by_host(one.allocations).items():
            self._hold(name, uuid, _put_held(one, name, part, gone))
        if one.allocations:
            self.generations[uuid] = generation

    def hold(self, write_uuid, allocations):
        """A write over several logs holds some allocations, and no others, until it ends."""
        self.drop(write_uuid)
        for name, part in self._by_host(allocations).items():
            self._hold(name, write_uuid, Held(write_uuid, part, None, None, None, holds=True))

    def drop(self, consumer):
        """A consumer holds nothing any more."""
        for name, _, _ in self._holdings(consumer):
            self._release(name, consumer)

    def _mark(self, uuids):
        """Raise the generations of providers of which allocations were written."""
        for uuid in uuids:
            if uuid in self.providers_of:
                self.providers_of.of[uuid].generation += 1

    def _by_host(self, allocations):
        """Return host -> those of some allocations that belong there. What is of no host belongs to the first."""
        parts, others = {}, []
        for held in allocations:
            name = self.providers_of.host(held.provider_uuid)
            (others if name is None else parts.setdefault(name, [])).append(held)
        if others:
            parts.setdefault(next(iter(parts), NO_HOST), []).extend(others)
        return {name: tuple(part) for name, part in parts.items()}

    def regroup(self, consumers):
        """Let what some consumers hold follow the providers, which are in other trees now. Generations stay."""
        for consumer in sorted(set(consumers)):
            before, generation = self._holdings(consumer), self.generations.get(consumer)
            for name, _, _ in before:
                self._release(name, consumer)
            allocations = [held for _, _, of in before for held in of.allocations]
            for name, part in self._by_host(allocations).items():
                self._hold(name, consumer, self._settled(name, part, before))
            if generation is not None and consumer in self._where:
                self.generations[consumer] = generation

    def _settled(self, name, part, before):
        known = next((held for host, _, held in before if host == name), None)
        held = (known or before[0][2]._replace(rule=None, guest=None, claim_uuid=None))._replace(allocations=part)
        if self.hosts[name].authority != AGENT:
            return held._replace(hash=None, holds=True)
        if held.holds:
            guest = None if held.guest is None else pack(held.guest)
            return held._replace(hash=consumer_hash(held.instance_uuid, part, guest), holds=False)
        return held

    def rename_class(self, name, new_name, providers):
        """What is held of a class of some providers is held of it under another name."""
        for consumer in self.users_of(providers):
            generation = self.generations.get(consumer)
            for host, _, held in self._holdings(consumer):
                allocations = tuple(
                    one._replace(resource_class=new_name)
                    if one.resource_class == name and one.provider_uuid in providers
                    else one
                    for one in held.allocations
                )
                self._hold(host, consumer, held._replace(allocations=allocations))
            self.generations[consumer] = generation

    # --- who holds what ------------------------------------------------------------------------------------------

    def hosts_of(self, consumer):
        """Return the names of the hosts on which a consumer holds something."""
        return [name for name in self._where.get(consumer, ()) if name != NO_HOST]

    def allocations_of(self, consumer):
        """Return all that a consumer holds."""
        return [held for _, _, of in self._holdings(consumer) for held in of.allocations]

    def users_of(self, uuids):
        """Return the consumers that hold something of some providers."""
        return {consumer for uuid in uuids for consumer in self._users.get(uuid, ())}

    def users_of_tree(self, root):
        """Return the consumers of a tree: of a host all that are there, else those that hold something of it."""
        name = self.providers_of.host_of_root.get(root)
        return list(self.hosts[name].held) if name is not None else self.users_of(self.providers_of.under(root))

    def on_hosts_of(self, consumers):
        """Return all consumers of the hosts where some are."""
        hosts = {name for consumer in consumers for name in self.hosts_of(consumer)}
        return {consumer for name in hosts for consumer in self.hosts[name].held}

    # --- counting ------------------------------------------------------------------------------------------------

    def _holdings(self, consumer):
        return [(name, consumer, self.hosts[name].held[consumer]) for name in self._where.get(consumer, ())]

    def _hold(self, name, consumer, held, is_same=False):
        """Let a consumer hold something on a host, in the place of what it held there. Its generation rises, unless it
        holds the same as before."""
        generation = self.generations.get(consumer)
        self._release(name, consumer)
        if self.is_ledger:
            self.generations[consumer] = 1 if generation is None else generation + (not is_same)
        host = self.hosts[name]
        host.held[consumer] = held
        self._where[consumer][name] = None
        self._count(host, consumer, held, +1)
        if held.rule is not None:
            self._groups[held.rule.group_uuid][consumer, name] = held.rule
        self._on_change(self)

    def _release(self, name, consumer):
        """Release what a consumer holds on a host."""
        host = self.hosts.get(name)
        held = host.held.pop(consumer, None) if host else None
        if held is None:
            return
        del self._where[consumer][name]
        if not self._where[consumer]:
            del self._where[consumer]
            self.generations.pop(consumer, None)
        elif self.is_ledger:
            self.generations[consumer] += 1
        self._count(host, consumer, held, -1)
        if held.rule is not None:
            members = self._groups[held.rule.group_uuid]
            members.pop((consumer, name), None)
            if not members:
                del self._groups[held.rule.group_uuid]
        self._on_change(self)

    def _count(self, host, consumer, held, sign):
        if held.running:
            host.digest = (host.digest + sign * held.hash) & MASK
        for provider_uuid, resource_class, amount in held.allocations:
            self.used[provider_uuid, resource_class] += sign * amount
            users = self._users[provider_uuid]
            users[consumer] += sign
            if not users[consumer]:
                del users[consumer]


#: A host of nobody.
NOBODY = Host()


def _put_held(one, name, part, gone, emptied=frozenset()):
    """What a ConsumerPut lets its consumer hold on a host. The terms pass with the same allocations from a consumer
    that the write has ``emptied``; else, on a host where it held something, it keeps its own; else they pass from any
    other consumer of the write; else those of the write count."""
    here = [(consumer, held) for host, consumer, held in gone if host == name and name != NO_HOST]
    same = [(consumer, held) for consumer, held in here if sorted(held.allocations) == sorted(part)]
    others = [(consumer, held) for consumer, held in same if consumer != one.consumer_uuid]
    passed = [held for consumer, held in others if consumer in emptied]
    own = [held for consumer, held in here if consumer == one.consumer_uuid]
    known = next(iter([*passed, *own, *(held for _, held in others)]), None)
    if known is not None:
        return known._replace(allocations=part, claim_uuid=None, hash=None, holds=True)
    terms = one.terms
    if terms is None or terms.host != name:
        return Held(one.consumer_uuid, part, None, None, None, None, True)
    return Held(terms.instance_uuid, part, terms.rule, guest_of(terms.guest), None, None, True)


def guest_of(packed):
    """Return the Guest of a claim; None if it has none, or if it cannot be read."""
    try:
        return None if packed is None else events.thaw("Guest", packed)
    except errors.InvalidEvent:
        return None
