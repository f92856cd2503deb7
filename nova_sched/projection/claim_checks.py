"""Whether a claim is accepted: the checks of the fold, which schedulers and conductors also ask before they claim."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from operator import itemgetter

from nova_sched.projection.claim_refusals import HOLDS_ALREADY, ClaimRefused
from nova_sched.projection.devices import guest_of
from nova_sched.projection.ledger import CLAIMED, POLICIES, TOGETHER, UNCHANGED, Domains, Entry, Host
from nova_sched.projection.reason import Reason
from nova_sched.projection.room import misfit, values_of
from nova_sched.projection.state import State
from nova_sched.projection.table import HostTable
from nova_sched.projection.use import plain_tree
from rpc_api import errors, events

#: (Provider uuid, resource class) of an allocation.
PLACE_OF = itemgetter(0, 1)


def claim_refusal(projection: State, host: Host, claim: events.ClaimProposed) -> Reason | None:
    """Why a claim cannot be accepted in the present state; None when it can."""
    return (
        status_refusal(projection.table, host.root, claim.forced)
        or _held_refusal(projection, host, claim)
        or room_refusal(projection, host, claim.allocations, claim.guest)
        or (None if claim.rule is None else rule_refusal(projection, host, claim.rule, claim.companion))
    )


def refusal_ahead(projection: State, claim: events.ClaimProposed) -> Reason | None:
    """Why a claim that is not in the log yet would be refused in the present state; None when it would be accepted.

    What its consumer holds is not looked at, because its release may be on its way to the log.
    """
    host = projection.hosts.get(claim.host)
    if host is None:
        return Reason(ClaimRefused.UNKNOWN_HOST, (claim.host,))
    return (
        status_refusal(projection.table, host.root, claim.forced)
        or room_refusal(projection, host, claim.allocations, claim.guest)
        or (
            None
            if claim.rule is None
            else rule_refusal(
                projection,
                host,
                claim.rule,
                claim.companion,
                members_ahead(projection, claim.rule.group_uuid, claim.consumer_uuid),
            )
        )
    )


def members_ahead(
    projection: State, group_uuid: str, consumer_uuid: str, in_flight: Iterable[Entry] = ()
) -> dict[str, Counter[str]]:
    """Where a claim of a consumer will meet other members of a group than the log has now: domain -> partition -> how
    many. What the consumer itself holds is not there any more. Claims that are ``in_flight`` to the log, in their
    order, are there, except those that the log will refuse: another scheduler may have been first."""
    of_group = projection.groups.domains.get(group_uuid, {})
    changed: dict[str, Counter[str]] = {}
    for entry in projection.consumers.get(consumer_uuid, ()):
        rule = entry.rule
        if rule is not None and rule.group_uuid == group_uuid and entry.host in projection.hosts:
            partitions = changed.get(rule.domain) or Counter(of_group.get(rule.domain, ()))
            partitions[rule.partition] -= 1
            changed[rule.domain] = +partitions
    for entry in in_flight:
        rule, host = entry.rule, projection.hosts.get(entry.host)
        if rule is None or rule.group_uuid != group_uuid or host is None or entry.consumer_uuid == consumer_uuid:
            continue
        # One beside a member of its host may have named that member as its companion.
        is_beside = projection.rules.affinity_beside and host.name in projection.groups.members.get(group_uuid, {})
        if is_beside or rule_refusal(projection, host, rule, None, changed) is None:
            if rule.domain not in changed:
                changed[rule.domain] = Counter(of_group.get(rule.domain, ()))
            changed[rule.domain][rule.partition] += 1
    return changed


def status_refusal(table: HostTable, root: int, forced: bool) -> Reason | None:
    """Why a host takes no claims; None if it takes them, or if the claim names it by force."""
    if not forced:
        if table.down.item(root):
            return Reason(ClaimRefused.DOWN)
        if table.disabled.item(root):
            return Reason(ClaimRefused.DISABLED)
    return None


def _held_refusal(projection: State, host: Host, claim: events.ClaimProposed) -> Reason | None:
    """Why a consumer may not get more, as it holds something already or is about to; None if it may."""
    if claim.consumer_uuid in projection.locked or claim.consumer_uuid in projection.prepared:
        return Reason(ClaimRefused.LOCKED)
    if claim.consumer_uuid not in projection.consumers:
        return None if claim.consumer_generation is None else Reason(ClaimRefused.CONSUMER_CHANGED)
    if claim.consumer_generation is None or claim.consumer_uuid in host.entries:
        return HOLDS_ALREADY
    if projection.holders[claim.consumer_uuid].generation != claim.consumer_generation:
        return Reason(ClaimRefused.CONSUMER_CHANGED)
    return None


def generation_to_add_to(projection: State, consumer_uuid: str, left_hosts: Collection[str]) -> int | None:
    """The generation of a consumer that may get a claim beside what it holds, as it leaves the hosts where it holds
    something: an evacuation. None for a consumer that must hold nothing."""
    holder = projection.holders.get(consumer_uuid)
    if holder is None:
        return None
    entries = projection.consumers[consumer_uuid]
    leaves = all(entry.host in left_hosts and entry.state is not CLAIMED for entry in entries)
    return holder.generation if leaves else None


def room_refusal(
    projection: State, host: Host, allocations: Sequence[events.Allocation], guest: bytes | None
) -> Reason | None:
    """Why allocations and the devices of a packed Guest do not fit on a host; None if they do."""
    table = projection.table
    if len(set(map(PLACE_OF, allocations))) < len(allocations):
        return Reason(ClaimRefused.MALFORMED_ALLOCATIONS)
    for _, resource_class, amount in allocations:
        if amount < 1 or not resource_class:
            return Reason(ClaimRefused.MALFORMED_ALLOCATIONS)
    for provider_uuid, resource_class, amount in allocations:
        row = host.rows.get(provider_uuid)
        if row is None:
            tree = plain_tree(projection, provider_uuid)
            if tree is None:
                return Reason(ClaimRefused.UNKNOWN_PROVIDER, (provider_uuid,))
            row = tree.rows[provider_uuid]
        index = table.classes.get(resource_class)
        room = values_of(table, row, index)
        if index < 0 or not room[-1] or misfit(room, amount) is not None:
            return Reason(ClaimRefused.NO_ROOM, (resource_class,))
    return None if guest is None else guest_refusal(table, host, guest)


def guest_refusal(table: HostTable, host: Host, packed: bytes) -> Reason | None:
    """Why the CPUs, pages and devices of a packed Guest are not free on a host; None if they are."""
    try:
        guest = guest_of(packed)
    except errors.InvalidEvent:
        return Reason(ClaimRefused.MALFORMED_GUEST)
    if not guest.numa and not guest.pci:
        return None
    devices = table.row_devices[host.root]
    if devices is None:
        return Reason(ClaimRefused.NO_DEVICES)
    return devices.breach(guest, table.ratio_of(host.root, "VCPU"), table.ratio_of(host.root, "MEMORY_MB"))


def rule_refusal(
    projection: State, host: Host, rule: events.GroupRule, companion: str | None, changed: Domains = UNCHANGED
) -> Reason | None:
    """Why a claim on a host would break the rule of its server group, with the ``changed`` domains of
    :func:`members_ahead`; None if it would not."""
    if rule.policy not in POLICIES:
        return Reason(ClaimRefused.MALFORMED_RULE)
    if rule.policy == TOGETHER and projection.rules.affinity_beside and companion in host.entries:
        return None
    fence = projection.fences.get(rule.group_uuid)
    if rule.policy == TOGETHER and fence is not None and rule.limit <= fence:
        return Reason(ClaimRefused.GROUP_MOVED)
    return projection.groups.breach(rule, projection.rules.affinity_without_itself, changed)
