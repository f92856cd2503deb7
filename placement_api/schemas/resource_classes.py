"""Resource classes."""

from placement_api.schemas import common, validators

_NAMED = common.closed({"name": {"type": "string", "pattern": common.CUSTOM_NAME, "maxLength": 255}}, required=["name"])

POST = validators.by_version(((1, 2), _NAMED))
#: The new name in the body before 1.7; from then on there is no body, and ``{"name": …}`` is that of the path.
PUT = validators.by_version(((1, 2), _NAMED))
