"""What projects use."""

from placement_api.schemas import common, validators

_LIST = common.closed({"project_id": common.KEYSTONE_ID, "user_id": common.KEYSTONE_ID}, required=["project_id"])
_LIST_1_38 = common.closed(
    {
        "project_id": common.KEYSTONE_ID,
        "user_id": common.KEYSTONE_ID,
        "consumer_type": {"type": "string", "pattern": common.CONSUMER_TYPE_ASKED, "minLength": 1, "maxLength": 255},
    },
    required=["project_id"],
)

LIST = validators.query_by_version(((1, 9), _LIST), ((1, 38), _LIST_1_38))
