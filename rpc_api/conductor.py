"""The RPC contracts of the conductors: of the API level, and of one cell."""

TOPIC = "nova_sched_conductor"
VERSION = "1.0"
LONG_TIMEOUT = 1800


def cell_topic(cell: str) -> str:
    """The topic of the conductors of a cell."""
    return f"{TOPIC}.{cell}"


class ConductorAPI:
    """The API level's conductor."""

    def __init__(self, bus):
        self._client = bus.client(TOPIC, VERSION)

    def schedule_and_build_instances(self, context, spec_obj, instance_uuids):
        """Find hosts and build; returns a Future of one BuildOutcome for each instance."""
        return self._client.call_async(context, "schedule_and_build_instances", timeout=LONG_TIMEOUT,
                                       spec_obj=spec_obj, instance_uuids=list(instance_uuids))

    def delete_instance(self, context, cell, host, instance_uuid):
        """Delete an instance where it runs; returns a Future of None."""
        return self._client.call_async(context, "delete_instance", cell=cell, host=host, instance_uuid=instance_uuid)


class CellConductorAPI:
    """The conductors of one cell."""

    def __init__(self, bus, cell: str):
        self._client = bus.client(cell_topic(cell), VERSION)

    def build_instance(self, context, build):
        """Build one instance on its claimed host or an alternate (a BuildRequest); returns a Future of a BuildOutcome."""
        return self._client.call_async(context, "build_instance", timeout=LONG_TIMEOUT, build=build)

    def delete_instance(self, context, host, instance_uuid):
        """Delete an instance; returns a Future of None."""
        return self._client.call_async(context, "delete_instance", host=host, instance_uuid=instance_uuid)

    def beat(self, context, hosts):
        """Hosts are alive; every conductor of the cell hears it."""
        self._client.cast(context, "beat", fanout=True, hosts=list(hosts))
