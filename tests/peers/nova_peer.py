"""The real nova answers here: run by the peer's own Python, one JSON question a line in, one JSON answer a line out.

Imports nothing of this project. See :mod:`tests.peers.conftest` for how it is started.
"""

import json
import sys

import nova.conf
from nova import objects
from nova.objects import base
from nova.scheduler import request_filter, utils

objects.register_all()
CONF = nova.conf.CONF
CONF([], default_config_files=[])

#: What nova's scheduler does to a request before it asks Placement, less what asks databases or Neutron.
REQUEST_FILTERS = (
    request_filter.accelerators_filter, request_filter.packed_virtqueue_filter,
    request_filter.ephemeral_encryption_filter, request_filter.virtio_sound_filter,
    request_filter.tpm_secret_security_filter,
)


def spec_of(primitive):
    return base.NovaObject.obj_from_primitive(primitive)


def translate(spec):
    """The resource groups and traits that nova would ask Placement for, by suffix."""
    spec = spec_of(spec)
    # Some of nova's request filters fall over without an image.
    spec.image = spec.image or objects.ImageMeta(properties=objects.ImageMetaProps())
    for one in REQUEST_FILTERS:
        one(None, spec)
    asked = utils.resources_from_request_spec(None, spec, None)
    return {
        "groups": {name or "": {
            "resources": group.resources, "required": sorted(group.required_traits),
            "forbidden": sorted(group.forbidden_traits), "member_of": [sorted(one) for one in group.aggregates],
            "forbidden_aggregates": sorted(group.forbidden_aggregates), "in_tree": group.in_tree,
        } for name, group in asked._rg_by_id.items()},
        "policy": asked.group_policy, "root_required": sorted(asked._root_required),
        "root_forbidden": sorted(asked._root_forbidden), "same_subtree": [sorted(one) for one in asked._same_subtree],
    }


ASKS = {one.__name__: one for one in (translate,)}


def main():
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"answer": ASKS[name](*arguments)}
        except Exception as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
