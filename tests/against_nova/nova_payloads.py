"""The payloads of nova-scheduler's notifications about a request, made by the real Nova.

Run by the peer's own Python, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project.
"""

import logging
import types

import nova.conf
from nova import objects, rpc
from nova.notifications.objects.request_spec import RequestSpecPayload

logging.disable(logging.CRITICAL)
objects.register_all()
nova.conf.CONF([], default_config_files=[])
rpc.NOTIFIER = types.SimpleNamespace(is_enabled=lambda: True)
nova.conf.CONF.set_override("notification_format", "versioned", "notifications")


def payloads(primitive):
    """The versioned payload, and the unversioned one without the objects in it."""
    spec = objects.RequestSpec.obj_from_primitive(primitive)
    legacy = spec.to_legacy_request_spec_dict()
    legacy["instance_type"] = sorted(name for name in spec.flavor.fields if spec.flavor.obj_attr_is_set(name))
    legacy["image"] = bool(legacy["image"])
    properties = legacy["instance_properties"]
    legacy["instance_properties"] = {
        name: value if isinstance(value, (str, int, type(None))) else "an object" for name, value in properties.items()
    }
    return [RequestSpecPayload(spec).obj_to_primitive(), {"request_spec": legacy}]


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (payloads,)
