"""Classes of Nova that publish what they save. The only module that imports Nova.

Nova's registry of objects takes the class that is registered last under a name and version. So nova-compute uses these
classes in the place of its own.
"""

import functools
import logging

from nova.objects import base, compute_node, instance, pci_device, service

from compute_agent.nova_notifier.records import taken_from
from nova_sched.nova_objects.names import METHODS

LOG = logging.getLogger(__name__)
CLASSES = (compute_node.ComputeNode, service.Service, instance.Instance, pci_device.PciDevice)


def register(put) -> None:
    """Let each create, save and destroy that succeeds be published with ``put(key, record)``."""
    for cls in CLASSES:
        methods = {
            method: _publishing(getattr(cls, method), method, put)
            for method in METHODS
            # PciDevice.create, for example, only makes an object.
            if getattr(getattr(cls, method, None), "remotable", False)
        }
        made = type(cls.__name__, (cls,), {**methods, "__module__": cls.__module__, "__doc__": cls.__doc__})
        base.NovaObjectRegistry.register(made)


def _publishing(original, method, put):
    """The ``method`` of a class, which also publishes."""

    @functools.wraps(original)
    def publishing(self, *args, **kwargs):
        # Only a nova-compute asks a conductor. A process with a database saves the objects of other processes.
        if not self.indirection_api:
            return original(self, *args, **kwargs)
        changed = self.obj_what_changed()
        result = original(self, *args, **kwargs)
        try:
            put(_key_of(self), taken_from(self, method, changed))
        except Exception as fault:
            LOG.warning(
                "nova_sched's tap does not get a %s of %s: %r; report it, with Nova's release",
                method,
                self.obj_name(),
                fault,
            )
            LOG.debug("the fault of the driver", exc_info=True)
        return result

    return publishing


def _key_of(thing):
    """The name of the object, and what tells it from others of that name."""
    name = thing.obj_name()
    known = (field for field in ("uuid", "id", "host") if thing.obj_attr_is_set(field))
    return name, next((getattr(thing, field) for field in known), None)
