"""Selection: the answer to a request, one host with all that a conductor needs to build there."""

from typing import Any

from oslo_versionedobjects import base as ovo

from rpc_api.objects import base, fields


@base.register
class SchedulerLimits(base.NovaObject):
    """How far the compute host may over-commit itself for this server.

    A conductor calls :meth:`to_dict` on what we return, and Nova's fails on
    an unset field: make one with :meth:`from_dict`, which sets all of them.
    """

    VERSION = "1.0"
    fields = {
        "numa_topology": fields.ObjectField("NUMATopologyLimits", nullable=True, default=None),
        "vcpu": fields.IntegerField(nullable=True, default=None),
        "disk_gb": fields.IntegerField(nullable=True, default=None),
        "memory_mb": fields.IntegerField(nullable=True, default=None),
    }

    @classmethod
    def from_dict(cls, limits: dict[str, Any]) -> "SchedulerLimits":
        """Limits with every field set: what ``limits`` does not name is None."""
        return cls(**{name: limits.get(name) for name in cls.fields})

    def to_dict(self) -> dict[str, Any]:
        """The limits that there are; unset is as good as None."""
        return {name: getattr(self, name) for name in self.fields if name in self and getattr(self, name) is not None}


@base.register
class Selection(base.NovaObject, ovo.ComparableVersionedObject):
    """A host chosen for one server: the first of its list is claimed, the others are alternates."""

    VERSION = "1.1"
    fields = {
        "compute_node_uuid": fields.UUIDField(),
        "service_host": fields.StringField(),
        "nodename": fields.StringField(),
        "cell_uuid": fields.UUIDField(),
        "limits": fields.ObjectField("SchedulerLimits", nullable=True),
        # A JSON text. Null means to a conductor that it need not claim an alternate itself.
        "allocation_request": fields.StringField(nullable=True),
        "allocation_request_version": fields.StringField(nullable=True),
        # Without it the cell conductor would ask the API database.
        "availability_zone": fields.StringField(nullable=True),
    }
    service_host: str
    allocation_request: str | None
    ADDED_IN = {"availability_zone": (1, 1)}
