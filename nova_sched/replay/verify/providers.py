"""The providers of a log for the audit, in plain dictionaries: what agents reported, and what Placement's API wrote."""

import re
from collections import defaultdict

CUSTOM = "CUSTOM_"
_NAME = re.compile(r"[A-Z0-9_]{1,255}")


class Provider:
    """A provider: ``parent`` is a uuid, None for a root; ``inventories`` are by class; ``reported`` is True for one
    that an agent reported in a log that is a ledger."""

    __slots__ = ("aggregates", "generation", "inventories", "name", "parent", "reported", "traits", "uuid")

    def __init__(self, uuid, name, parent):
        self.uuid, self.name, self.parent = uuid, name, parent
        self.generation, self.reported = 0, False
        self.inventories, self.traits, self.aggregates = {}, frozenset(), ()


class Providers:
    """All providers, and the resource classes and traits of the cloud's own. ``capacity`` is by (provider, class)."""

    def __init__(self):
        self.of = {}
        self.capacity = {}
        self.classes, self.traits = set(), set()
        #: Uuid of a root -> the name of its host.
        self.host_of_root = {}
        self._children = defaultdict(dict)

    def __contains__(self, uuid):
        return uuid in self.of

    def root(self, uuid):
        """Return the root of a provider's tree."""
        while self.of[uuid].parent is not None:
            uuid = self.of[uuid].parent
        return uuid

    def host(self, uuid) -> str | None:
        """Return the host whose tree a provider is in; None if it is no host's, or unknown."""
        return self.host_of_root.get(self.root(uuid)) if uuid in self.of else None

    def under(self, uuid) -> list:
        """Return a provider and all below it, each after its parent."""
        found = [uuid]
        for one in found:
            found += self._children.get(one, ())
        return found

    def children(self, uuid) -> list:
        """Return the children of a provider."""
        return list(self._children.get(uuid, ()))

    def named(self, name) -> list:
        """Return the uuids of the providers of a name."""
        return [uuid for uuid, provider in self.of.items() if provider.name == name]

    # --- changes -------------------------------------------------------------------------------------------------

    def add(self, uuid, name, parent) -> Provider:
        """Add a provider that has nothing."""
        provider = self.of[uuid] = Provider(uuid, name, parent)
        if parent is not None:
            self._children[parent][uuid] = None
        return provider

    def drop(self, uuid) -> None:
        """Remove a provider."""
        self.put_inventories(uuid, {})
        self.move(uuid, None)
        self._children.pop(uuid, None)
        self.host_of_root.pop(uuid, None)
        del self.of[uuid]

    def drop_tree(self, root) -> None:
        """Remove all providers of a tree."""
        for uuid in reversed(self.under(root)):
            self.drop(uuid)

    def move(self, uuid, parent) -> None:
        """Give a provider another parent, or none."""
        provider = self.of[uuid]
        if provider.parent is not None:
            self._children[provider.parent].pop(uuid, None)
        provider.parent = parent
        if parent is not None:
            self._children[parent][uuid] = None

    def put_inventories(self, uuid, inventories) -> None:
        """Give a provider some inventories, by class, and no others."""
        provider = self.of[uuid]
        for name in provider.inventories:
            self.capacity.pop((uuid, name), None)
        provider.inventories = dict(inventories)
        for name, inventory in provider.inventories.items():
            self.capacity[uuid, name] = capacity_of(inventory)

    def rename_class(self, name, new_name) -> list:
        """Give a class another name; return the uuids of the providers that have an inventory of it."""
        found = [uuid for uuid, provider in self.of.items() if name in provider.inventories]
        for uuid in found:
            inventories = dict(self.of[uuid].inventories)
            inventories[new_name] = inventories.pop(name)._replace(resource_class=new_name)
            self.put_inventories(uuid, inventories)
        self.classes.discard(name)
        self.classes.add(new_name)
        return found

    def report(self, tree, old_root, is_ledger, marked) -> None:
        """Write the tree that an agent reports, in the place of the one with ``old_root`` (None: there is none). If it
        is ``marked``, it is a write that raises generations."""
        root = tree[0].uuid
        if old_root is not None and old_root != root:
            self.drop_tree(old_root)
        parents = [None if provider.parent < 0 else tree[provider.parent].uuid for provider in tree]
        for provider, parent in zip(tree, parents, strict=True):
            known = self.of.get(provider.uuid) or self.add(provider.uuid, provider.name, parent)
            if known.parent != parent:
                self.move(provider.uuid, parent)
            known.name = provider.name
            known.generation += is_ledger and marked
            known.reported = is_ledger
            if provider.aggregates or not is_ledger:
                known.aggregates = tuple(provider.aggregates)
            known.traits = frozenset(provider.traits)
            self.put_inventories(
                provider.uuid, {inventory.resource_class: inventory for inventory in provider.inventories}
            )
            if is_ledger:
                self._learn(provider)
        self._drop_unreported(root, {provider.uuid for provider in tree}, is_ledger)

    def _learn(self, provider):
        self.classes.update(
            inventory.resource_class
            for inventory in provider.inventories
            if inventory.resource_class.startswith(CUSTOM) and _NAME.fullmatch(inventory.resource_class)
        )
        self.traits.update(trait for trait in provider.traits if trait.startswith(CUSTOM) and _NAME.fullmatch(trait))

    def _drop_unreported(self, root, reported, is_ledger):
        """Of the providers that are not in the report those stay that the API made, and what is above them."""
        others = [uuid for uuid in self.under(root) if uuid not in reported]
        stay = set()
        for uuid in others:
            if is_ledger and not self.of[uuid].reported:
                above = uuid
                while above not in reported and above not in stay:
                    stay.add(above)
                    above = self.of[above].parent
        for uuid in reversed(others):
            if uuid not in stay:
                self.drop(uuid)
            elif self.of[uuid].reported:
                self.put_inventories(uuid, {})
                self.of[uuid].traits = frozenset()


def capacity_of(inventory) -> int:
    """Return what Placement gives away of an inventory."""
    return int(min(max((inventory.total - inventory.reserved) * inventory.allocation_ratio, 0.0), 2.0**53))


def is_known(name, custom) -> bool:
    """Whether a resource class or a trait exists: it is OpenStack's, or the cloud has created it."""
    return not name.startswith(CUSTOM) or name in custom
