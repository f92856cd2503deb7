"""The RPC contract of the scheduler: nova's, on the topic ``scheduler``."""

TOPIC = "scheduler"
VERSION = "4.5"
LONG_TIMEOUT = 1800


class SchedulerAPI:
    """Client side, as nova-conductor's own."""

    def __init__(self, bus):
        self._client = bus.client(TOPIC, VERSION)

    def select_destinations(self, context, spec_obj, instance_uuids, return_alternates=True):
        """Ask for hosts; returns a Future of one list of Selection objects for each instance. NoValidHost when the
        instances cannot all be placed."""
        return self._client.call_async(
            context, "select_destinations", timeout=LONG_TIMEOUT, spec_obj=spec_obj,
            instance_uuids=list(instance_uuids), return_objects=True, return_alternates=return_alternates)

    def update_aggregates(self, context, aggregates):
        """Tell all schedulers of host aggregates (Aggregate objects)."""
        self._client.cast(context, "update_aggregates", fanout=True, aggregates=aggregates)
