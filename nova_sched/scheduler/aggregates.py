"""Host aggregates that Nova reports to this scheduler. They are written to the log of cell0 if they differ from it."""

from nova_sched.projection.state import CELL0
from nova_sched.scheduler.claims import NEVER
from rpc_api import errors, events

_OF_AGGREGATES = (events.AggregateUpdated, events.AggregateDeleted)


class Aggregates:
    """``publish(cell, *data)``, ``outbox``, ``projections`` (cell -> Projection), ``table`` and ``name`` (the producer)
    are those of the engine."""

    def __init__(self, publish, outbox, projections, table, name):
        self._publish = publish
        self._outbox = outbox
        self._projections = projections
        self._table = table
        self._name = name
        #: Aggregate uuid -> (mark, AggregateUpdated or None) of its last event, which may not be read back yet.
        self._published = {}
        #: AggregateUpdated records that the log of cell0 may have lost. They are appended again once it is folded.
        self._remembered = ()

    def update(self, aggregate) -> None:
        """Append an AggregateUpdated, unless the log has the aggregate in this form."""
        self._publish_if_new(aggregate.uuid, aggregate, aggregate)

    def delete(self, uuid) -> None:
        """Append an AggregateDeleted, if there is such an aggregate."""
        self._publish_if_new(uuid, events.AggregateDeleted(uuid), None)

    def _publish_if_new(self, uuid, data, wanted):
        """Append the event that brings an aggregate into the ``wanted`` state (None: deleted). Nova does not report it
        twice."""
        self._outbox.withdraw(lambda record: isinstance(record, _OF_AGGREGATES) and record.uuid == uuid)
        mark, known = self._published.pop(uuid, (NEVER, None))
        if mark <= self._projections[CELL0].producers.get(self._name, NEVER):
            known = self._table.aggregates.get(uuid)
        else:
            # A published event counts at once: Nova may report the opposite before the event is read back.
            self._published[uuid] = mark, known
        if known != wanted:
            try:
                self._published[uuid] = self._publish(CELL0, data), wanted
            except errors.LogUnavailable:
                self._outbox.put_off(CELL0, data)

    def remember(self, aggregates) -> None:
        """Keep AggregateUpdated records that the log of cell0 may lack when it is folded again."""
        self._remembered = (*self._remembered, *aggregates)

    def restore_remembered(self) -> None:
        """The log of cell0 is folded: append the remembered aggregates that it does not have."""
        self.restore(self._remembered)
        self._remembered = ()

    def restore(self, aggregates) -> None:
        """Append those of some AggregateUpdated records that the log of cell0 has lost."""
        for aggregate in aggregates:
            if aggregate.uuid not in self._table.aggregates:
                self._outbox.post(CELL0, aggregate)
