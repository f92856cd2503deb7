"""Where nova-compute reports instances, beside what the agents of the hosts report."""

from collections.abc import Mapping
from typing import NamedTuple


class Tracked(NamedTuple):
    """An instance on a host, with the properties of its image (as text)."""

    host: str
    instance_uuid: str
    image_properties: Mapping[str, str]


class TrackedInstances:
    """Instances by host and by uuid; the last report about an instance counts."""

    def __init__(self) -> None:
        #: Host -> instance uuid -> Tracked.
        self.by_host: dict[str, dict[str, Tracked]] = {}
        self._by_uuid: dict[str, Tracked] = {}

    def get(self, instance_uuid: str) -> Tracked | None:
        """Where an instance was reported; None if it was not."""
        return self._by_uuid.get(instance_uuid)

    def of(self, host: str) -> dict[str, Tracked]:
        """Instance uuid -> Tracked of one host."""
        return self.by_host.get(host, {})

    def put(self, host: str, instance_uuid: str, image_properties: Mapping[str, str]) -> None:
        """Note an instance on a host. A report without image properties keeps the known ones."""
        known = self._by_uuid.get(instance_uuid)
        if known is not None:
            self.drop(known.host, instance_uuid)
            image_properties = image_properties or known.image_properties
        tracked = self._by_uuid[instance_uuid] = Tracked(host, instance_uuid, image_properties)
        self.by_host.setdefault(host, {})[instance_uuid] = tracked

    def drop(self, host: str, instance_uuid: str) -> None:
        """Forget an instance, if it was last reported on this host."""
        of_host = self.by_host.get(host, {})
        if of_host.pop(instance_uuid, None) is not None:
            del self._by_uuid[instance_uuid]
            if not of_host:
                del self.by_host[host]

    def drop_host(self, host: str) -> None:
        """Forget all instances of a host."""
        for instance_uuid in list(self.of(host)):
            self.drop(host, instance_uuid)

    def facts(self) -> list[tuple[str, list[tuple[str, list[tuple[str, str]]]]]]:
        """All of it in one order (for digests and snapshots)."""
        return [
            (
                host,
                [
                    (tracked.instance_uuid, sorted(tracked.image_properties.items()))
                    for _, tracked in sorted(of_host.items())
                ],
            )
            for host, of_host in sorted(self.by_host.items())
        ]
