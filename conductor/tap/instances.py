"""Where instances are, and the properties of their images, as nova-compute publishes them: InstancesTracked events."""

from collections import OrderedDict
from collections.abc import Iterable

from conductor.tap.decode import Change
from nova_sched.nova_objects.facts import tracked_events
from nova_sched.projection.ledger import NOVA, Host
from nova_sched.projection.projection import Projection
from nova_sched.request.instances import image_properties_of
from rpc_api import events

#: Instances whose last publication is remembered until the log has it, and those that wait for their host.
INSTANCES_KEPT = 20_000
#: States of an instance that has no host any more.
GONE = frozenset({"deleted"})

#: Host of an instance (None: it has none any more), and the properties of its image.
Place = tuple[str | None, dict[str, str]]


class Instances:
    """The instances of a cell, as far as the log does not have them yet."""

    def __init__(self) -> None:
        #: Instance uuid -> its Place as published last, and as the next event has it.
        self._published: OrderedDict[str, Place] = OrderedDict()
        self._moved: OrderedDict[str, Place] = OrderedDict()
        #: Hosts of which messages were lost.
        self._missing_of: set[str] = set()

    def take(self, change: Change) -> str | None:
        """Note a change of an Instance. Returns why it cannot be used (a sentence), else None."""
        fields = change.fields
        uuid = fields.get("uuid")
        if uuid is None:
            return f"an Instance {change.method} without a uuid; upgrade that nova-compute"
        gone = change.method == "destroy" or fields.get("vm_state") in GONE
        if not gone and "host" not in fields:
            return None
        host = None if gone else fields["host"] or None
        properties = image_properties_of(fields.get("system_metadata", {})) if host else {}
        self._moved.pop(uuid, None)
        if self._published.get(uuid) != (host, properties):
            self._moved[uuid] = host, properties
        return None

    def messages_were_lost(self, hosts: Iterable[str]) -> None:
        """The end of some instances on these hosts may have been missed."""
        self._missing_of.update(hosts)

    def publish_again(self) -> None:
        """What was published may not be in the log."""
        self._published.clear()

    def forget_all(self) -> None:
        """Nothing is known any more."""
        self._published.clear()
        self._moved.clear()

    def due(self, projection: Projection) -> list[events.InstancesTracked]:
        """The events for what the log does not have yet."""
        moved, self._moved = self._moved, OrderedDict()
        added: dict[str, list[events.TrackedInstance]] = {}
        gone: dict[str, list[str]] = {}
        for uuid, (host, properties) in moved.items():
            known = projection.tracked.get(uuid)
            if host is not None and projection.hosts.get(host) is None:
                # Its host may be in a report that the log does not have yet.
                self._moved[uuid] = host, properties
                continue
            if host is not None and not _is_of_nova(projection.hosts[host]):
                # Its agent reports it.
                continue
            self._published[uuid] = host, properties
            self._published.move_to_end(uuid)
            if host is None:
                if known is not None:
                    gone.setdefault(known.host, []).append(uuid)
            elif known is None or known.host != host or (properties and known.image_properties != properties):
                added.setdefault(host, []).append(events.TrackedInstance(uuid, properties))
        for kept in (self._published, self._moved):
            while len(kept) > INSTANCES_KEPT:
                kept.popitem(last=False)
        found = tracked_events(added, gone)
        if self._missing_of:
            missing_of, self._missing_of = self._missing_of, set()
            found += tracked_events({}, _without_allocations(projection, missing_of))
        return found


def _without_allocations(projection, names):
    """Name of a host of Nova -> its instances that hold nothing in the log: nova-compute has deleted them, and the
    message was missed."""
    found = {}
    for name in sorted(names):
        host = projection.hosts.get(name)
        if _is_of_nova(host):
            holding = {entry.instance_uuid for entry in host.entries.values()}
            found[name] = sorted(
                uuid for uuid in projection.tracked.of(name) if uuid not in holding and uuid not in projection.consumers
            )
    return found


def _is_of_nova(host: Host | None) -> bool:
    return host is not None and host.authority == NOVA
