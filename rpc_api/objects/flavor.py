"""Flavor: the size of a server and its extra specs."""

from oslo_versionedobjects import base as ovo

from rpc_api.objects import base, fields


@base.register
class Flavor(base.PersistentObject, base.NovaObject, ovo.VersionedObjectDictCompat):
    """What is asked for. Deployers' filters also read it like a dictionary."""

    VERSION = "1.2"
    fields = {
        "id": fields.IntegerField(),
        "name": fields.StringField(nullable=True),
        "memory_mb": fields.IntegerField(),
        "vcpus": fields.IntegerField(),
        "root_gb": fields.IntegerField(),
        "ephemeral_gb": fields.IntegerField(),
        "flavorid": fields.StringField(),
        "swap": fields.IntegerField(),
        "rxtx_factor": fields.FloatField(nullable=True, default=1.0),
        "vcpu_weight": fields.IntegerField(nullable=True),
        "disabled": fields.BooleanField(),
        "is_public": fields.BooleanField(),
        "extra_specs": fields.DictOfStringsField(),
        "projects": fields.ListOfStringsField(),
        "description": fields.StringField(nullable=True),
    }
    vcpus: int
    memory_mb: int
    root_gb: int
    ephemeral_gb: int
    swap: int
    #: No decision depends on the name: it is there for the texts of errors.
    LAZY = {"name": lambda: None}
    ADDED_IN = {"description": (1, 2)}
