"""InstanceGroup: a server group, its policy, its members and the hosts that they are on."""

from typing import Any

from oslo_versionedobjects import base as ovo

from rpc_api.objects import base, fields


@base.register
class InstanceGroup(base.PersistentObject, base.NovaObject, ovo.VersionedObjectDictCompat):
    """A server group as the conductor sends it; ``hosts`` are those of the members."""

    VERSION = "1.11"
    fields = {
        "id": fields.IntegerField(),
        "user_id": fields.StringField(nullable=True),
        "project_id": fields.StringField(nullable=True),
        "uuid": fields.UUIDField(),
        "name": fields.StringField(nullable=True),
        # The form of `policy` before 1.11: a list that never had more than one entry.
        "policies": fields.ListOfStringsField(nullable=True, read_only=True),
        "members": fields.ListOfStringsField(nullable=True),
        "hosts": fields.ListOfStringsField(nullable=True),
        "policy": fields.StringField(nullable=True),
        # All values are strings here; `rules` has their types.
        "_rules": fields.DictOfStringsField(),
    }
    _rules: dict[str, str]

    def __init__(self, context: Any = None, **kwargs: Any) -> None:
        if "rules" in kwargs:
            kwargs["_rules"] = kwargs.pop("rules")
        super().__init__(context, **kwargs)

    @property
    def rules(self) -> dict[str, int]:
        """The rules of the policy; the only rule is ``max_server_per_host``."""
        rules = self._rules if "_rules" in self else {}
        return {name: int(rules[name]) for name in ("max_server_per_host",) if name in rules}

    def obj_make_compatible(self, primitive: dict[str, Any], target_version: str) -> None:
        super().obj_make_compatible(primitive, target_version)
        if base.known_version(target_version) < (1, 11):
            policy = primitive.pop("policy", None)
            primitive["policies"] = [policy] if policy else []
            primitive.pop("_rules", None)
        if base.known_version(target_version) < (1, 10):
            primitive.pop("hosts", None)
