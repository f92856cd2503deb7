"""CellMapping: a cell, and in Nova's messages the credentials of its database and its broker."""

from rpc_api.objects import base, fields


@base.register
class CellMapping(base.TimestampedObject, base.NovaObject):
    """One cell. Its two URLs hold passwords: they never appear in a representation of the object.

    They are in the primitive, because Nova needs them there; so the object must never be in an event or a log.
    """

    VERSION = "1.1"
    fields = {
        "id": fields.IntegerField(read_only=True),
        "uuid": fields.UUIDField(),
        "name": fields.StringField(nullable=True),
        "transport_url": fields.StringField(),
        "database_connection": fields.StringField(),
        "disabled": fields.BooleanField(default=False),
    }
    ADDED_IN = {"disabled": (1, 1)}
    CELL0_UUID = "00000000-0000-0000-0000-000000000000"
    SECRET = frozenset({"transport_url", "database_connection"})

    def __repr__(self) -> str:
        shown = []
        for name, field in sorted(self.fields.items()):
            if name not in self:
                text = "<?>"
            elif name in self.SECRET:
                text = "***"
            else:
                text = field.stringify(getattr(self, name))
            shown.append(f"{name}={text}")
        return f"{self.obj_name()}({','.join(shown)})"
