"""A filter class of a deployer, as Nova's scheduler would call it: ``host_passes(host_state, spec_obj)`` for each host,
or ``filter_all(host_states, spec_obj)`` for all."""

import numpy as np

from nova_sched.filters.base import Filter, Refusal
from nova_sched.nova_compat.faults import blamed
from nova_sched.projection.reason import Reason


def is_filter(found) -> bool:
    """Whether an object is a filter as Nova has them, or a class of such filters."""
    return callable(getattr(found, "host_passes", None)) or callable(getattr(found, "filter_all", None))


class NovaStyleFilter(Filter):
    """Refuses the hosts that ``theirs`` refuses; the reason is the name of its class. It is asked once for each
    instance of a request; an error that it raises ends that one request."""

    static = False
    costly = True

    def __init__(self, name: str, theirs):
        self.name = name
        self.on_rebuild = bool(getattr(theirs, "RUN_ON_REBUILD", False))
        self._theirs = theirs
        self._reason = Reason(type(theirs).__name__)

    def refusals(self, hosts, request, policy, scope):
        states = [scope.host_state(row) for row in hosts.rows.tolist()]
        with blamed(f"the filter {self._reason}", request.request_id):
            passed = self._passed(states, scope.spec)
        yield Refusal(self._reason, np.array([state not in passed for state in states], bool))

    def _passed(self, states, spec):
        """The host states that pass."""
        if not callable(getattr(self._theirs, "filter_all", None)):
            return {state for state in states if self._theirs.host_passes(state, spec)}
        # Nova takes None as no host.
        passed = set(self._theirs.filter_all(list(states), spec) or ())
        if not passed.issubset(states):
            raise ValueError("filter_all gave what was not among the hosts that it was given")
        return passed
