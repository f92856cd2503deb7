"""Which hosts are alive: HostLost and HostSeen events from beats."""

from rpc_api import events

#: Seconds after which an event is published again if it is not in the log.
SAY_AGAIN = 30.0


class Monitor:
    """Beats of hosts, by this process's clock. For a host without a beat, the time of the first look counts; a host
    that the log has as lost stays lost until it beats."""

    def __init__(self, service_down_time: float):
        self.service_down_time = service_down_time
        self._heard_at = {}
        #: Hosts that beat since they were silent for too long, or since the first look.
        self._beat = set()
        #: Host -> (lost or not, when that was published).
        self._said = {}

    def heard(self, hosts, now: float) -> None:
        """Hosts beat at ``now`` (seconds, monotonic)."""
        self._beat.update(hosts)
        for host in hosts:
            self._heard_at[host] = now

    def heard_nothing_for(self, seconds: float, now: float) -> None:
        """For some seconds up to ``now`` no beat could arrive because this process had no connection to the broker:
        that time does not count."""
        for host, at in self._heard_at.items():
            self._heard_at[host] = min(at + seconds, now)

    def changes(self, hosts, now: float):
        """HostLost and HostSeen events for what differs from the projection's ``hosts`` (name -> Host)."""
        said = []
        for name, host in hosts.items():
            silent = now - self._heard_at.setdefault(name, now)
            lost = silent >= self.service_down_time
            if lost:
                self._beat.discard(name)
            if lost == host.lost or (host.lost and name not in self._beat):
                self._said.pop(name, None)
                continue
            before, at = self._said.get(name, (None, 0.0))
            if before != lost or now - at >= SAY_AGAIN:
                self._said[name] = lost, now
                said.append(
                    events.HostLost(name, f"no heartbeat for {silent:.0f} s") if lost else events.HostSeen(name)
                )
        for name in [name for name in self._heard_at if name not in hosts]:
            del self._heard_at[name]
            self._beat.discard(name)
            self._said.pop(name, None)
        return said
