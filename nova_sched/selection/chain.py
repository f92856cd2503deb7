"""The filter chain: from all hosts to the survivors, each refused host with its first reason.

The result of the static filters is kept for each shape of request and only
renewed for hosts that the log has touched since: exact, never stale.
"""

from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from nova_sched.filters import HostView

MAX_SHAPES = 128


class Filtered(NamedTuple):
    """``rows`` are the root rows of the survivors; ``refusals`` is a list of (filter, reason, number of hosts) in the
    order of the chain; ``total`` is the number of hosts looked at."""

    rows: np.ndarray
    refusals: list
    total: int


def shape_of(request):
    """What the static filters see of a request, hashable: equal shapes have equal results."""
    return (request.groups, request.group_policy, request.same_subtree, request.root_required, request.root_forbidden,
            request.availability_zone, request.target_cell, tuple(sorted(request.extra_specs.items())),
            tuple(sorted(request.image_properties.items())), bool(request.force_hosts or request.force_nodes),
            request.check_only)


def filters_for(policy, request):
    """The filters that a request meets: naming hosts by force passes over the enabled ones, as in nova."""
    if (request.force_hosts or request.force_nodes) and not request.check_only:
        return policy.filters[:len(policy.filters) - len(policy.enabled_filters)]
    return policy.filters


class _Kept:
    """The codes of one shape: 0 for a host that passes, else the number of its reason in ``reasons``."""

    __slots__ = ("codes", "reasons", "version", "topology_version")

    def __init__(self):
        self.codes = None
        self.reasons = {}
        self.version = -1
        self.topology_version = -1


class FilterChain:
    """The chain of one policy over one table."""

    def __init__(self, table, policy):
        self.table = table
        self.policy = policy
        self._shapes = OrderedDict()

    def run(self, request, scope) -> Filtered:
        """Filter all hosts for a request."""
        table = self.table
        roots = table.roots()
        hosts = HostView(table, roots)
        chain = filters_for(self.policy, request)
        kept = self._static(request, chain, roots)
        codes = kept.codes
        reasons = dict(kept.reasons)
        for one in chain:
            if not one.static:
                for refusal in one.refusals(hosts, request, self.policy, scope):
                    code = reasons.setdefault((one.name, refusal.reason), len(reasons) + 1)
                    codes = np.where((codes == 0) & refusal.hosts, code, codes)
        counts = np.bincount(codes, minlength=len(reasons) + 1)
        refusals = [(name, reason, int(counts[code])) for (name, reason), code in reasons.items() if counts[code]]
        return Filtered(roots[codes == 0], refusals, len(roots))

    def _static(self, request, chain, roots):
        table = self.table
        shape = shape_of(request)
        kept = self._shapes.get(shape)
        if kept is None:
            kept = self._shapes[shape] = _Kept()
            if len(self._shapes) > MAX_SHAPES:
                self._shapes.popitem(last=False)
        else:
            self._shapes.move_to_end(shape)
        touched = None
        if kept.topology_version == table.topology_version:
            touched = table.touched_since(kept.version)
        if touched is None or len(touched) > len(roots) // 8:
            kept.reasons = {}
            kept.codes = self._codes(chain, roots, request, kept.reasons)
        elif touched:
            rows = np.array(sorted(touched), np.int64)
            kept.codes[np.searchsorted(roots, rows)] = self._codes(chain, rows, request, kept.reasons)
        kept.version = table.version
        kept.topology_version = table.topology_version
        return kept

    def _codes(self, chain, rows, request, reasons):
        hosts = HostView(self.table, rows)
        codes = np.zeros(len(rows), np.int64)
        for one in chain:
            if one.static:
                for refusal in one.refusals(hosts, request, self.policy, None):
                    code = reasons.setdefault((one.name, refusal.reason), len(reasons) + 1)
                    codes[(codes == 0) & refusal.hosts] = code
        return codes
