"""Affinity groups in a cloud of several cells: one host is the anchor of a group, by an event in the log of cell0.

One cell's log does not know the members of a group in another cell, so a group gets an anchor before its first claim.
An anchor moves when its host has no room and no member is left in its cell: GroupFenced closes that cell's log to
claims under anchors up to a number, and from then on no request of the group follows them. See docs/design/0004.
"""

from collections import deque

from nova_sched.projection.fold import CELL0
from rpc_api import errors, events

#: Anchors and fences that one instance waits for. More of them have no effect in the log.
MAX_WAITS = 10


class Anchors:
    """``cells`` (their names, without cell0), ``projections`` (cell -> Projection) and ``publish(cell, *data)`` are
    those of the engine."""

    def __init__(self, cells, projections, publish):
        self._cells = cells
        self._projections = projections
        self._publish = publish
        #: Cell -> (mark, instance): the instance is decided again when our event with that mark is folded.
        self._waits = {cell: deque() for cell in (CELL0, *cells)}

    def anchored(self, instance):
        """The request as it can be decided now, and the anchor of its affinity group: (cell, host, number) or None."""
        request = without(instance.ask.request, instance.excluded)
        group = request.server_group
        if not self._needs_one(group):
            return request, None
        anchor = self._projections[CELL0].anchors.get(group.uuid)
        if anchor is None or self._is_fenced(instance, group, anchor):
            return request, None
        return request._replace(server_group=group._replace(hosts=(*group.hosts, anchor[1]))), anchor

    def _is_fenced(self, instance, group, anchor):
        """Whether no claim under an anchor can hold any more: a fence of any request is folded in its cell."""
        cell, _, number = anchor
        if cell in self._projections and self._projections[cell].fences.get(group.uuid, 0) >= number:
            instance.fenced = max(instance.fenced, number)
        return number <= instance.fenced

    def _needs_one(self, group):
        return group is not None and group.policy == "affinity" and len(self._cells) > 1

    def waits_for_anchor(self, instance, anchor, host) -> bool:
        """Publish an anchor for a group without one. Returns whether the instance waits for it."""
        group = instance.ask.request.server_group
        if anchor is not None or not self._needs_one(group):
            return False
        self._wait_for(instance, CELL0, events.GroupAnchored(group.uuid, instance.cell, host, instance.fenced))
        return True

    def waits_for_fence(self, instance, anchor) -> bool:
        """The anchored host has no room: if the group has no members there, close the cell to claims under the anchor.
        Returns whether the instance waits for that."""
        if anchor is None or instance.fenced:
            return False
        cell, _, number = anchor
        group = instance.ask.request.server_group
        projection = self._projections.get(cell)
        if projection is None or group.uuid in projection.groups.members:
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
