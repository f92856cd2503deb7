"""The writes of Placement's API in the world of a what-if."""

from rpc_api import events

#: Writes of Placement's API to what providers are and have.
OF_PROVIDERS = frozenset(
    {
        "ProviderCreated",
        "ProviderChanged",
        "ProviderDeleted",
        "TraitsPut",
        "AggregatesPut",
        "ProviderImported",
        "ClassCreated",
        "ClassRenamed",
        "ClassDeleted",
        "TraitCreated",
        "TraitDeleted",
    }
)


def _put(run, cell, event):
    """Keep what consumers hold that are not instances of the traffic, such as volumes. An instance that holds nothing
    any more has left. A guard may name a generation that the consumer does not have in this world."""
    for one in event.data.consumers:
        if not one.allocations and one.consumer_uuid in run.decided:
            run.leave(run.decided[one.consumer_uuid])
    others = [one for one in event.data.consumers if one.consumer_uuid not in run.decided]
    if others:
        consumers = tuple(one._replace(guarded=False, generation=None) for one in others)
        run.emit(cell, event._replace(data=event.data._replace(consumers=consumers)))


def _imported(run, cell, event):
    """An imported consumer that is no instance of the traffic is as it was imported."""
    one = event.data.consumer
    if one.consumer_uuid in run.decided:
        if not one.allocations:
            run.leave(run.decided[one.consumer_uuid])
    else:
        consumer = one._replace(guarded=False, generation=None)
        run.emit(cell, event._replace(data=event.data._replace(consumer=consumer)))


def _dropped(run, cell, event):
    instance = run.decided.get(event.data.consumer_uuid)
    if instance is not None:
        run.leave(instance)
    else:
        run.emit(cell, event)


def _prepared(run, cell, event):
    """Of a write over several logs only what was committed counts here, as a write of its own in each log."""
    run.prepared[cell, event.data.write_uuid] = event.data.consumers


def _committed(run, cell, event):
    data = event.data
    consumers = run.prepared.pop((cell, data.write_uuid), ())
    if consumers:
        put = events.AllocationsPut(consumers, data.request_id, data.user_id)
        _put(run, cell, event._replace(name="AllocationsPut", data=put))


def _given_up(run, cell, event):
    run.prepared.pop((cell, event.data.write_uuid), None)


#: Name of an event -> what a Run does with one.
OF_CONSUMERS = {
    "AllocationsPut": _put,
    "AllocationsDropped": _dropped,
    "ConsumerImported": _imported,
    "AllocationsPrepared": _prepared,
    "WriteCommitted": _committed,
    "WriteAborted": _given_up,
    "WriteEnded": _given_up,
}
