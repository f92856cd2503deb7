"""The changes of a what-if: options of the policy, allocation ratios, added and removed hosts."""

import fnmatch
import json
import math
import uuid
from typing import NamedTuple

from nova_sched.filters.options import Kind
from nova_sched.projection import provider_tree
from nova_sched.projection.inventory import MAX_RATIO
from nova_sched.selection.policy import OPTIONS, Policy
from rpc_api import codec, errors, events
from rpc_api.digest import consumers_digest
from rpc_api.levels import pack_oldest
from rpc_api.packing import pack

#: Namespace of the uuids of added hosts' providers; they are derived from those of the copied host.
NAMESPACE = uuid.UUID("5e8f6a0e-1d0f-4f4c-9d3c-2f7f3f0f6d11")
#: Number of changed inventories to cache: hosts report the same one many times.
KEPT = 20_000
#: The smallest value that the schedulers accept for an option of the policy.
LEAST = {"host_subset_size": 1, "max_attempts": 1} | {
    option.field: option.least for option in OPTIONS if option.least is not None
}
#: What is wanted for an option, by the type of its default.
WANTED = {
    bool: "true or false",
    int: Kind.WHOLE.value,
    float: Kind.NUMBER.value,
    type(None): "a text",
    str: "a text",
    tuple: "a list",
}


class Changes(NamedTuple):
    """``options`` of the policy by name (as in PolicyAdopted), or a whole ``policy`` instead; ``weighers``: name ->
    multiplier; ``ratios``: resource class -> allocation ratio; ``dropped``: names of hosts; ``added``: name of a host
    -> number of copies."""

    options: dict = {}
    policy: Policy | None = None
    weighers: dict = {}
    ratios: dict = {}
    dropped: frozenset = frozenset()
    added: dict = {}

    def policy_for(self, recorded: Policy) -> Policy:
        """Return the changed policy of a recorded one; UsageError for an unknown option, or a value of another type."""
        base = self.policy or recorded
        if not self.options and not self.weighers:
            return base
        options = {**json.loads(base.to_json()), **self.options}
        unknown = sorted(options.keys() - json.loads(base.to_json()).keys())
        if unknown:
            of = [
                name for name, weigher in base.catalogue.weighers.items() if unknown[0] in (weigher.option, weigher.key)
            ]
            if of:
                raise errors.UsageError(
                    f"{unknown[0]} is the multiplier of a weigher; use --weigher {of[0]}=MULTIPLIER"
                )
            raise errors.UsageError(
                f"a policy has no option {unknown[0]!r}, wanted one of "
                f"{', '.join(sorted(json.loads(base.to_json())))}; fix --policy or --set"
            )
        for name, value in self.options.items():
            _check_option(name, value, base.catalogue)
        try:
            weighers = {**dict(options["weighers"]), **self.weighers}
            options["weighers"] = [[name, multiplier] for name, multiplier in weighers.items()]
            return Policy.from_json(json.dumps(options), base.catalogue)
        except (errors.InvalidEvent, ValueError, TypeError) as fault:
            raise errors.UsageError(f"the policy cannot be used: {fault}") from None

    def policy_from(self, policies, digest: str) -> Policy:
        """Return the changed policy of a digest in a PolicyBook. Raise PolicyMissing if the book does not have it, or
        if it names classes that are not loaded and that the changes do not replace."""
        if self.policy is not None:
            return self.policy_for(self.policy)
        if digest in policies.policies or digest not in policies.adopted:
            return self.policy_for(policies.get(digest))
        adopted = policies.adopted[digest]
        changed = self.policy_for(adopted.policy)
        names = {*changed.enabled_filters, *(name for name, _ in changed.weighers)}
        if names.intersection((*adopted.filters, *adopted.weighers)):
            policies.get(digest)
        return Policy.from_json(changed.to_json(), policies.catalogue)

    def check_classes(self, classes) -> None:
        """Raise UsageError for the ratio of a resource class that is not one of the ``classes`` of the logs."""
        for name in sorted(self.ratios.keys() - classes):
            raise errors.UsageError(
                f"the logs have no resource class {name!r}, wanted one of {', '.join(sorted(classes))}; fix --ratio"
            )

    def with_hosts(self, hosts) -> "Changes":
        """Return the changes with the hosts that match in place of globs. Raise UsageError for a name that none of
        ``hosts`` has: it would change nothing."""
        for pattern in sorted((*self.dropped, *self.added)):
            if pattern not in hosts and (pattern in self.added or not fnmatch.filter(hosts, pattern)):
                raise errors.UsageError(f"the logs have no host {pattern!r}; fix --drop-host or --add-host")
        return self._replace(
            dropped=frozenset(
                host
                for host in hosts
                for pattern in self.dropped
                if host == pattern or fnmatch.fnmatchcase(host, pattern)
            )
        )


def _check_option(name, value, catalogue):
    """Raise UsageError for a value that the schedulers do not accept for an option of the policy."""
    option = next((each for each in OPTIONS if each.field == name), None)
    wanted = option.kind.value if option is not None else WANTED[type(getattr(Policy, name))]
    try:
        Policy.from_json(json.dumps({name: value}), catalogue)
    except errors.InvalidEvent:
        good = False
    else:
        good = name not in LEAST or value >= LEAST[name]
        if option is not None and option.choices is not None:
            good, wanted = value in option.choices, f"one of {', '.join(option.choices)}"
    if not good:
        least = f", {LEAST[name]} or more" if name in LEAST else ""
        raise errors.UsageError(
            f"the option {name} is {json.dumps(value)[:50]}, wanted {wanted}{least}; fix --set or --policy"
        )


def ratio_of(text: str) -> float:
    """Parse an allocation ratio; UsageError for any other text."""
    try:
        ratio = float(text)
    except ValueError:
        ratio = math.nan
    if not 0 < ratio <= MAX_RATIO:
        raise errors.UsageError(f"the allocation ratio is {text!r}, wanted a number above 0; fix --ratio")
    return ratio


class HostEvents:
    """The reports of hosts in the world of a what-if: with the ``changes``, and with the instances that run there now.

    ``is_traffic(instance uuid)`` is true for the instances that the what-if places itself: they are left out of the
    recorded reports.
    """

    def __init__(self, changes: Changes, is_traffic):
        self.changes = changes
        self.is_traffic = is_traffic
        self._inventories = {}
        #: Host -> the bytes of the providers that its agent reported by themselves last.
        self._providers = {}

    def of(self, event) -> list:
        """Return the events that replace a recorded event about a host."""
        host = event.data.host
        if host in self.changes.dropped:
            return []
        if event.name == "ProvidersReported":
            # The report that follows it gets them.
            self._providers[host] = event.data.providers
            return []
        if event.name != "HostReported":
            return [event]
        data = event.data._replace(inventory=self._whole(host, event.data.inventory))
        consumers = self._staying(data)
        packed = self._inventory(host, data.inventory, 0)
        made = [
            event._replace(
                data=data._replace(
                    inventory=packed,
                    consumers=pack(events.HostConsumers(consumers)),
                    consumers_digest=consumers_digest(consumers),
                )
            )
        ]
        for number in range(1, self.changes.added.get(host, 0) + 1):
            name = copy_of(host, number)
            more = data._replace(
                host=name,
                inventory=self._inventory(host, data.inventory, number),
                consumers=pack(events.HostConsumers(())),
                consumers_digest=consumers_digest(()),
            )
            made.append(event._replace(producer=f"compute_agent/{name}", data=more))
        return made

    def _whole(self, host, packed):
        """The inventory of a report, with the providers that its agent reported by themselves."""
        if host not in self._providers:
            return packed
        key = host, self._providers[host], packed
        if key not in self._inventories:
            try:
                facts = events.thaw("HostInventory", packed)
                providers, _ = provider_tree.read_providers(self._providers[host])
                is_split = facts.root_uuid is not None and not facts.providers
                whole = facts._replace(providers=providers, root_uuid=None) if is_split else facts
                self._inventories[key] = pack_oldest(whole)
            except errors.InvalidEvent:
                self._inventories[key] = packed
        return self._inventories[key]

    def changed(self, event):
        """An AggregateUpdated with the hosts of the changes, or an InventoriesPut with their allocation ratios."""
        if event.name == "AggregateUpdated":
            return self._aggregate(event)
        inventories = tuple(self._with_ratio(inventory) for inventory in event.data.inventories)
        return event._replace(data=event.data._replace(inventories=inventories))

    def _with_ratio(self, inventory):
        ratio = self.changes.ratios.get(inventory.resource_class, inventory.allocation_ratio)
        return inventory._replace(allocation_ratio=ratio)

    def _staying(self, data):
        try:
            consumers = events.thaw("HostConsumers", data.consumers).consumers
        except errors.InvalidEvent:
            return ()
        return tuple(consumer for consumer in consumers if not self.is_traffic(consumer.instance_uuid))

    def _inventory(self, host, packed, number):
        if not number and not self.changes.ratios:
            return packed
        key = host, number, packed
        if key not in self._inventories:
            if len(self._inventories) >= KEPT:
                self._inventories.clear()
            try:
                tree = provider_tree.read(packed)
                changed = self._changed(tree.inventory, host, number)
                self._inventories[key] = provider_tree.packed(tree._replace(inventory=changed))
            except errors.InvalidEvent:
                self._inventories[key] = packed
        return self._inventories[key]

    def _changed(self, inventory, host, number):
        providers = tuple(
            provider._replace(inventories=tuple(map(self._with_ratio, provider.inventories)))
            for provider in inventory.providers
        )
        if not number:
            return inventory._replace(providers=providers)
        uuids = {provider.uuid: str(uuid.uuid5(NAMESPACE, f"{provider.uuid}/{number}")) for provider in providers}
        name = copy_of(host, number)
        return inventory._replace(
            nodename=name,
            providers=tuple(
                provider._replace(uuid=uuids[provider.uuid], name=f"{provider.name}+{number}") for provider in providers
            ),
            pci_pools=tuple(
                pool._replace(tags={key: uuids.get(value, value) for key, value in pool.tags.items()})
                for pool in inventory.pci_pools
            ),
        )

    def _aggregate(self, event):
        """Return an AggregateUpdated in which added hosts are beside the host that they copy."""
        hosts = [
            name
            for host in event.data.hosts
            for name in (host, *(copy_of(host, number) for number in range(1, self.changes.added.get(host, 0) + 1)))
        ]
        return event._replace(data=event.data._replace(hosts=tuple(hosts)))


def copy_of(host: str, number: int) -> str:
    """Return the name of an added host."""
    return f"{host}+{number}"[-codec.MAX_NAME :]
