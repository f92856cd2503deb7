"""IsolatedHostsFilter: keeps some images to some hosts."""

import numpy as np

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.options import Kind, Option
from nova_sched.projection.reason import Reason

ISOLATED_IMAGE = Reason("isolated image")
ISOLATED_HOST = Reason("isolated host")
IMAGES = Option(
    "isolated_images",
    Kind.TEXTS,
    (),
    "UUIDs of the images that only go to the isolated_hosts, for the IsolatedHostsFilter.",
)
HOSTS = Option("isolated_hosts", Kind.TEXTS, (), "Hosts of the IsolatedHostsFilter.")
RESTRICT = Option(
    "restrict_isolated_hosts_to_isolated_images",
    Kind.FLAG,
    True,
    "Whether the isolated_hosts take the isolated_images only.",
)


class IsolatedHostsFilter(Filter):
    """Isolated images go to isolated hosts only; and as long as that is not turned off, isolated hosts take isolated
    images only. The image of a request without an image is not isolated."""

    name = "IsolatedHostsFilter"
    options = (IMAGES, HOSTS, RESTRICT)
    reasons = {
        ISOLATED_IMAGE.code: "the image goes to isolated hosts only, and the host is not one of them",
        ISOLATED_HOST.code: "the host takes isolated images only, and the image is not one of them",
    }
    on_rebuild = True
    follows_use = False

    def seen(self, request):
        return request.image_id

    def refusals(self, hosts, request, policy, scope):
        if request.image_id is not None and request.image_id in policy.isolated_images:
            yield Refusal(ISOLATED_IMAGE, ~_isolated(hosts, policy.isolated_hosts))
        elif policy.isolated_hosts and policy.restrict_isolated_hosts_to_isolated_images:
            yield Refusal(ISOLATED_HOST, _isolated(hosts, policy.isolated_hosts))


def _isolated(hosts, names):
    return hosts.table.derived(("isolated hosts", names), lambda: _rows(hosts.table, names))[hosts.index]


def _rows(table, names):
    isolated = np.zeros(table.count, bool)
    isolated[[table.row_of_host[name] for name in names if name in table.row_of_host]] = True
    return isolated
