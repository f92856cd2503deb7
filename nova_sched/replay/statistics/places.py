"""Which hosts, and which providers of no host, a claim or a write of allocations concerns."""

from typing import NamedTuple

from nova_sched.projection.ledger import NO_HOST, Host
from nova_sched.replay.logs.matching import consumers_in
from rpc_api.codec import Event

#: (Producer, its epoch, sequence) of an event.
Mark = tuple[str, int, int]


class Places(NamedTuple):
    """Names of hosts, and of the root providers of trees that are no host's."""

    hosts: set[str]
    others: set[str]


def mark_of(event: Event) -> Mark:
    """The mark of an event, as the outcomes of writes have it."""
    return event.producer, event.producer_epoch, event.sequence


def add_places(projection, record, places: dict[Mark, Places]) -> None:
    """Add the places of the events of a record to ``places``: where resources are asked for, and where the consumers
    that are written hold some. The state may be the one before the record or the one after it, so that both together
    show all."""
    if not projection.rules.one_ledger:
        return
    for event in record.events:
        if not isinstance(event, Event):
            continue
        data, consumers, asked = event.data, (), ()
        if event.name == "ClaimProposed":
            asked = data.allocations
        elif event.name == "AllocationsDropped":
            consumers = (data.consumer_uuid,)
        elif event.name in ("AllocationsPut", "Reshaped", "ConsumerImported"):
            consumers = [each.consumer_uuid for each in consumers_in(data)]
            asked = [allocation for each in consumers_in(data) for allocation in each.allocations]
        else:
            continue
        found = places.setdefault(mark_of(event), Places(set(), set()))
        for consumer_uuid in consumers:
            for entry in projection.consumers.get(consumer_uuid, ()):
                asked = [*asked, *entry.allocations]
                if entry.host != NO_HOST:
                    found.hosts.add(entry.host)
        for provider_uuid in {allocation.provider_uuid for allocation in asked}:
            tree = projection.trees.get(provider_uuid)
            if isinstance(tree, Host):
                found.hosts.add(tree.name)
            elif tree is not None:
                found.others.add(projection.table.provider_names[tree.root])
