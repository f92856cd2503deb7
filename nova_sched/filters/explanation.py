"""What an explanation of a filter is made of: the values of one host that the filter compared.

An explanation is pure. If it knows which kind of event made something so, it has a trace, which finds that event with a
:class:`Traces` of the replay: only the replay reads logs.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from nova_sched.hosts.aggregates import HostAggregates
from nova_sched.projection.devices import guest_of
from nova_sched.projection.ledger import PlainTree

#: So many members, instances and the like are named in a text.
NAMED = 3


class Traces(Protocol):
    """Finds the event that made something so on the host of a Look. Each answer is a Cause of the replay, or None if
    no event is known."""

    def entry_event(self, entry, what: str):
        """The event with which an entry came to the host; ``what`` it did, in words."""

    def claim_event(self, position: int | None, what: str):
        """The claim of the scheduler itself at a position of the log of the host's cell."""

    def since(self, holds: Callable, what: str, *words: bytes):
        """The event since which something is so: ``holds(event)`` is True after an event that makes it so, False after
        one that ends it, None for other events. Only records with all ``words`` are read."""

    def reported(self, what: str = ...):
        """The event with which the host reported its present inventory."""

    def provider_event(self, uuid: str, resource_class: str):
        """The write of Placement's API that gave a provider the inventory of a class that it has."""

    def aggregate_event(self, uuids: Iterable[str]):
        """The last change of some aggregates."""

    def member_event(self, entries: Iterable):
        """The event with which the last of some entries of any host came."""

    def latest(self, causes: Iterable):
        """The latest of some causes, of which some may be None."""


def no_trace(traces: Traces) -> None:
    """No event is known."""


class Finding(NamedTuple):
    """``text`` has in one line what was compared, ``values`` the same for programs. ``trace(traces)`` looks for the
    event that made it so. ``near`` is the greater the nearer a refused host was to pass; None if that is no question of
    more or less."""

    text: str
    values: dict
    trace: Callable[[Traces], Any] = no_trace
    near: float | None = None


class Look:
    """One host, and what is asked of it, to be read only.

    ``request`` is as the filters saw it, with what options add to it; ``projections`` are those of all cells by name;
    ``held`` are (cell, position or None, ClaimProposed) of the scheduler's own claims in flight.
    """

    def __init__(self, table, row: int, request, policy, projections, scope, held):
        self.table = table
        self.row = row
        self.request = request
        self.policy = policy
        self.scope = scope
        self.host = table.host_names[row]
        self.cell = table.cells.values[table.cell[row]]
        self.projection = projections[self.cell]
        self._held = held

    @property
    def facts(self):
        """The host as the log has it, beside its columns."""
        return self.projection.hosts[self.host]

    @property
    def entries(self):
        """What is held on the host, as the log has it."""
        return self.facts.entries.values()

    @cached_property
    def in_flight(self):
        """(Position or None, ClaimProposed) of the scheduler's own claims in flight on the host."""
        return [(position, claim) for _, position, claim in self._held if claim.host == self.host]

    def is_own(self, row: int) -> bool:
        """Whether a provider is in the tree of the host, and not a pool that serves it."""
        return self.table.root.item(row) == self.row

    def users_of(self, provider_uuid: str) -> Iterable:
        """What is held of a provider of the host, also by consumers of other hosts if it is a pool."""
        tree = self.projection.trees.get(provider_uuid)
        return tree.users.values() if type(tree) is PlainTree else self.entries

    def in_flight_on(self, provider_uuid: str) -> list:
        """(Position or None, ClaimProposed) of the scheduler's own claims in flight that may take of a provider."""
        if type(self.projection.trees.get(provider_uuid)) is not PlainTree:
            return self.in_flight
        return [(position, claim) for cell, position, claim in self._held if cell == self.cell]

    @property
    def aggregates(self):
        """The AggregateUpdated of each aggregate of the host."""
        of_hosts = HostAggregates(self.table)
        return of_hosts.metadata[of_hosts.column[self.row]].aggregates


def by_words(reason, meaning: str | None = None) -> Finding:
    """The reason itself and its meaning, for a filter that compares nothing more."""
    if reason is None:
        return Finding("passed", {})
    return Finding(f"{reason}: {meaning}" if meaning else str(reason), {}, lambda traces: traces.reported())


def of_aggregates(look: Look, reason) -> Finding:
    """What the host's aggregates have in their metadata."""
    mine = look.aggregates
    shown = "; ".join(f"{each.name} {dict(sorted(each.metadata.items()))}" for each in mine[:NAMED]) or "none"
    return Finding(
        f"{f'{reason}: ' if reason else ''}its aggregates: {shown}",
        {"aggregates": [{"uuid": each.uuid, "name": each.name, "metadata": dict(each.metadata)} for each in mine]},
        lambda traces: traces.aggregate_event([each.uuid for each in mine]),
    )


def last_guest(look: Look, of: str):
    """A trace of the last consumer that has NUMA nodes (``of`` is "numa") or PCI devices ("pci") of the host."""

    def trace(traces):
        for position, claim in reversed(look.in_flight):
            if claim.guest is not None and getattr(guest_of(claim.guest), of):
                return traces.claim_event(position, f"last taken by instance {claim.instance_uuid} (under way)")
        takers = [entry for entry in look.entries if entry.guest is not None and getattr(guest_of(entry.guest), of)]
        last = max(takers, key=lambda entry: entry.position, default=None)
        if last is None:
            return traces.reported()
        return traces.entry_event(last, f"last taken by instance {last.instance_uuid}")

    return trace
