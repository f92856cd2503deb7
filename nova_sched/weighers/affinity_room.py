"""AffinityRoomWeigher: the first member of an affinity group goes where the group can grow.

All later members must follow it, so a host that is too small for the group
refuses them for good. It is not known how large the group will be; the host
with room for most members like the first one is the safest. It is off by
default (Nova has no such weigher).
"""

import numpy as np

from nova_sched.filters import HostView
from nova_sched.hosts.providers import Providers
from nova_sched.weighers.base import Weigher

MOST = 64


class AffinityRoomWeigher(Weigher):
    """How many instances like this one the host could take (at most 64): more is better. Applies to the first member
    of an affinity group only."""

    name = "AffinityRoomWeigher"
    option = "affinity_room_weight_multiplier"
    default_multiplier = 0.0

    def raw(self, table, rows, request, policy, scope):
        group = request.server_group
        if group is None or group.policy != "affinity" or scope.affinity_rows(policy) is not None:
            return None
        return room_for(table, rows, request).astype(float)


def room_for(table, rows, request) -> np.ndarray:
    """How many requests of this shape fit each host, seen class by class (int64, shape [hosts])."""
    providers = Providers(HostView(table, rows))
    copies = np.full(len(rows), MOST, np.int64)
    shapes = {}
    for group in request.groups:
        if group.resources:
            key = group._replace(suffix="*" if group.suffix else "")
            shapes[key] = shapes.get(key, 0) + 1
    for group, times in shapes.items():
        if group.suffix:
            each = _copies_on_provider(table, providers, group.resources)
            isolated = request.group_policy == "isolate"
            copies = np.minimum(copies, _together(providers, each, times, isolated))
        else:
            for amount in group.resources:
                each = _copies_on_provider(table, providers, (amount,))
                copies = np.minimum(copies, _together(providers, each, 1, False))
    return copies


def _copies_on_provider(table, providers, resources):
    """How many times some amounts fit each provider."""
    copies = None
    for resource_class, amount in resources:
        index = table.classes.get(resource_class)
        free = np.maximum(table.free[index, : table.count][providers.rows], 0) // amount
        copies = free if copies is None else np.minimum(copies, free)
    return np.minimum(copies, MOST)


def _together(providers, each, times, isolated):
    """How many requests fit a host of whose groups each takes ``times`` places, on ``times`` providers if isolated."""
    if providers.owner is None:
        return each if times == 1 else each * 0 if isolated else each // times
    fitting = np.zeros(len(providers.hosts), np.int64)
    for count in range(1, MOST + 1):
        places = np.minimum(each, count) if isolated else each
        total = np.bincount(providers.owner, places, len(providers.hosts))
        fits = total >= times * count
        if not fits.any():
            break
        fitting[fits] = count
    return fitting
