"""Who wrote an event, and which event was in the way of a refused write."""

from typing import NamedTuple

from nova_sched.projection.claim_refusals import ClaimRefused
from nova_sched.projection.ledger import Host
from nova_sched.projection.reason import Reason
from nova_sched.projection.write_refusals import WriteRefused
from nova_sched.replay.logs.matching import subjects
from nova_sched.replay.logs.reading import backwards, holding
from rpc_api.codec import Event


class Writer(NamedTuple):
    """An event, and who wrote it: its place, its name, its producer, and of an API write the request and the user."""

    cell: str
    position: int
    at_ns: int
    event: str
    producer: str
    request: str | None
    user: str | None


def writer_of(cell: str, position: int, event: Event) -> Writer:
    """The Writer of an event."""
    data = event.data
    return Writer(
        cell,
        position,
        event.at_ns,
        event.name,
        event.producer,
        getattr(data, "request_id", None),
        getattr(data, "user_id", None),
    )


class Causes:
    """Finds the event that was in the way of a refused write. The projection has the state at its position."""

    def __init__(self, history, cell, projection, position):
        self._log, self._cell = history.logs[cell], cell
        self._projection, self._position = projection, position

    def of(self, reason, event) -> Writer | None:
        """Return the Writer of the event; None if it is not known, or if none was in the way."""
        if type(reason) is not Reason:
            return None
        find = _CAUSES.get(reason.code)
        return None if find is None else find(self, reason.facts, event)

    def taken(self, provider_uuids, classes=None) -> Writer | None:
        """The event with which the last consumer came that holds something of some providers."""
        entries = {}
        for uuid in provider_uuids:
            tree = self._projection.trees.get(uuid)
            if tree is None:
                continue
            for entry in (tree.entries if type(tree) is Host else tree.users).values():
                if any(
                    held.provider_uuid == uuid and (classes is None or held.resource_class in classes)
                    for held in entry.allocations
                ):
                    entries[entry.consumer_uuid, entry.host] = entry
        last = max(entries.values(), key=lambda entry: entry.position, default=None)
        return None if last is None else self._at(last.position, (last.consumer_uuid, last.instance_uuid))

    def consumer_written(self, uuid) -> Writer | None:
        """The event that wrote the allocations of a consumer last."""
        entries = self._projection.consumers.get(uuid, ())
        if entries:
            return self._at(max(entry.position for entry in entries), (uuid, entries[0].instance_uuid))
        return self._last(uuid, lambda event: uuid in subjects(event).instances)

    def provider_written(self, uuid) -> Writer | None:
        """The event that wrote to a provider last."""
        tree = self._projection.trees.get(uuid)
        at_ns = None if tree is None else self._projection.table.written_ns.item(tree.rows[uuid])
        return self._last(uuid, lambda event: event.at_ns == at_ns and event.name != "ProviderChanged")

    def named(self, name) -> Writer | None:
        """The event that gave its name or uuid to a provider."""

        def gives(event):
            if event.name in ("ProviderCreated", "ProviderChanged"):
                return name in (event.data.name, event.data.provider_uuid)
            return event.name in ("HostReported", "ProvidersReported")

        return self._last(name, gives)

    def deleted(self, uuid) -> Writer | None:
        """The event that removed a provider."""
        return self._last(uuid, lambda event: event.name in ("ProviderDeleted", "HostRemoved"))

    def decided(self, host) -> Writer | None:
        """The event that gave a host its authority."""
        return self._last(host, lambda event: event.name == "AuthorityPassed" and event.data.host == host)

    def _at(self, position, uuids):
        words = [uuid.encode() for uuid in uuids]
        for at, record in holding(self._log, words, position, position):
            for event in record.events:
                if isinstance(event, Event) and at == position:
                    of = subjects(event)
                    if {*uuids}.intersection(of.instances) or event.name == "HostReported":
                        return writer_of(self._cell, at, event)
        return None

    def _last(self, word, test):
        for position, record in backwards(self._log, (word.encode(),), self._position - 1):
            for event in reversed(record.events):
                if isinstance(event, Event) and test(event):
                    return writer_of(self._cell, position, event)
        return None


#: Code of a reason -> what finds its cause: (Causes, facts of the reason, refused event).
_CAUSES = {
    WriteRefused.CAPACITY: lambda causes, facts, event: causes.taken([facts[1]], {facts[0]}),
    WriteRefused.INVENTORY_IN_USE: lambda causes, facts, event: causes.taken([facts[1]], set(facts[0])),
    WriteRefused.IN_USE: lambda causes, facts, event: causes.taken([facts[0]]),
    WriteRefused.GENERATION: lambda causes, facts, event: causes.provider_written(facts[0]),
    WriteRefused.CONSUMER_GENERATION: lambda causes, facts, event: causes.consumer_written(facts[0]),
    WriteRefused.NOTHING_HELD: lambda causes, facts, event: causes.consumer_written(facts[0]),
    WriteRefused.NAME_TAKEN: lambda causes, facts, event: causes.named(facts[0]),
    WriteRefused.UUID_TAKEN: lambda causes, facts, event: causes.named(facts[0]),
    WriteRefused.UNKNOWN_PROVIDER: lambda causes, facts, event: causes.deleted(facts[0]),
    WriteRefused.AGENT_DECIDES: lambda causes, facts, event: causes.decided(facts[0]),
    WriteRefused.AGENT_REPORTS: lambda causes, facts, event: causes.decided(facts[0]),
    ClaimRefused.NO_ROOM: lambda causes, facts, event: causes.taken(
        [one.provider_uuid for one in event.data.allocations if one.resource_class == facts[0]], {facts[0]}
    ),
    ClaimRefused.HOLDS_ALREADY: lambda causes, facts, event: causes.consumer_written(event.data.consumer_uuid),
    ClaimRefused.CONSUMER_CHANGED: lambda causes, facts, event: causes.consumer_written(event.data.consumer_uuid),
}
