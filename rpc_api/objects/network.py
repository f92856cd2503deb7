"""The networks of a request, and what they need of the host's NICs."""

from rpc_api.objects import base, fields


@base.register
class NetworkMetadata(base.NovaObject):
    """The required physical networks, and whether a tunnelled network is required: they decide the NUMA node of the
    NIC."""

    VERSION = "1.0"
    fields = {"physnets": fields.SetOfStringsField(), "tunneled": fields.BooleanField()}


def _nothing() -> None:
    return None


@base.register
class NetworkRequest(base.NovaObject):
    """One network or port that the server asks for; unset fields read as None."""

    VERSION = "1.3"
    fields = {
        "network_id": fields.StringField(nullable=True),
        "address": fields.IPAddressField(nullable=True),
        "port_id": fields.UUIDField(nullable=True),
        "pci_request_id": fields.UUIDField(nullable=True),
        "tag": fields.StringField(nullable=True),
        "arq_uuid": fields.UUIDField(nullable=True),
        "device_profile": fields.StringField(nullable=True),
    }
    LAZY = dict.fromkeys(fields, _nothing)
    ADDED_IN = {"pci_request_id": (1, 1), "tag": (1, 2), "arq_uuid": (1, 3), "device_profile": (1, 3)}


@base.register
class NetworkRequestList(base.ObjectListBase, base.NovaObject):
    """All networks and ports that the server asks for."""

    VERSION = "1.1"
    fields = {"objects": fields.ListOfObjectsField("NetworkRequest")}
