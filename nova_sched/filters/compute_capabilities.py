"""ComputeCapabilitiesFilter: refuses hosts that lack what the flavor's extra specs ask of the hypervisor."""

import json
from functools import lru_cache

import numpy as np

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.extra_specs_ops import match
from nova_sched.filters.image_properties import of_hypervisor
from nova_sched.hosts.columns import OF_PROFILE, OF_USE, attribute
from nova_sched.projection.reason import Reason

CAPABILITIES = Reason("capabilities")
_BITS = "hw:maxphysaddr_bits"


class ComputeCapabilitiesFilter(Filter):
    """Each extra spec ``capabilities:NAME`` must be met by the host's attribute or, if it has none, by its stat of
    that name; ``capabilities:NAME:KEY`` by the value under a key of it, which may be JSON. An extra spec without a
    scope is asked of the hosts that have such an attribute or stat. ``hw:maxphysaddr_bits`` asks for at least that
    many physical address bits.
    """

    name = "ComputeCapabilitiesFilter"
    reasons = {CAPABILITIES.code: "the host does not have what the extra specs of the flavor ask of it"}

    def seen(self, request):
        return wanted_capabilities(tuple(request.extra_specs.items()))

    def follows(self, request):
        return any(path[0] in OF_USE for path, _, _ in self.seen(request))

    def refusals(self, hosts, request, policy, scope):
        refused = [_lacking(hosts, *wanted) for wanted in self.seen(request)]
        if refused:
            yield Refusal(CAPABILITIES, np.logical_or.reduce(refused))

    def explain(self, look, reason):
        return of_hypervisor(look)


@lru_cache(1024)
def wanted_capabilities(items):
    """(path of names, wanted value, required) for each of the extra specs (pairs) that asks something of a host:
    ``required`` false if a host without such a value passes."""
    extra_specs = dict(items)
    if _BITS in extra_specs:
        extra_specs["capabilities:cpu_info:maxphysaddr:bits"] = f">= {extra_specs.pop(_BITS)}"
    wanted = []
    for key, value in sorted(extra_specs.items()):
        path = key.split(":")
        if len(path) == 1:
            wanted.append(((key,), value, False))
        elif path[0] == "capabilities":
            wanted.append((tuple(path[1:]), value, True))
    return tuple(wanted)


def _lacking(hosts, path, wanted, required):
    """Which hosts do not have what is wanted under a path of names."""
    name, profiles = path[0], hosts.table.profiles.values
    found = None if name in OF_PROFILE else attribute(hosts, name)
    if found is not None:
        refused = np.array([not _meets(value, path, wanted) for value in found.values], bool)[found.codes]
        absent = np.array([value is None for value in found.values], bool)[found.codes]
        if absent.any():
            refused &= ~(
                absent
                & hosts.by_value("profile", lambda number: _meets(dict(profiles[number].stats).get(name), path, wanted))
            )
        return refused

    def lacks(number):
        value = OF_PROFILE[name](profiles[number]) if name in OF_PROFILE else None
        if value is None:
            value = dict(profiles[number].stats).get(name)
        return not _meets(value, path, wanted) and (required or value is not None)

    return hosts.by_value("profile", lacks)


def _meets(value, path, wanted):
    found = _under(value, path[1:])
    return found is not None and match(str(found), wanted)


def _under(value, keys):
    """The value under some keys of a value; texts on the way are read as JSON."""
    for key in keys:
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                return None
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value
