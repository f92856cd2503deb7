"""PCI: the devices that a server asks for, and the pools of equal devices of a host."""

from rpc_api.objects import base, fields


def _nothing() -> None:
    return None


@base.register
class InstancePCIRequest(base.NovaObject):
    """``count`` devices, each of which fits one of ``spec``; unset fields that may be None read as None."""

    VERSION = "1.4"
    fields = {
        "count": fields.IntegerField(),
        "spec": fields.ListOfDictOfNullableStringsField(),
        "alias_name": fields.StringField(nullable=True),
        "is_new": fields.BooleanField(default=False),
        "request_id": fields.UUIDField(nullable=True),
        "requester_id": fields.StringField(nullable=True),
        "numa_policy": fields.PCINUMAAffinityPolicyField(nullable=True),
    }
    LAZY = {
        "alias_name": _nothing,
        "is_new": lambda: False,
        "request_id": _nothing,
        "requester_id": _nothing,
        "numa_policy": _nothing,
    }
    ADDED_IN = {"request_id": (1, 1), "numa_policy": (1, 2), "requester_id": (1, 3)}

    alias_name: str | None

    FLAVOR_ALIAS = 0
    NEUTRON_PORT = 1

    @property
    def source(self) -> int:
        """The source of the request: an alias in the flavor, or a port (which has no alias)."""
        return self.NEUTRON_PORT if self.alias_name is None else self.FLAVOR_ALIAS


@base.register
class InstancePCIRequests(base.NovaObject):
    """All PCI requests of one server."""

    VERSION = "1.1"
    fields = {"instance_uuid": fields.UUIDField(), "requests": fields.ListOfObjectsField("InstancePCIRequest")}


@base.register
class PciDevicePool(base.NovaObject):
    """``count`` equal free devices."""

    VERSION = "1.1"
    fields = {
        "product_id": fields.StringField(),
        "vendor_id": fields.StringField(),
        "numa_node": fields.IntegerField(nullable=True),
        "tags": fields.DictOfNullableStringsField(),
        "count": fields.IntegerField(),
    }
    ADDED_IN = {"numa_node": (1, 1)}


@base.register
class PciDevicePoolList(base.ObjectListBase, base.NovaObject):
    """The pools of one host."""

    VERSION = "1.1"
    fields = {"objects": fields.ListOfObjectsField("PciDevicePool")}
