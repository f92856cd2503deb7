"""Which instances, and which of their hosts, a record with writes of Placement's API names."""

from rpc_api.codec import Event

_PUT = ("AllocationsPut", "AllocationsPrepared")


def named_in(record) -> set[str]:
    """The consumers that the writes in a DecodedRecord name."""
    found = set()
    for event in record.events:
        if isinstance(event, Event) and event.name in _PUT:
            found.update(each.consumer_uuid for each in event.data.consumers)
        elif isinstance(event, Event) and event.name == "WriteCommitted":
            found.update(event.data.consumer_uuids)
    return found


def hosts_in(record, named, table) -> dict[str, set[str]]:
    """Consumer uuid -> the hosts on which the writes in a DecodedRecord put something for it, of the consumers
    ``named``. Providers that are no host's are left out."""
    found = {}
    for event in record.events:
        if isinstance(event, Event) and event.name in _PUT:
            for consumer in event.data.consumers:
                if consumer.consumer_uuid in named:
                    hosts = found.setdefault(consumer.consumer_uuid, set())
                    for provider_uuid in {allocation.provider_uuid for allocation in consumer.allocations}:
                        row = table.row_of_uuid.get(provider_uuid)
                        hosts.add(table.host_names[int(table.root[row])] if row is not None else "")
                    hosts.discard("")
    return found
