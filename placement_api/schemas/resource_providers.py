"""Providers, and the filters of their list."""

from placement_api.schemas import common, validators

#: (Placement has no least length. A log does not take a name without a character.)
_NAME = {"type": "string", "minLength": 1, "maxLength": 200}
_PARENT = {"anyOf": [common.UUID, {"type": "null"}]}

_POST = common.closed({"name": _NAME, "uuid": common.UUID}, required=["name"])
_POST_1_14 = common.closed({"name": _NAME, "uuid": common.UUID, "parent_provider_uuid": _PARENT}, required=["name"])
_PUT = common.closed({"name": _NAME}, required=["name"])
_PUT_1_14 = common.closed({"name": _NAME, "parent_provider_uuid": _PARENT}, required=["name"])

POST = validators.by_version(((1, 0), _POST), ((1, 14), _POST_1_14))
PUT = validators.by_version(((1, 0), _PUT), ((1, 14), _PUT_1_14))

_LIST = common.closed({"name": common.TEXT, "uuid": common.UUID})
_LIST_1_3 = common.closed({"name": common.TEXT, "uuid": common.UUID, "member_of": common.TEXT})
_LIST_1_4 = common.closed(
    {"name": common.TEXT, "uuid": common.UUID, "member_of": common.TEXT, "resources": common.TEXT}
)
_LIST_1_14 = common.closed(
    {
        "name": common.TEXT,
        "uuid": common.UUID,
        "member_of": common.TEXT,
        "resources": common.TEXT,
        "in_tree": common.UUID,
    }
)
_LIST_1_18 = common.closed(
    {
        "name": common.TEXT,
        "uuid": common.UUID,
        "member_of": common.TEXT,
        "resources": common.TEXT,
        "in_tree": common.UUID,
        "required": common.TEXT,
    }
)

LIST = validators.query_by_version(
    ((1, 0), _LIST), ((1, 3), _LIST_1_3), ((1, 4), _LIST_1_4), ((1, 14), _LIST_1_14), ((1, 18), _LIST_1_18)
)
