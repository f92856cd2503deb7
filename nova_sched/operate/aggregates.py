"""Host aggregates of a cloud in which Nova does not run them: created, changed and deleted by events of an operator in
the log of cell0."""

import uuid

from nova_sched.hosts.aggregates import metadata_faults
from nova_sched.operate.publish import published
from nova_sched.projection.ledger import NOVA
from nova_sched.projection.state import CELL0
from nova_sched.replay.logs.reading import backwards
from rpc_api import errors, events
from rpc_api.codec import Event
from rpc_api.wording import number_of

ZONE = "availability_zone"


class Aggregates:
    """The aggregates of a world (a World that has cell0); ``operator`` is the name under which changes are published.

    A change raises NovaSchedError for an aggregate that Nova publishes, or with hosts of Nova: Nova would not know it.
    """

    def __init__(self, world, logs, operator: str):
        if CELL0 not in world.projections:
            raise errors.UsageError(
                "aggregates are in the log of cell0, which is not named; name it with --log cell0=URL"
            )
        self._world = world
        self._log, self._state = logs[CELL0], world.projections[CELL0]
        self._operator = operator

    def listed(self, names=()) -> list:
        """The AggregateUpdated of all aggregates, or of those with some names or uuids, by name."""
        found = sorted(self._world.table.aggregates.values(), key=lambda one: (one.name, one.uuid))
        for name in names:
            self.one(name)
        return [one for one in found if not names or one.name in names or one.uuid in names]

    def one(self, name: str):
        """The aggregate of a name or uuid; NovaSchedError if there is none, or several."""
        found = [one for one in self._world.table.aggregates.values() if name in (one.name, one.uuid)]
        if not found:
            raise errors.NovaSchedError(f"there is no aggregate {name!r}; see nova-sched aggregate list")
        if len(found) > 1:
            uuids = ", ".join(sorted(one.uuid for one in found))
            raise errors.NovaSchedError(
                f"{number_of(len(found), 'aggregate')} have the name {name!r}; name one by its uuid: {uuids}"
            )
        return found[0]

    def create(self, name: str, hosts, metadata: dict) -> str:
        """Create an aggregate; return what was done, in words."""
        if any(one.name == name for one in self._world.table.aggregates.values()):
            raise errors.NovaSchedError(f"there is an aggregate {name!r} already; change it with aggregate set")
        if not name:
            raise errors.UsageError("the name of an aggregate is empty; name it")
        _check_zone_name(metadata)
        made = events.AggregateUpdated(str(uuid.uuid4()), name, tuple(sorted(set(hosts))), metadata)
        return f"aggregate {name} {made.uuid} is created {self._put(made, hosts)}"

    def change(self, name, new_name, add, remove, metadata, unset) -> str:
        """Change an aggregate: its name (None: it stays), hosts that come and go, metadata that is set and unset;
        return what was done, in words."""
        known = self.one(name)
        self._check_is_ours(known)
        _check_zone_name(metadata)
        strange = sorted(set(remove) - set(known.hosts))
        if strange:
            raise errors.NovaSchedError(
                f"{strange[0]} is not a host of the aggregate {known.name}, wanted some of "
                f"{', '.join(known.hosts) or '(none)'}; fix --remove-host"
            )
        missing = sorted(set(unset) - set(known.metadata))
        if missing:
            raise errors.NovaSchedError(
                f"the aggregate {known.name} has no property {missing[0]!r}, wanted some of "
                f"{', '.join(sorted(known.metadata)) or '(none)'}; fix --unset"
            )
        kept = {key: value for key, value in known.metadata.items() if key not in unset}
        hosts = tuple(sorted((set(known.hosts) - set(remove)) | set(add)))
        changed = events.AggregateUpdated(known.uuid, new_name or known.name, hosts, {**kept, **metadata})
        if changed == known:
            return f"aggregate {known.name} {known.uuid} is so already"
        return f"aggregate {changed.name} {changed.uuid} is changed {self._put(changed, add)}"

    def delete(self, name: str) -> str:
        """Delete an aggregate without hosts; return what was done, in words."""
        known = self.one(name)
        self._check_is_ours(known)
        if known.hosts:
            raise errors.NovaSchedError(
                f"the aggregate {known.name} has hosts, such as {known.hosts[0]}; remove all {len(known.hosts)} first"
            )
        position = published(self._log, self._state, self._operator, events.AggregateDeleted(known.uuid))
        return f"aggregate {known.name} {known.uuid} is deleted from position {position} of {CELL0} on"

    def _put(self, aggregate, new_hosts):
        self._check_hosts(new_hosts)
        self._check_zones(aggregate)
        for fault in metadata_faults(aggregate):
            raise errors.UsageError(fault)
        position = published(self._log, self._state, self._operator, aggregate)
        return f"from position {position} of {CELL0} on"

    def _check_is_ours(self, aggregate):
        for _, record in backwards(self._log, (aggregate.uuid.encode(), b"AggregateUpdated"), self._state.position):
            for event in reversed(record.events):
                if isinstance(event, Event) and event.name == "AggregateUpdated" and event.data.uuid == aggregate.uuid:
                    if event.producer.startswith("scheduler/"):
                        raise errors.NovaSchedError(
                            f"the aggregate {aggregate.name} was published by Nova (through {event.producer}), which "
                            "would not know of a change; use openstack aggregate"
                        )
                    return

    def _check_hosts(self, names):
        known = {host.name: host for one in self._world.projections.values() for host in one.hosts.values()}
        for name in names:
            if name not in known:
                raise errors.NovaSchedError(
                    f"there is no host {name!r} in {', '.join(sorted(self._world.projections))}; "
                    "see nova-sched host list"
                )
            if known[name].authority == NOVA:
                raise errors.NovaSchedError(
                    f"{name} is a host of Nova, which runs its aggregates; use openstack aggregate add host"
                )

    def _check_zones(self, aggregate):
        """As in Nova, a host is in one availability zone."""
        zone = aggregate.metadata.get(ZONE)
        for other in self._world.table.aggregates.values() if zone is not None else ():
            elsewhere = other.metadata.get(ZONE)
            both = sorted(set(other.hosts) & set(aggregate.hosts))
            if other.uuid != aggregate.uuid and both and elsewhere not in (None, zone):
                raise errors.NovaSchedError(
                    f"{both[0]} is in the zone {elsewhere} by the aggregate {other.name}, and a host is in one zone; "
                    "remove it there first"
                )


def _check_zone_name(metadata):
    """As in Nova, where a server may be requested in ZONE:HOST."""
    zone = metadata.get(ZONE, "")
    if ":" in zone:
        raise errors.UsageError(
            f"{zone!r} cannot be the name of a zone, because Nova allows no ':' in it; choose another name"
        )
