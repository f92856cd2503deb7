"""ComputeCapabilitiesFilter: refuses hosts that lack what the flavor's extra specs ask of the hypervisor."""

import json

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.extra_specs_ops import match
from nova_sched.projection.host_state import HostState

#: Attributes of a HostState that follow from its profile alone.
_PROFILE = ("hypervisor_type", "hypervisor_version", "cpu_info", "supported_instances", "stats")


class ComputeCapabilitiesFilter(Filter):
    """Extra specs in the scope ``capabilities:`` must match; one without a scope must match if hosts have such a
    value. ``hw:maxphysaddr_bits`` asks for at least that many physical address bits."""

    name = "ComputeCapabilitiesFilter"

    def seen(self, request):
        return tuple(sorted(request.extra_specs.items()))

    def refusals(self, hosts, request, policy, scope):
        wanted = wanted_capabilities(request.extra_specs)
        if not wanted:
            return
        if all(path[0] in _PROFILE or not hasattr(HostState, path[0]) for path, _, _ in wanted):
            values = hosts.table.profiles.values
            refused = hosts.by_value("profile", lambda profile: not _meets(_Profile(values[profile]), wanted))
        else:
            refused = hosts.in_rows(row for row in hosts.rows if not _meets(HostState(hosts.table, int(row)), wanted))
        yield Refusal("capabilities", refused)


def wanted_capabilities(extra_specs):
    """List of (path of names, wanted value, required): ``required`` false where a host without such a value passes."""
    wanted = []
    for key, value in sorted(extra_specs.items()):
        if key == "hw:maxphysaddr_bits":
            wanted.append((("cpu_info", "maxphysaddr", "bits"), f">= {value}", True))
            continue
        path = key.split(":")
        if len(path) == 1:
            wanted.append(((key,), value, False))
        elif path[0] == "capabilities":
            wanted.append((tuple(path[1:]), value, True))
    return wanted


class _Profile:
    """The hypervisor's part of a host state, for hosts that share it."""

    def __init__(self, profile):
        self.hypervisor_type = profile.hypervisor_type
        self.hypervisor_version = profile.hypervisor_version
        self.cpu_info = profile.cpu_info
        self.supported_instances = [list(one) for one in profile.supported_instances]
        self.stats = dict(profile.stats)


def _meets(state, wanted):
    for path, value, required in wanted:
        if not required and not hasattr(state, path[0]) and path[0] not in state.stats:
            continue
        found = _find(state, path)
        if found is None or not match(str(found), value):
            return False
    return True


def _find(state, path):
    """The value under a path of names: an attribute of the state or one of its stats, then into JSON maps."""
    found = getattr(state, path[0], None)
    if found is None:
        found = state.stats.get(path[0])
    for name in path[1:]:
        if isinstance(found, str):
            try:
                found = json.loads(found)
            except ValueError:
                return None
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found
