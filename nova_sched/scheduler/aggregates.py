"""Host aggregates that Nova reports to this scheduler, written to the log of cell0 where they differ from it."""

from nova_sched.projection.fold import CELL0
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
        #: Aggregate uuid -> (mark, AggregateUpdated or None) of its last event, which is perhaps not read back yet.
        self._published = {}
        #: AggregateUpdated that the log of cell0 has perhaps forgotten, to be appended again once it is folded.
        self._remembered = ()

    def update(self, aggregate) -> None:
        """Append an AggregateUpdated, unless the log has the aggregate in this form."""
        self._publish_if_new(aggregate.uuid, aggregate, aggregate)

    def delete(self, uuid) -> None:
        """Append an AggregateDeleted, if there is such an aggregate."""
        self._publish_if_new(uuid, events.AggregateDeleted(uuid), None)

    def _publish_if_new(self, uuid, data, wanted):
        """Append what makes an aggregate as it is ``wanted`` (None: gone). Nova does not report it a second time."""
        self._outbox.withdraw(lambda record: isinstance(record, _OF_AGGREGATES) and record.uuid == uuid)
        mark, known = self._published.pop(uuid, (NEVER, None))
        if mark <= self._projections[CELL0].producers.get(self._name, NEVER):
            known = self._table.aggregates.get(uuid)
        else:
            # What is published counts from then on: it may be taken back before it is read back.
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
        """The log of cell0 is folded: append what it lacks of the remembered aggregates."""
        self.restore(self._remembered)
        self._remembered = ()

    def restore(self, aggregates) -> None:
        """Append those of some AggregateUpdated records that the log of cell0 has forgotten."""
        for aggregate in aggregates:
            if aggregate.uuid not in self._table.aggregates:
                self._outbox.post(CELL0, aggregate)
