"""Affinity groups in a cloud of several cells: one host is the anchor of a group, by an event in the log of cell0.

One cell's log does not know the members of a group in another cell, so a group gets an anchor before its first claim.
An anchor moves when its host has no room and no member is left in its cell: GroupFenced closes that cell's log to
claims under anchors up to a number, and from then on no request of the group follows them. See docs/design/0004.
"""

from collections import deque

from nova_sched.projection.state import CELL0
from nova_sched.selection.claim_rules import anchor_of, needs_anchor
from rpc_api import errors, events

#: Anchors and fences that one instance waits for. More of them have no effect in the log.
MAX_WAITS = 10


class Anchors:
    """``cells`` (their names, without cell0), ``world`` (a World) and ``publish(cell, *data)`` are those of the
    engine."""

    def __init__(self, cells, world, publish):
        self._world = world
        self._publish = publish
        #: Cell -> (mark, instance): the instance is decided again when our event with that mark is folded.
        self._waits = {cell: deque() for cell in (CELL0, *cells)}

    def anchored(self, instance):
        """The request as it can be decided now, and the anchor of its affinity group: (cell, host, number) or None."""
        request = without(instance.ask.request, instance.excluded)
        if not needs_anchor(self._world, request):
            return request, None
        group, anchor = request.server_group, anchor_of(self._world, request)
        known = self._world.projections[CELL0].anchors.get(group.uuid)
        if anchor is None and known is not None:
            instance.fenced = max(instance.fenced, known[2])
        if anchor is None or anchor[2] <= instance.fenced:
            return request, None
        if not self._has_members(group, instance.uuid):
            request = request._replace(server_group=group._replace(hosts=(*group.hosts, anchor[1])))
        return request, anchor

    def _has_members(self, group, instance_uuid):
        """Whether a log has a member of a group: then its members say where it is, and not its anchor. What the
        instance itself holds does not count, because it is given back; what its migration holds does."""
        for projection in self._world.projections.values():
            consumers = projection.groups.consumers.get(group.uuid, {})
            if len(consumers) > (instance_uuid in consumers):
                return True
            if any(member in projection.consumers for member in group.members if member != instance_uuid):
                return True
        return False

    def waits_for_anchor(self, instance, anchor, host) -> bool:
        """Publish an anchor for a group without one. Returns whether the instance waits for it."""
        request = instance.ask.request
        if anchor is not None or not needs_anchor(self._world, request):
            return False
        group = request.server_group
        self._wait_for(instance, CELL0, events.GroupAnchored(group.uuid, instance.cell, host, instance.fenced))
        return True

    def waits_for_fence(self, instance, anchor) -> bool:
        """The anchored host has no room: if the group has no members, close the cell to claims under the anchor.
        Returns whether the instance waits for that."""
        if anchor is None or instance.fenced:
            return False
        cell, _, number = anchor
        group = instance.ask.request.server_group
        if cell not in self._world.projections or self._has_members(group, instance.uuid):
            return False
        self._wait_for(instance, cell, events.GroupFenced(group.uuid, number))
        return True

    def _wait_for(self, instance, cell, data):
        """Publish an event that must be in a log before an instance is decided again."""
        instance.waits += 1
        if instance.waits > MAX_WAITS:
            raise errors.NovaSchedError(
                f"{MAX_WAITS} events for the group of {instance.uuid} had no effect in the log of {cell}; see its "
                "quarantine"
            )
        self._waits[cell].append((self._publish(cell, data), instance))

    def folded(self, cell, mark=None) -> list:
        """Instances that waited for events of ours up to a mark in a cell's log; without a mark, for any."""
        waits, over = self._waits[cell], []
        while waits and (mark is None or waits[0][0] <= mark):
            over.append(waits.popleft()[1])
        return over


def without(request, hosts):
    """A request that ignores some more hosts."""
    return request._replace(ignore_hosts=(*request.ignore_hosts, *hosts)) if hosts else request
