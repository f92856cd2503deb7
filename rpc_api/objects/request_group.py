"""The requirements of a request for resource providers: granular groups, and parameters of the whole request."""

from rpc_api.objects import base, fields


@base.register
class RequestGroup(base.EphemeralObject):
    """Resources and traits that one provider (or, without ``use_same_provider``, one tree) must have."""

    VERSION = "1.3"
    fields = {
        "use_same_provider": fields.BooleanField(default=True),
        "resources": fields.DictOfIntegersField(default={}),
        "required_traits": fields.SetOfStringsField(default=set()),
        "forbidden_traits": fields.SetOfStringsField(default=set()),
        # The provider must be in one aggregate of each inner list.
        "aggregates": fields.ListOfListsOfStringsField(default=[]),
        "forbidden_aggregates": fields.SetOfStringsField(default=set()),
        # The source of the group, for example the id of a port; also the suffix of the group. Not always a UUID.
        "requester_id": fields.StringField(nullable=True, default=None),
        # The answer, set when the request is placed.
        "provider_uuids": fields.ListOfUUIDField(default=[]),
        "in_tree": fields.UUIDField(nullable=True, default=None),
    }
    requester_id: str | None
    provider_uuids: list[str]
    ADDED_IN = {"requester_id": (1, 1), "provider_uuids": (1, 1), "in_tree": (1, 2), "forbidden_aggregates": (1, 3)}


@base.register
class RequestLevelParams(base.NovaObject):
    """Traits of the root provider, and groups that must be in one subtree. Unset fields read as empty."""

    VERSION = "1.1"
    fields = {
        "root_required": fields.SetOfStringsField(default=set()),
        "root_forbidden": fields.SetOfStringsField(default=set()),
        "same_subtree": fields.ListOfListsOfStringsField(default=[]),
    }
    root_required: set[str]
    root_forbidden: set[str]
    same_subtree: list[list[str]]
    LAZY = {"root_required": set, "root_forbidden": set, "same_subtree": list}
    ADDED_IN = {"same_subtree": (1, 1)}
