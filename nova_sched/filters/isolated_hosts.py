"""IsolatedHostsFilter: keeps some images to some hosts."""

import numpy as np

from nova_sched.filters.base import Filter, Refusal


class IsolatedHostsFilter(Filter):
    """Isolated images go to isolated hosts only; and as long as that is not turned off, isolated hosts take isolated
    images only. Requests without an image are of no isolated one.

    Reasons: ``isolated host`` (it takes isolated images only), ``isolated image`` (the host is not isolated).
    """

    name = "IsolatedHostsFilter"
    options = ("isolated_images", "isolated_hosts", "restrict_isolated_hosts_to_isolated_images")
    reasons = ("isolated image", "isolated host")
    on_rebuild = True
    follows_use = False

    def seen(self, request):
        return request.image_id

    def refusals(self, hosts, request, policy, scope):
        if request.image_id is not None and request.image_id in policy.isolated_images:
            yield Refusal("isolated image", ~_isolated(hosts, policy.isolated_hosts))
        elif policy.isolated_hosts and policy.restrict_isolated_hosts_to_isolated_images:
            yield Refusal("isolated host", _isolated(hosts, policy.isolated_hosts))


def _isolated(hosts, names):
    return hosts.table.derived(("isolated hosts", names), lambda: _rows(hosts.table, names))[hosts.index]


def _rows(table, names):
    isolated = np.zeros(table.count, bool)
    isolated[[table.row_of_host[name] for name in names if name in table.row_of_host]] = True
    return isolated
