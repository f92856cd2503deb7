"""A weigher class of a deployer, as Nova's scheduler would call it:
``_weigh_object(host_state, spec_obj)`` for each host, or ``weigh_objects(weighed, spec_obj)`` for all."""

import numpy as np

from nova_sched.nova_compat.faults import blamed
from nova_sched.weighers.base import Weigher
from rpc_api.wording import number_of


def is_weigher(found) -> bool:
    """Whether an object is a weigher as Nova has them, or a class of such weighers."""
    return callable(getattr(found, "_weigh_object", None)) or callable(getattr(found, "weigh_objects", None))


class _Weighed:
    """A host as ``weigh_objects`` gets it: ``obj`` is its HostState."""

    __slots__ = ("obj", "weight")

    def __init__(self, obj):
        self.obj = obj
        self.weight = 0.0


class NovaStyleWeigher(Weigher):
    """What ``theirs`` gives the hosts, normalized between its ``minval`` and ``maxval`` and multiplied for each host by
    its ``weight_multiplier``: more is better. An error that it raises ends that one request."""

    costly = True

    def __init__(self, name: str, theirs):
        self.name = name
        self._theirs = theirs
        self._what = f"the weigher {type(theirs).__name__}"

    def raw(self, table, rows, request, policy, scope):
        states = [scope.host_state(row) for row in rows.tolist()]
        with blamed(self._what, request.request_id):
            return self._numbers(list(self._weights(states, scope.spec)), states)

    def _weights(self, states, spec):
        theirs = self._theirs
        if callable(getattr(theirs, "weigh_objects", None)):
            return theirs.weigh_objects([_Weighed(state) for state in states], spec)
        low, high = self._ends()
        return (min(max(theirs._weigh_object(state, spec), low), high) for state in states)

    def multipliers(self, table, rows, configured, request, scope):
        multiplier = getattr(self._theirs, "weight_multiplier", 1.0)
        states = [scope.host_state(row) for row in rows.tolist()]
        with blamed(self._what, request.request_id):
            given = [multiplier(state) for state in states] if callable(multiplier) else [multiplier] * len(states)
            return configured * self._numbers(given, states)

    def bounds(self, raw):
        low, high = self._ends()
        return float(raw.min() if low == -np.inf else low), float(raw.max() if high == np.inf else high)

    def normalized(self, raw, low, high):
        # A value that is outside of the ends stays outside, as in Nova.
        return np.zeros(len(raw)) if low == high else (raw - low) / (high - low)

    def _ends(self):
        low, high = getattr(self._theirs, "minval", None), getattr(self._theirs, "maxval", None)
        return -np.inf if low is None else float(low), np.inf if high is None else float(high)

    @staticmethod
    def _numbers(values, states):
        if len(values) != len(states):
            raise ValueError(f"it gave {len(values)} numbers for {number_of(len(states), 'host')}")
        numbers = np.array(values, float)
        if not np.isfinite(numbers).all():
            raise ValueError(f"it gave {numbers[~np.isfinite(numbers)][0]} for a host")
        return numbers
