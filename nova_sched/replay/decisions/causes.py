"""The events that made something so: found at a position, or backwards from one."""

from typing import NamedTuple

from nova_sched.projection.provider_rows import inventories_of
from nova_sched.projection.write_handlers import WRITE_HANDLERS
from nova_sched.replay.logs.matching import subjects
from nova_sched.replay.logs.reading import backwards, decoded_records
from rpc_api.codec import Event


class Cause(NamedTuple):
    """An event that made something so: its position in a log, when and by which producer it was published, and ``what``
    it did, in words."""

    cell: str
    position: int
    at_ns: int | None
    producer: str | None
    what: str


def event_at(log, cell: str, position: int, what: str, test=lambda event: True) -> Cause:
    """The Cause of the first event of the record at a position that passes a test; of an unknown producer if the
    log does not hold the record any more."""
    for _, record in decoded_records(log, position, position):
        for event in record.events:
            if isinstance(event, Event) and test(event):
                return Cause(cell, position, event.at_ns, event.producer, what)
    return Cause(cell, position, None, None, what)


def since(log, cell: str, last: int, words, holds, what: str) -> Cause | None:
    """The Cause of what has been so ever since, up to the record ``last``: the event with which it began.

    ``holds(event)`` is True for an event after which it is so, False for an event after which it is not, None for other
    events. Only records that hold all ``words`` are read. None if no event made it so.
    """
    found = None
    for position, record in backwards(log, words, last):
        for event in reversed(record.events):
            held = holds(event) if isinstance(event, Event) else None
            if held is False:
                return found
            if held:
                found = Cause(cell, position, event.at_ns, event.producer, what)
    return found


class LogTraces:
    """Finds the events that made something so on the host of a Look, in the logs of a History: the
    :class:`~nova_sched.filters.explanation.Traces` that the explanations of filters ask."""

    def __init__(self, history, scene, look):
        self._logs = history.logs
        self._scene = scene
        self._look = look

    @property
    def _log(self):
        return self._logs[self._look.cell]

    def entry_event(self, entry, what: str) -> Cause:
        """The event with which an entry came to the host."""

        def names(event):
            data = event.data
            consumer = getattr(data, "consumer", None)
            if event.name in WRITE_HANDLERS:
                return entry.consumer_uuid in subjects(event).instances
            return (
                entry.instance_uuid in (getattr(data, "instance_uuid", None), getattr(consumer, "instance_uuid", None))
                or getattr(data, "host", None) == entry.host
            )

        return event_at(self._log, self._look.cell, entry.position, what, names)

    def claim_event(self, position: int | None, what: str) -> Cause:
        """The claim of the scheduler itself at a position of the log of the host's cell."""
        return event_at(self._log, self._look.cell, position, what)

    def since(self, holds, what: str, *words: bytes) -> Cause | None:
        """Since when something is so of the host."""
        look = self._look
        return since(self._log, look.cell, look.projection.position, (look.host.encode(), *words), holds, what)

    def reported(self, what: str = "reported so by its agent") -> Cause | None:
        """When the host reported the inventory that it has."""
        host, inventory = self._look.host, self._look.facts.inventory
        return self.since(
            lambda event: (
                event.data.inventory == inventory if event.name == "HostReported" and event.data.host == host else None
            ),
            what,
            b"HostReported",
        )

    def provider_event(self, uuid, resource_class) -> Cause | None:
        """The write of Placement's API that gave a provider the inventory of a class that it has."""
        table = self._look.table
        mine = inventories_of(table, table.row_of_uuid[uuid]).get(resource_class)

        def gives(event):
            if event.name in ("InventoriesPut", "ProviderImported") and event.data.provider_uuid == uuid:
                return mine in event.data.inventories
            if event.name == "Reshaped":
                return any(one.provider_uuid == uuid and mine in one.inventories for one in event.data.inventories)
            return False

        what = f"provider {table.provider_names[table.row_of_uuid[uuid]]} got its inventory of {resource_class}"
        # (Other inventories were replaced or refused: the last one that is as it is now made it so.)
        for position, record in backwards(self._log, (uuid.encode(),), self._look.projection.position):
            for event in reversed(record.events):
                if isinstance(event, Event) and gives(event):
                    return Cause(self._look.cell, position, event.at_ns, event.producer, what)
        return None

    def aggregate_event(self, uuids) -> Cause | None:
        """The last change of some aggregates."""
        return self.latest(
            since(
                self._logs[cell],
                cell,
                projection.position,
                (uuid.encode(), b"AggregateUpdated"),
                lambda event, uuid=uuid, updated=projection.aggregates[uuid]: (
                    event.data == updated if event.name == "AggregateUpdated" and event.data.uuid == uuid else None
                ),
                f"aggregate {projection.aggregates[uuid].name} became so",
            )
            for cell, projection in self._scene.world.projections.items()
            for uuid in uuids
            if uuid in projection.aggregates
        )

    def member_event(self, entries) -> Cause | None:
        """The event with which the last of some entries came, in any cell."""
        for cell, position, claim in self._scene.held:
            if any(entry.claim_uuid == claim.claim_uuid for entry in entries):
                return event_at(
                    self._logs[cell],
                    cell,
                    position,
                    f"member {claim.instance_uuid} was claimed on {claim.host} (by the scheduler itself, under way)",
                )
        last = max((entry for entry in entries if entry.position >= 0), key=lambda entry: entry.position, default=None)
        if last is None:
            return None
        projections = self._scene.world.projections
        cell = next((cell for cell, each in projections.items() if last.host in each.hosts), self._look.cell)
        return event_at(self._logs[cell], cell, last.position, f"member {last.instance_uuid} came to {last.host}")

    def latest(self, causes) -> Cause | None:
        """The latest of some causes, of which some may be None."""
        return max((cause for cause in causes if cause), key=lambda cause: cause.at_ns or 0, default=None)
