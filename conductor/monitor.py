"""Which hosts are heard of: from beats to HostLost and HostSeen."""

from rpc_api import events


class Monitor:
    """Beats of hosts, by this process's clock. A host that never beat counts from when it was first looked at."""

    def __init__(self, service_down_time: float):
        self.service_down_time = service_down_time
        self._heard_at = {}

    def heard(self, hosts, now: float) -> None:
        """Hosts beat at ``now`` (seconds, monotonic)."""
        for host in hosts:
            self._heard_at[host] = now

    def changes(self, hosts, now: float):
        """HostLost and HostSeen events for what differs from the projection's ``hosts`` (name -> Host)."""
        said = []
        for name, host in hosts.items():
            silent = now - self._heard_at.setdefault(name, now)
            if silent >= self.service_down_time and not host.lost:
                said.append(events.HostLost(name, f"not heard of for {silent:.0f} s"))
            elif silent < self.service_down_time and host.lost:
                said.append(events.HostSeen(name))
        for name in [name for name in self._heard_at if name not in hosts]:
            del self._heard_at[name]
        return said
