"""What consumers hold, written as a whole: the entries that follow from the allocations of a consumer.

A consumer has one entry for each host of which it holds something. What it holds of providers that are no host's
belongs to the first of these entries, or to one without a host.
"""

from collections.abc import Iterable, Sequence, Set

from nova_sched.projection.holding import add_entry, index_entry, remove_entry, unindex_entry
from nova_sched.projection.ledger import AGENT, HELD, NO_HOST, RUNNING, Entry, Holder, Host
from nova_sched.projection.state import State
from nova_sched.projection.use import count_elsewhere
from rpc_api.digest import consumer_hash
from rpc_api.events import Allocation, ClaimTerms

#: (provider uuid, resource class) -> amount.
Amounts = dict[tuple[str, str], int]


def held_by(projection: State, consumer_uuid: str) -> Amounts:
    """What a consumer holds of all providers of the log."""
    held: Amounts = {}
    for entry in projection.consumers.get(consumer_uuid, ()):
        for provider_uuid, resource_class, amount in entry.allocations:
            held[provider_uuid, resource_class] = held.get((provider_uuid, resource_class), 0) + amount
    return held


def remove(projection: State, entry: Entry) -> None:
    """Remove an entry, on a host or on none."""
    host = projection.hosts.get(entry.host)
    if host is not None:
        remove_entry(projection, host, entry)
    else:
        unindex_entry(projection, entry)
        count_elsewhere(projection, entry, -1)


def add(projection: State, entry: Entry) -> None:
    """Add an entry, on a host or on none."""
    host = projection.hosts.get(entry.host)
    if host is not None:
        add_entry(projection, host, entry)
    else:
        index_entry(projection, entry)
        count_elsewhere(projection, entry, +1)


def take_out(projection: State, consumer_uuid: str) -> tuple[Entry, ...]:
    """Remove all entries of a consumer."""
    entries = projection.consumers.get(consumer_uuid, ())
    for entry in entries:
        remove(projection, entry)
    return entries


def put(
    projection: State,
    consumer_uuid: str,
    project_id: str | None,
    allocations: Iterable[Allocation],
    before: Sequence[Entry],
    given_up: Set[str],
    terms: ClaimTerms | None,
    position: int,
) -> None:
    """Give a consumer without entries those that follow from its allocations.

    An entry on a host where it had one before keeps the terms of that one. ``before`` are also the entries that other
    consumers lost in the same write: the terms pass to a consumer that gets the same allocations on the same host, as
    the resources of an instance pass to its migration and back. They pass from the consumers that are ``given_up`` in
    the write also to one that had an entry there: an instance that was resized on its host gets its old terms back.
    ``terms`` are those of a new entry on their host.
    """
    for host_name, part in _by_host(projection, allocations).items():
        known = _terms_before(consumer_uuid, host_name, part, before, given_up)
        if known is not None:
            entry = _copy(known, consumer_uuid, project_id, part, position)
        else:
            entry = Entry(consumer_uuid, consumer_uuid, project_id, host_name, part, None, None, HELD, position, 0)
            if terms is not None and terms.host == host_name:
                entry.instance_uuid, entry.rule, entry.guest = terms.instance_uuid, terms.rule, terms.guest
        add(projection, entry)


def _by_host(projection: State, allocations: Iterable[Allocation]) -> dict[str, tuple[Allocation, ...]]:
    by_host: dict[str, list[Allocation]] = {}
    others: list[Allocation] = []
    for allocation in allocations:
        tree = projection.trees.get(allocation.provider_uuid)
        (by_host.setdefault(tree.name, []) if type(tree) is Host else others).append(allocation)
    if others:
        by_host.setdefault(next(iter(by_host), NO_HOST), []).extend(others)
    return {host_name: tuple(part) for host_name, part in by_host.items()}


def _terms_before(
    consumer_uuid: str, host_name: str, part: Sequence[Allocation], before: Sequence[Entry], given_up: Set[str]
) -> Entry | None:
    wanted, own, others = sorted(part), None, []
    for entry in before:
        if entry.host == host_name and host_name != NO_HOST:
            if entry.consumer_uuid == consumer_uuid:
                own = entry
            elif sorted(entry.allocations) == wanted:
                others.append(entry)
    passed = next((entry for entry in others if entry.consumer_uuid in given_up), None)
    return passed or own or next(iter(others), None)


def _copy(
    known: Entry, consumer_uuid: str, project_id: str | None, part: tuple[Allocation, ...], position: int
) -> Entry:
    return Entry(
        consumer_uuid,
        known.instance_uuid,
        project_id,
        known.host,
        part,
        known.rule,
        None,
        HELD,
        position,
        0,
        known.guest,
    )


# --- when trees and hosts change -------------------------------------------------------------------------------------


class SetApart:
    """Consumers whose entries are taken out while trees change, and put back as they follow from the trees then."""

    def __init__(self, projection: State, consumers: Iterable[str]) -> None:
        self._projection = projection
        self._taken: list[tuple[str, Holder, tuple[Entry, ...]]] = []
        for consumer_uuid in sorted(set(consumers)):
            holder = projection.holders[consumer_uuid]
            generation = holder.generation
            entries = take_out(projection, consumer_uuid)
            holder.generation = generation
            self._taken.append((consumer_uuid, holder, entries))

    def rename_class(self, name: str, new_name: str, providers: set[str]) -> None:
        """Give a resource class another name in what was taken out, on some providers."""
        for _, _, entries in self._taken:
            for entry in entries:
                entry.allocations = tuple(
                    allocation._replace(resource_class=new_name)
                    if allocation.resource_class == name and allocation.provider_uuid in providers
                    else allocation
                    for allocation in entry.allocations
                )

    def put_back(self) -> None:
        """Give all consumers their allocations again. Each entry stays the one of its host."""
        projection = self._projection
        for consumer_uuid, holder, entries in self._taken:
            for host_name, part in self._by_host(entries).items():
                add(projection, self._entry(consumer_uuid, host_name, part, entries))
            # What was added had a new holder, as the first entry of a consumer has.
            if consumer_uuid in projection.consumers:
                projection.holders[consumer_uuid] = holder

    def _by_host(self, entries: Sequence[Entry]) -> dict[str, tuple[Allocation, ...]]:
        """As :func:`_by_host`; but what an entry holds of a provider that is not a host's, or that its host does not
        report, stays with the host of the entry."""
        trees, hosts = self._projection.trees, self._projection.hosts
        by_host: dict[str, list[Allocation]] = {}
        others: list[Allocation] = []
        for entry in entries:
            for allocation in entry.allocations:
                tree = trees.get(allocation.provider_uuid)
                if type(tree) is Host:
                    by_host.setdefault(tree.name, []).append(allocation)
                elif entry.host in hosts:
                    by_host.setdefault(entry.host, []).append(allocation)
                else:
                    others.append(allocation)
        if others:
            by_host.setdefault(next(iter(by_host), NO_HOST), []).extend(others)
        return {host_name: tuple(part) for host_name, part in by_host.items()}

    def _entry(
        self, consumer_uuid: str, host_name: str, part: tuple[Allocation, ...], entries: Sequence[Entry]
    ) -> Entry:
        known = next((entry for entry in entries if entry.host == host_name), None) or entries[0]
        host = self._projection.hosts.get(host_name)
        entry = Entry(
            consumer_uuid,
            known.instance_uuid,
            known.project_id,
            host_name,
            part,
            known.rule if known.host == host_name else None,
            known.claim_uuid if known.host == host_name else None,
            known.state,
            known.position,
            known.hash,
            known.guest if known.host == host_name else None,
            known.watched_from_ms,
        )
        settle(entry, AGENT if host is not None and host.authority == AGENT else None)
        return entry


def settle(entry: Entry, authority: str | None) -> None:
    """Give an entry the state that fits the authority over its host: what Nova holds is in use on a host of an agent,
    and what is claimed or in use on a host of an agent is held by Nova."""
    if authority == AGENT:
        if entry.state is HELD:
            entry.state = RUNNING
            entry.hash = consumer_hash(entry.instance_uuid, entry.allocations, entry.guest)
    elif entry.state is not HELD:
        entry.state, entry.hash, entry.watched_from_ms = HELD, 0, 0


def users_of(projection: State, uuids: Iterable[str]) -> set[str]:
    """The consumers that hold something of some providers, or of others in the same trees."""
    found: set[str] = set()
    for tree in dict.fromkeys(projection.trees[uuid] for uuid in uuids):
        if isinstance(tree, Host):
            found.update(tree.entries)
        else:
            found.update(consumer for consumer, _ in tree.users)
    return found
