"""Instances, server groups and aggregates: what Nova has and our logs do not, and the events that change it."""

from collections.abc import Collection, Iterator, Mapping

from nova_sched.migration.cloud import Cloud
from nova_sched.migration.compare import Difference, changed, changed_map
from nova_sched.migration.nova_hosts import status_differences
from nova_sched.nova_objects import facts
from nova_sched.projection.ledger import AGENT, MEMBER, NOVA, Entry
from nova_sched.projection.projection import Projection
from nova_sched.projection.state import CELL0
from nova_sched.selection.claim_rules import RULE_OF_POLICY
from rpc_api import errors, events
from rpc_api.events.schema import FrozenRecord

# --- terms of consumers ----------------------------------------------------------------------------------------------


class Terms:
    """The server group and the guest of what consumers hold on the hosts of a log that belong to Nova: instances, and
    the migrations that hold the old host of an instance."""

    def __init__(self, cloud: Cloud, projection: Projection) -> None:
        self._cloud, self._projection = cloud, projection
        self._moves = cloud.moves()
        #: Instance that is moved -> the host where its own uuid holds something.
        self._dest = {move.instance_uuid: move.dest for move in self._moves.values() if move.dest is not None}

    def __call__(self, consumer: str) -> events.ClaimTerms | None:
        """The terms of a consumer; None if it has none, or if its host is not known here."""
        nova, move = self._cloud.nova, self._moves.get(consumer)
        uuid = consumer if move is None else move.instance_uuid
        instance = None if nova is None else nova.instances.get(uuid)
        if nova is None or instance is None:
            return None
        name = self._dest.get(uuid, instance.host) if move is None else move.source
        host = self._projection.hosts.get(name)
        if host is None or host.authority != NOVA:
            return None
        group, guest = nova.groups.get(uuid), self._cloud.guest(consumer, name)
        if group is None and guest is None:
            return None
        # The terms of an import replace all that are there, and not each reading knows all of them.
        known = held_on(self._projection, consumer, name)
        rule = None if known is None else known.rule
        if group is not None and (rule is None or rule.group_uuid != group.uuid):
            policy = RULE_OF_POLICY.get(group.policy, MEMBER)
            limit = group.limit if group.policy == "anti-affinity" else 0
            rule = events.GroupRule(group.uuid, policy, name, uuid, limit)
        if guest is None and known is not None:
            guest = known.guest
        return events.ClaimTerms(name, uuid, rule, guest, None)


def entry_of(projection: Projection, consumer: str, terms: events.ClaimTerms) -> Entry | None:
    """What a consumer holds on the host of its terms; None if it holds nothing there."""
    return held_on(projection, consumer, terms.host)


def held_on(projection: Projection, consumer: str, host: str) -> Entry | None:
    """What a consumer holds on a host; None if it holds nothing there."""
    return next((entry for entry in projection.consumers.get(consumer, ()) if entry.host == host), None)


def terms_differ(entry: Entry, terms: events.ClaimTerms) -> list[str]:
    """What an entry has in another way than its terms say: ``server group``, ``NUMA`` or ``PCI``. Who made it may have
    had more to say, such as the anchor of an affinity group."""
    found = []
    if terms.rule is not None and (entry.rule is None or entry.rule.group_uuid != terms.rule.group_uuid):
        found.append("server group")
    if terms.guest is not None:
        wanted = events.thaw("Guest", terms.guest)
        has = events.Guest((), (), {}) if entry.guest is None else events.thaw("Guest", entry.guest)
        if _cells(wanted) != _cells(has):
            found.append("NUMA")
        if _devices(wanted) != _devices(has):
            found.append("PCI")
    return found


def _cells(guest: events.Guest) -> list[tuple[object, ...]]:
    return sorted((use.cell, use.shared_cpus, use.pins, use.memory_mb, use.page_kb) for use in guest.numa)


def _devices(guest: events.Guest) -> dict[str, int]:
    counts: dict[str, int] = {}
    for use in guest.pci:
        counts[use.pool] = counts.get(use.pool, 0) + use.count
    return counts


# --- events ----------------------------------------------------------------------------------------------------------


def instance_events(cloud: Cloud, projection: Projection, without: Collection[str] = frozenset()) -> list[FrozenRecord]:
    """Where instances are, and the properties of their images; ``without`` are instances to leave out."""
    added: dict[str, list[events.TrackedInstance]] = {}
    gone: dict[str, list[str]] = {}
    for host, wanted in sorted(_wanted_instances(cloud, projection).items()):
        tracked = projection.tracked.of(host)
        for uuid, properties in sorted(wanted.items()):
            known = tracked.get(uuid)
            if uuid in without:
                continue
            if known is None or (properties is not None and properties != known.image_properties):
                added.setdefault(host, []).append(events.TrackedInstance(uuid, dict(properties or {})))
        gone[host] = sorted(tracked.keys() - wanted.keys() - set(without))
    return list(facts.tracked_events(added, gone))


def _wanted_instances(cloud: Cloud, projection: Projection) -> dict[str, dict[str, Mapping[str, str] | None]]:
    """Host of Nova -> the instances that it should have, with the properties of their images."""
    if cloud.nova is None:
        return {}
    wanted: dict[str, dict[str, Mapping[str, str] | None]] = {
        name: {} for name, host in projection.hosts.items() if host.authority == NOVA
    }
    for uuid, instance in cloud.nova.instances.items():
        if instance.host in wanted:
            wanted[instance.host][uuid] = cloud.image_properties(uuid)
    return wanted


def aggregate_events(
    cloud: Cloud, projections: Mapping[str, Projection], without: Collection[str] = frozenset()
) -> list[FrozenRecord]:
    """The aggregates that differ; UsageError if there are some, and the log of cell0 is not named. ``without`` are
    aggregates to leave out."""
    if cloud.nova is None:
        return []
    ours = _aggregates(projections)
    found: list[FrozenRecord] = [
        events.AggregateUpdated(uuid, one.name, tuple(sorted(one.hosts)), dict(sorted(one.metadata.items())))
        for uuid, one in sorted(cloud.nova.aggregates.items())
        if uuid not in without
        and (
            uuid not in ours
            or (ours[uuid].name, frozenset(ours[uuid].hosts), ours[uuid].metadata)
            != (one.name, one.hosts, one.metadata)
        )
    ]
    gone = ours.keys() - cloud.nova.aggregates.keys() - set(without)
    found += [events.AggregateDeleted(uuid) for uuid in sorted(gone)]
    if found and CELL0 not in projections:
        raise errors.UsageError(f"host aggregates differ, and they are in the log of {CELL0}; name it with --log")
    return found


def _aggregates(projections: Mapping[str, Projection]) -> dict[str, events.AggregateUpdated]:
    """The aggregates of the logs, without those that have hosts of agents only: operators made them, not Nova."""
    of_agents = {
        name
        for projection in projections.values()
        for name, host in projection.hosts.items()
        if host.authority == AGENT
    }
    return {
        uuid: one
        for projection in projections.values()
        for uuid, one in projection.aggregates.items()
        if not one.hosts or not of_agents.issuperset(one.hosts)
    }


# --- differences -----------------------------------------------------------------------------------------------------


def differences_of_nova(cloud: Cloud, projections: Mapping[str, Projection]) -> list[Difference]:
    """What Nova and the logs have in different ways."""
    return [
        *_of_aggregates(cloud, projections),
        *status_differences(cloud, projections),
        *_of_instances(cloud, projections),
    ]


def _of_aggregates(cloud: Cloud, projections: Mapping[str, Projection]) -> Iterator[Difference]:
    theirs, ours = cloud.nova.aggregates if cloud.nova else {}, _aggregates(projections)
    for uuid in sorted(theirs.keys() | ours.keys()):
        there, here = theirs.get(uuid), ours.get(uuid)
        if there is None or here is None:
            yield Difference("aggregate", uuid, (there or here).name, "exists", there and True, here and True)
            continue
        yield from changed("aggregate", uuid, there.name, "name", there.name, here.name)
        for host in sorted(there.hosts ^ frozenset(here.hosts)):
            member = f"host {host}"
            yield Difference(
                "aggregate", uuid, there.name, member, host in there.hosts or None, host in here.hosts or None
            )
        yield from changed_map("aggregate", uuid, there.name, "metadata", there.metadata, here.metadata)


def _of_instances(cloud: Cloud, projections: Mapping[str, Projection]) -> Iterator[Difference]:
    theirs = cloud.nova.instances if cloud.nova else {}
    tracked = {
        uuid: one
        for projection in projections.values()
        for host in projection.hosts.values()
        if host.authority == NOVA
        for uuid, one in projection.tracked.of(host.name).items()
    }
    for uuid in sorted(theirs.keys() | tracked.keys()):
        there, here = theirs.get(uuid), tracked.get(uuid)
        hosts = (one.host if one else None for one in (there, here))
        yield from changed("instance", uuid, None, "host", *hosts)
        properties = cloud.image_properties(uuid)
        if here is not None and there is not None and properties is not None:
            yield from changed_map("instance", uuid, None, "image property", properties, here.image_properties)
    for projection in projections.values():
        terms_of = Terms(cloud, projection)
        for uuid in sorted((theirs.keys() | cloud.moves().keys()) & projection.consumers.keys()):
            terms = terms_of(uuid)
            entry = None if terms is None else entry_of(projection, uuid, terms)
            for what in terms_differ(entry, terms) if entry is not None else ():
                kind = "instance" if uuid in theirs else "migration"
                yield Difference(kind, uuid, None, what, _term(terms, what), _term(entry, what))


def _term(of: events.ClaimTerms | Entry, what: str) -> str | None:
    if what == "server group":
        return None if of.rule is None else of.rule.group_uuid
    guest = None if of.guest is None else events.thaw("Guest", of.guest)
    if guest is None:
        return None
    if what == "NUMA":
        return "; ".join(
            f"node {use.cell}: {use.shared_cpus} CPUs, pins {[list(pin) for pin in use.pins]}, {use.memory_mb} MB"
            for use in guest.numa
        )
    return " ".join(f"{pool}={count}" for pool, count in sorted(_devices(guest).items()))
