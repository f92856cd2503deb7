"""The RPC contract of the compute agents. One agent process (``server``) may speak for several hosts."""

TOPIC = "nova_sched_agent"
VERSION = "1.0"
BUILD_TIMEOUT = 600


class AgentAPI:
    """Client side; ``server`` is where the host's agent answers, as its HostReported says."""

    def __init__(self, bus):
        self._client = bus.client(TOPIC, VERSION)

    def build_instance(self, context, server, claim):
        """Start an instance on the host of its claim (a ClaimProposed); returns a BuildAnswer."""
        return self._client.call(context, "build_instance", server=server, timeout=BUILD_TIMEOUT, claim=claim)

    def delete_instance(self, context, server, host, instance_uuid):
        """End an instance; one that is not there is no matter."""
        return self._client.call(context, "delete_instance", server=server, host=host, instance_uuid=instance_uuid)

    def report(self, context, server, host):
        """Ask for a full report of a host."""
        self._client.cast(context, "report", server=server, host=host)
