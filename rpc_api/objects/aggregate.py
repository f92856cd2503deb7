"""Aggregate: a named set of hosts with metadata, fanned out by nova-api when it changes."""

from rpc_api.objects import base, fields


@base.register
class Aggregate(base.PersistentObject, base.NovaObject):
    """A host aggregate; the one with ``availability_zone`` in its metadata is a zone."""

    VERSION = "1.3"
    fields = {
        "id": fields.IntegerField(),
        "uuid": fields.UUIDField(),
        "name": fields.StringField(),
        "hosts": fields.ListOfStringsField(nullable=True),
        "metadata": fields.DictOfStringsField(nullable=True),
    }
    metadata: dict[str, str] | None
    obj_extra_fields = ["availability_zone"]
    ADDED_IN = {"uuid": (1, 2)}

    @property
    def availability_zone(self) -> str | None:
        """The availability zone of the aggregate, if it is one."""
        return (self.metadata or {}).get("availability_zone")


@base.register
class AggregateList(base.ObjectListBase, base.NovaObject):
    """A list of aggregates: nova-api sends a list of one, and Nova's scheduler accepts this object, too."""

    VERSION = "1.3"
    fields = {"objects": fields.ListOfObjectsField("Aggregate")}
