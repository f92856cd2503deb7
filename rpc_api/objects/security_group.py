"""SecurityGroup: a part of a request that no scheduler reads; without it a request could not be loaded."""

from rpc_api.objects import base, fields


@base.register
class SecurityGroup(base.PersistentObject, base.NovaObject):
    """A security group of the server."""

    VERSION = "1.2"
    fields = {
        "id": fields.IntegerField(),
        "name": fields.StringField(),
        "description": fields.StringField(),
        "user_id": fields.StringField(),
        "project_id": fields.StringField(),
        "uuid": fields.UUIDField(),
    }
    ADDED_IN = {"uuid": (1, 2)}


@base.register
class SecurityGroupList(base.ObjectListBase, base.NovaObject):
    """The security groups of the server."""

    VERSION = "1.1"
    fields = {"objects": fields.ListOfObjectsField("SecurityGroup")}
