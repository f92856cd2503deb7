"""The weighers of the soft server group policies."""

import numpy as np

from nova_sched.weighers.base import Weigher


def _members(table, rows, scope):
    members = scope.members_by_row()
    if not members:
        return None
    counts = np.zeros(len(rows))
    for place, (row, uuids) in zip(rows.searchsorted(list(members)).tolist(), members.items(), strict=True):
        if place < len(rows) and rows.item(place) == row:
            counts[place] = len(uuids)
    return counts


class ServerGroupSoftAffinityWeigher(Weigher):
    """Members of the request's soft-affinity group on the host: more is better."""

    name = "ServerGroupSoftAffinityWeigher"
    option = "soft_affinity_weight_multiplier"
    least = 0.0

    def raw(self, table, rows, request, policy, scope):
        group = request.server_group
        if group is None or group.policy != "soft-affinity":
            return None
        return _members(table, rows, scope)


class ServerGroupSoftAntiAffinityWeigher(Weigher):
    """Members of the request's soft-anti-affinity group on the host: fewer is better."""

    name = "ServerGroupSoftAntiAffinityWeigher"
    option = "soft_anti_affinity_weight_multiplier"
    least = 0.0

    def raw(self, table, rows, request, policy, scope):
        group = request.server_group
        if group is None or group.policy != "soft-anti-affinity":
            return None
        members = _members(table, rows, scope)
        return None if members is None else -members
