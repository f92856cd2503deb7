"""The hosts of one cell for the audit: their trees, who decides about them, and what they run."""

from nova_sched.projection import provider_tree
from nova_sched.projection.ledger import AGENT, HELD, NO_HOST, RUNNING
from nova_sched.projection.provider_rows import inventories_of, parent_of, traits_of
from nova_sched.projection.rules import SINCE
from nova_sched.replay.verify.holdings import Held, Holdings, Host, guest_of
from rpc_api import events
from rpc_api.digest import consumer_hash, pool_key
from rpc_api.levels import pack_oldest


class HostsAudit(Holdings):
    """The hosts of a cell by the events about them; ``providers`` are by host."""

    @property
    def providers(self):
        """Return host -> uuids of its providers."""
        return {name: host.providers for name, host in self.hosts.items() if name != NO_HOST}

    @classmethod
    def beginning(cls, projection, on_change=lambda audit: None) -> "HostsAudit":
        """Return an audit that starts with the state of a projection."""
        audit = cls(on_change, projection.cell)
        audit.spoken.update(projection.producers)
        audit.is_ledger = projection.rules.one_ledger
        audit._begin_providers(projection)
        for name, host in projection.hosts.items():
            audit._begin_host(name, host, projection.table.uuids[host.root])
        for root, host in projection.waiting.items():
            audit.waiting[root] = host.name, audit._facts(Host(host.authority), host.inventory)
        audit.trees_changed()
        for consumer, entries in projection.consumers.items():
            for entry in entries:
                audit._hold(
                    entry.host,
                    consumer,
                    Held(
                        entry.instance_uuid,
                        entry.allocations,
                        entry.rule,
                        guest_of(entry.guest),
                        entry.claim_uuid,
                        entry.hash if entry.state == RUNNING else None,
                        entry.state == HELD,
                    ),
                )
        audit.generations = {consumer: holder.generation for consumer, holder in projection.holders.items()}
        audit.prepared, audit.committed = dict(projection.prepared), {}
        audit.committed.update((uuid, set(decided.consumers)) for uuid, decided in projection.committed.items())
        return audit

    def _begin_providers(self, projection):
        table, providers = projection.table, self.providers_of
        providers.classes, providers.traits = set(projection.custom_classes), set(projection.custom_traits)
        for tree in dict.fromkeys(projection.trees.values()):
            if tree.providers:
                self._plain[table.uuids[tree.root]] = tree.providers
            for row in table.trees[tree.root]:
                one = providers.add(table.uuids[row], table.provider_names[row], parent_of(table, row))
                one.generation, one.reported = table.generation.item(row), bool(table.reported[row])
                one.traits, one.aggregates = frozenset(traits_of(table, row)), tuple(table.row_aggregates[row])
                providers.put_inventories(one.uuid, inventories_of(table, row))

    def _begin_host(self, name, host, root):
        mine = self.hosts[name] = self._facts(Host(host.authority), host.inventory)
        mine.root, mine.tree = root, self._plain.pop(root, b"")
        self.providers_of.host_of_root[root] = name

    # --- hosts ---------------------------------------------------------------------------------------------------

    def level_pinned(self, data):
        """The log has a higher level: it may become a ledger, in which all that is there has its first generation."""
        if data.level < SINCE["one_ledger"] or self.is_ledger:
            return
        self.is_ledger = True
        for name, host in self.hosts.items():
            if name != NO_HOST:
                self.providers_of.report(self._tree(host), host.root, True, False)
        self.trees_changed()
        for provider in self.providers_of.of.values():
            provider.generation = 1
        self.generations = dict.fromkeys(self._where, 1)

    def host_reported(self, data):
        name = data.host
        host = self.hosts.get(name) or next((one for named, one in self.waiting.values() if named == name), None)
        if host is None or host.inventory != data.inventory:
            host = self._place(name, host, data.inventory)
        if host.root is None or host.authority != AGENT or host.digest == data.consumers_digest:
            return
        reported = {
            consumer.instance_uuid: consumer for consumer in events.thaw("HostConsumers", data.consumers).consumers
        }
        kept = {}
        for consumer, held in sorted(host.held.items()):
            running = reported.get(held.instance_uuid)
            better = running is not None and _rank(consumer, held, running)
            if better and (held.instance_uuid not in kept or better < kept[held.instance_uuid][0]):
                kept[held.instance_uuid] = better, consumer
        for consumer, held in list(host.held.items()):
            if held.running and kept.get(held.instance_uuid, (None, None))[1] != consumer:
                self._release(data.host, consumer)
        for running in reported.values():
            self._run(data.host, running, kept.get(running.instance_uuid, (None, None))[1])

    def _place(self, name, host, packed):
        """Write a new inventory of a host: with its tree, or on the tree of its root provider."""
        inventory = provider_tree.read(packed).inventory
        host = host or Host(inventory.authority)
        self._facts(host, packed)
        root = inventory.root_uuid or inventory.providers[0].uuid
        self.waiting = {uuid: waiting for uuid, waiting in self.waiting.items() if waiting[1] is not host}
        is_plain = self._is_plain(root)
        if host.root not in (None, root) and (inventory.root_uuid is not None or is_plain):
            self._leave(name, host)
        if host.root is None and is_plain:
            self._join(name, host, root)
        if inventory.root_uuid is None:
            self.hosts[name], host.tree = host, b""
            self._report(name, host, inventory.providers)
        elif host.root is None:
            self.waiting[root] = name, host
        else:
            self.hosts[name] = host
        return host

    def _is_plain(self, root):
        """Whether there is a tree of a root that is no host's."""
        return (
            root in self.providers_of
            and self.providers_of.of[root].parent is None
            and root not in self.providers_of.host_of_root
        )

    def _report(self, name, host, providers, marked=True):
        """Write the tree of a host that an agent reports."""
        self.providers_of.report(providers, host.root, self.is_ledger, marked)
        host.root = providers[0].uuid
        self.providers_of.host_of_root[host.root] = name
        self.trees_changed(name)

    def _facts(self, host, packed):
        """Write what a host has beside its providers."""
        inventory = provider_tree.read(packed).inventory
        host.inventory = packed
        host.nodes = {
            node.id: (
                frozenset(node.dedicated_cpus),
                {pages.size_kb: pages.total - pages.reserved for pages in node.pages},
            )
            for node in inventory.numa_cells
        }
        host.pools = {pool_key(pool): pool.count for pool in inventory.pci_pools}
        return host

    def _tree(self, host):
        """What an agent reported as the tree of a host."""
        if host.tree:
            return provider_tree.read_providers(host.tree)[0]
        return provider_tree.read(host.inventory).inventory.providers

    def _join(self, name, host, root):
        """A host gets the tree of its root provider, which was no host's."""
        consumers = self.users_of_tree(root)
        host.root, host.tree = root, self._plain.pop(root, b"")
        self.hosts[name] = host
        self.providers_of.host_of_root[root] = name
        self.trees_changed(name)
        self.regroup(consumers)

    def _leave(self, name, host):
        """A host is that of its tree no more. A tree that its agent reported ends, and another one stays."""
        root = host.root
        of_agent = self.providers_of.of[root].reported
        for consumer, held in list(host.held.items()):
            if of_agent or not held.holds:
                self._release(name, consumer)
        consumers = list(host.held)
        del self.providers_of.host_of_root[root]
        if of_agent:
            self.providers_of.drop_tree(root)
        elif host.tree:
            self._plain[root] = host.tree
        host.root, host.tree, host.providers = None, b"", []
        self.regroup(consumers)
        del self.hosts[name]

    def root_came(self, uuid):
        """A provider may be the root for which a host waits."""
        if uuid in self.waiting and self._is_plain(uuid):
            self._join(*self.waiting.pop(uuid), uuid)

    def root_goes(self, uuid):
        """The root of a host is removed: the host waits for it."""
        self._plain.pop(uuid, None)
        name = self.providers_of.host_of_root.pop(uuid, None)
        if name is not None:
            host = self.hosts.pop(name)
            host.root, host.providers = None, []
            self.waiting[uuid] = name, host

    def providers_reported(self, data):
        """Write the tree of a host that its agent reports by itself; the host may not be known yet."""
        host = self.hosts.get(data.host)
        if host is not None and host.tree == data.providers:
            return
        providers = provider_tree.read_providers(data.providers)[0]
        root = providers[0].uuid
        if host is None:
            self.providers_of.report(providers, root if root in self.providers_of else None, self.is_ledger, True)
            self._plain[root] = data.providers
            self.root_came(root)
            return
        if self._is_plain(root):
            self._leave(data.host, host)
            self._join(data.host, host, root)
        host.tree = data.providers
        self._report(data.host, host, providers)

    def authority_passed(self, data):
        """Another one says what the consumers of a host hold."""
        host = self.hosts.get(data.host)
        if host is None or host.authority == data.authority:
            return
        host.authority = data.authority
        # From here on its reports are compared with one without a tree.
        facts = provider_tree.read(host.inventory).inventory
        host.inventory = pack_oldest(facts._replace(providers=(), root_uuid=host.root, authority=data.authority))
        if data.authority != AGENT:
            host.tree = b""
            for uuid in host.providers:
                self.providers_of.of[uuid].reported = False
        self.regroup(list(host.held))

    def trees_changed(self, name=None):
        """The providers of hosts (default: of all) may have changed."""
        for one in [name] if name is not None else self.hosts:
            host = self.hosts[one]
            if host.root is not None:
                host.providers = self.providers_of.under(host.root)

    def host_removed(self, name):
        """Remove a host. What its agent said of it goes; what Nova holds of its providers stays."""
        host = self.hosts.get(name)
        if host is None:
            self.waiting = {uuid: waiting for uuid, waiting in self.waiting.items() if waiting[0] != name}
            return
        if host.authority != AGENT:
            self._leave(name, host)
            return
        for consumer in list(host.held):
            self._release(name, consumer)
        self.providers_of.drop_tree(host.root)
        del self.hosts[name]

    def started(self, name, running):
        """Note that an instance runs on a host: its claim becomes the host's use."""
        host = self.hosts.get(name)
        if host is not None:
            consumer = min(
                (consumer for consumer, held in host.held.items() if held.instance_uuid == running.instance_uuid),
                key=lambda consumer: (consumer != running.instance_uuid, _rank(consumer, host.held[consumer], running)),
                default=None,
            )
            self._run(name, running, consumer)

    def _run(self, name, running, consumer):
        """Let a running instance replace what ``consumer`` holds on a host (None: nothing)."""
        before = None if consumer is None else self.hosts[name].held.get(consumer)
        # An agent that reports no guest does not know it.
        guest = before.guest if before and running.guest is None else guest_of(running.guest)
        rule = before.rule if before and before.rule else running.rule
        is_same = before and guest == before.guest and sorted(running.allocations) == sorted(before.allocations)
        self._hold(
            name,
            consumer or running.instance_uuid,
            Held(
                running.instance_uuid,
                running.allocations,
                rule,
                guest,
                before and before.claim_uuid,
                consumer_hash(running.instance_uuid, running.allocations, running.guest),
            ),
            is_same,
        )


def _rank(consumer, held, guest):
    """Sort key of what an instance holds on one host: the least of it runs (a resize in place holds more)."""
    return sorted(held.allocations) != sorted(guest.allocations), not held.running, consumer
