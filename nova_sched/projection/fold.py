"""The fold: one handler for each event, and nothing else changes the state.

A handler checks everything before it changes anything. It returns None, a
:class:`Reason` (why a claim does not take effect) or a SetAside (an event
that must not count); in both cases the state is as it was.
"""

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from nova_sched.projection import host_reports, provider_rows, provider_tree
from nova_sched.projection.claim_checks import claim_refusal
from nova_sched.projection.claim_refusals import ClaimRefused
from nova_sched.projection.devices import checked_guest
from nova_sched.projection.holding import add_entry, remove_entry, start
from nova_sched.projection.host_reports import write_inventory
from nova_sched.projection.ledger import AGENT, CLAIMED, HELD, RUNNING, Entry, Holder
from nova_sched.projection.noted import Noted
from nova_sched.projection.prepared import hold_again
from nova_sched.projection.reason import Reason
from nova_sched.projection.state import EventOf, State
from nova_sched.projection.write_handlers import WRITE_HANDLERS
from nova_sched.projection.writes import mark_providers
from rpc_api import errors, events
from rpc_api.codec import Event, SetAside

#: Of one ClaimsWatched no more time counts: a conductor watches for 60 s, and then it appends one.
WATCHED_MAX_MS = 120_000
#: Provider uuid of an allocation.
PROVIDER_OF = itemgetter(0)


# --- claims ------------------------------------------------------------------------------------------------------


def claim_proposed(
    projection: State, position: int, event: EventOf[events.ClaimProposed], noted: list[Noted]
) -> Reason | None:
    """Accept a claim if there is room for all of it and its conditions hold at this very position."""
    data = event.data
    host = projection.hosts.get(data.host)
    if host is None:
        return Reason(ClaimRefused.UNKNOWN_HOST, (data.host,))
    reason = claim_refusal(projection, host, data)
    if reason is not None:
        return reason
    add_entry(
        projection,
        host,
        Entry(
            data.consumer_uuid,
            data.instance_uuid,
            data.project_id,
            data.host,
            data.allocations,
            data.rule,
            data.claim_uuid,
            CLAIMED if host.authority == AGENT else HELD,
            position,
            0,
            data.guest,
            None if projection.rules.claims_have_an_age and host.authority == AGENT else 0,
        ),
    )
    if projection.rules.one_ledger:
        _own(projection, data, event.at_ns)
        mark_providers(projection, set(map(PROVIDER_OF, data.allocations)), event.at_ns)
    return None


def _own(projection: State, claim: events.ClaimProposed, at_ns: int) -> None:
    """Give the consumer of an accepted claim the user and project of the request. A request without a user changes
    neither, and a claim below level 4 never has one."""
    holder = projection.holders[claim.consumer_uuid]
    if claim.user_id is not None:
        project_id = holder.project_id if claim.project_id is None else claim.project_id
        for entry in projection.consumers[claim.consumer_uuid]:
            entry.project_id = project_id
        if project_id != holder.project_id:
            # Another one: an index of the consumers of projects only notices that a holder is set.
            holder = Holder(holder.generation, project_id, None, holder.consumer_type)
            projection.holders[claim.consumer_uuid] = holder
        holder.user_id = claim.user_id
    holder.written_ns = at_ns


def claim_released(
    projection: State, position: int, event: EventOf[events.ClaimReleased | events.ClaimExpired], noted: list[Noted]
) -> None:
    """Release a claim, if it is still the claim of its consumer and was not started."""
    _end_claim(projection, event.data.consumer_uuid, event.data.claim_uuid, position)


claim_expired = claim_released


def claims_watched(projection: State, position: int, event: EventOf[events.ClaimsWatched], noted: list[Noted]) -> None:
    """Claims are older by the time for which a conductor watched them, unless it overlaps with that of another one.

    A claim that came meanwhile, or that is being built, was not left alone all the time: it counts from here on.
    """
    data = event.data
    if data.after_ms == projection.watched_ms:
        projection.watched_ms += min(data.watched_ms, WATCHED_MAX_MS)
    built = [entry for consumer in data.building for entry in projection.consumers.get(consumer, ())]
    for entry in (*projection.unwatched.values(), *built):
        entry.watched_from_ms = projection.watched_ms
    projection.unwatched.clear()


def _end_claim(projection: State, consumer_uuid: str, claim_uuid: str, position: int) -> None:
    for entry in projection.consumers.get(consumer_uuid, ()):
        if entry.claim_uuid == claim_uuid and entry.state is not RUNNING:
            remove_entry(projection, projection.hosts[entry.host], entry)
            hold_again(projection, consumer_uuid, position)


def instance_started(
    projection: State, position: int, event: EventOf[events.InstanceStarted], noted: list[Noted]
) -> SetAside | None:
    """A claim becomes the host's own use."""
    data = event.data
    host = projection.hosts.get(data.host)
    if host is None:
        noted.append(
            Noted(position, "unknown-host", data.host, "an instance started before the host was reported", True)
        )
        return None
    if host.authority != AGENT:
        return SetAside(
            "not-its-authority", f"{event.producer} starts an instance on {data.host}, whose authority is Nova", b""
        )
    try:
        checked_guest(data.consumer.guest, f"the agent of {data.host}")
    except errors.InvalidEvent as broken:
        return SetAside("invalid", str(broken), b"")
    start(projection, host, data.consumer, position, noted)
    return None


def instance_deleted(
    projection: State, position: int, event: EventOf[events.InstanceDeleted], noted: list[Noted]
) -> None:
    """The resources that an instance used on a host are free again; a claim for a new start there stays."""
    host = projection.hosts.get(event.data.host)
    if host is not None:
        for entry in list(host.entries.values()):
            if entry.instance_uuid == event.data.instance_uuid and entry.state is RUNNING:
                remove_entry(projection, host, entry)
    return None


def allocation_moved(
    projection: State, position: int, event: EventOf[events.AllocationMoved], noted: list[Noted]
) -> None:
    """Pass the allocations of one consumer on a host to another, unless the other has some there already."""
    data = event.data
    host = projection.hosts.get(data.host)
    entry = host.entries.get(data.from_consumer_uuid) if host else None
    locked = (projection.locked.keys() | projection.prepared.keys()) & {data.from_consumer_uuid, data.to_consumer_uuid}
    if host is None or entry is None or locked or data.to_consumer_uuid in projection.consumers:
        noted.append(
            Noted(
                position,
                "not-moved",
                data.host,
                f"{data.from_consumer_uuid} holds nothing here, or {data.to_consumer_uuid} does already, or one is "
                "in a write over several logs",
            )
        )
        return None
    remove_entry(projection, host, entry)
    entry.consumer_uuid = data.to_consumer_uuid
    add_entry(projection, host, entry)
    return None


# --- not about a host --------------------------------------------------------------------------------------------


def log_opened(projection: State, position: int, event: EventOf[events.LogOpened], noted: list[Noted]) -> None:
    """The first event of a log; its epoch is in each record."""


def log_rebased(projection: State, position: int, event: EventOf[events.LogRebased], noted: list[Noted]) -> None:
    """Drop the whole state, because a reader that starts here does not know the events before."""
    projection.forget()
    projection.accounts_required = event.data.accounts_required
    noted.append(Noted(position, "rebased", None, f"{event.producer} found the log to begin at {event.data.first}"))


def accounts_required(
    projection: State, position: int, event: EventOf[events.AccountsRequired], noted: list[Noted]
) -> None:
    """From this position on, events count only with the accounts of their producers, or with any account."""
    projection.accounts_required = event.data.required


def level_pinned(
    projection: State, position: int, event: EventOf[events.LevelPinned], noted: list[Noted]
) -> SetAside | None:
    """From the next event on, the log has a higher level: all hosts are written and counted again by its rules."""
    level = event.data.level
    if level < max(2, projection.level):
        return SetAside(
            "lower-level",
            f"{event.producer} pins the log to level {level}, it is at level {projection.level}; "
            "a level is never taken back",
            b"",
        )
    if level > projection.level:
        was_ledger = projection.rules.one_ledger
        projection.use_level(level, position)
        noted.append(Noted(position, "pinned", None, f"{event.producer} pinned the log to level {level}"))
        for host in projection.hosts.values():
            if host.authority == AGENT:
                write_inventory(projection, host, provider_tree.tree_of(host), None, position, noted)
            projection.table.touched.touch(host.root)
        if projection.rules.one_ledger and not was_ledger:
            _begin_ledger(projection, event.at_ns)
    return None


def _begin_ledger(projection: State, at_ns: int) -> None:
    """Give the providers and consumers of a log that becomes a ledger their first generation."""
    for uuid, tree in projection.trees.items():
        provider_rows.mark_written(projection.table, tree.rows[uuid], at_ns)
    for names in (projection.custom_classes, projection.custom_traits):
        names.update(dict.fromkeys(names, at_ns))
    projection.holders = {
        consumer: Holder(1, entries[0].project_id, None, None, at_ns)
        for consumer, entries in projection.consumers.items()
    }


def counted(projection: State, position: int, event: Event, noted: list[Noted]) -> None:
    """Evidence: it stays in the log, is counted here, and changes no state."""


def aggregate_updated(
    projection: State, position: int, event: EventOf[events.AggregateUpdated], noted: list[Noted]
) -> None:
    """An aggregate is created or changed."""
    data = event.data
    if projection.aggregates.get(data.uuid) != data:
        projection.aggregates[data.uuid] = projection.table.aggregates[data.uuid] = data
        projection.table.topology_version += 1


def aggregate_deleted(
    projection: State, position: int, event: EventOf[events.AggregateDeleted], noted: list[Noted]
) -> None:
    """An aggregate is deleted."""
    if projection.aggregates.pop(event.data.uuid, None) is not None:
        projection.table.aggregates.pop(event.data.uuid, None)
        projection.table.topology_version += 1


def group_anchored(projection: State, position: int, event: EventOf[events.GroupAnchored], noted: list[Noted]) -> None:
    """An affinity group gets its host, if its anchor is still the one that the event replaces."""
    data = event.data
    anchor = projection.anchors.get(data.group_uuid)
    if (anchor[2] if anchor else 0) == data.replaces:
        projection.anchors[data.group_uuid] = (data.cell, data.host, position + 1)


def group_fenced(projection: State, position: int, event: EventOf[events.GroupFenced], noted: list[Noted]) -> None:
    """Claims of a group under old anchors are refused from here on, if it has no member in this cell."""
    data = event.data
    if data.group_uuid not in projection.groups.members:
        projection.fences[data.group_uuid] = max(data.anchor, projection.fences.get(data.group_uuid, 0))


HANDLERS: dict[str, Callable[[State, int, Any, list[Noted]], Reason | SetAside | None]] = {
    "LogOpened": log_opened,
    "LogRestored": counted,
    "LogRebased": log_rebased,
    "AccountsRequired": accounts_required,
    "LevelPinned": level_pinned,
    "HostReported": host_reports.host_reported,
    "ProvidersReported": host_reports.providers_reported,
    "AuthorityPassed": host_reports.authority_passed,
    "HostDisabled": host_reports.host_disabled,
    "HostEnabled": host_reports.host_enabled,
    "HostConfirmed": host_reports.host_confirmed,
    "HostLost": host_reports.host_lost,
    "HostSeen": host_reports.host_seen,
    "HostRemoved": host_reports.host_removed,
    "InstancesTracked": host_reports.instances_tracked,
    "ClaimProposed": claim_proposed,
    "ClaimReleased": claim_released,
    "ClaimExpired": claim_expired,
    "ClaimsWatched": claims_watched,
    "InstanceStarted": instance_started,
    "InstanceDeleted": instance_deleted,
    "AllocationMoved": allocation_moved,
    "BuildFailed": counted,
    "DecisionMade": counted,
    "DecisionCompared": counted,
    "RequestRefused": counted,
    "PolicyAdopted": counted,
    "AggregateUpdated": aggregate_updated,
    "AggregateDeleted": aggregate_deleted,
    "GroupAnchored": group_anchored,
    "GroupFenced": group_fenced,
    "StateKept": counted,
    "CheckpointNamed": counted,
    **WRITE_HANDLERS,
}
