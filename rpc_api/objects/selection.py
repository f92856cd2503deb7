"""Selection: the answer to a request, one host with all facts that a conductor needs for a build there."""

from typing import Any

from oslo_versionedobjects import base as ovo

from rpc_api.objects import base, fields


@base.register
class SchedulerLimits(base.NovaObject):
    """How far the compute host may be over-committed for this server.

    A conductor calls :meth:`to_dict` on the answer, and Nova's method fails on an unset field: use :meth:`from_dict`,
    which sets all fields.
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
        """Limits with every field set: a field that is not in ``limits`` is None."""
        return cls(**{name: limits.get(name) for name in cls.fields})

    def to_dict(self) -> dict[str, Any]:
        """The limits that are set and not None."""
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
        # A JSON text. Null means that the conductor does not need to claim an alternate itself.
        "allocation_request": fields.StringField(nullable=True),
        "allocation_request_version": fields.StringField(nullable=True),
        # Without it the cell conductor would ask the API database.
        "availability_zone": fields.StringField(nullable=True),
    }
    service_host: str
    allocation_request: str | None
    ADDED_IN = {"availability_zone": (1, 1)}
