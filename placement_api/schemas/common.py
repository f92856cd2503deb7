"""Parts of several schemas. Patterns end with ``\\Z``, as ``$`` also matches before a line break."""

from typing import Any

#: Greatest amount, of Placement and of an event.
MAX_AMOUNT = 2**31 - 1
#: Greatest allocation ratio: that of a float in Placement's database.
MAX_RATIO = 3.40282e38

#: A uuid as a key of an object: with dashes, in any case.
UUID_KEY = r"^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\Z"
CLASS_NAME = r"^[A-Z0-9_]+\Z"
CUSTOM_NAME = r"^CUSTOM_[A-Z0-9_]+\Z"
CONSUMER_TYPE = CLASS_NAME
#: A consumer type in a query, or one of the words for all consumers, and for those without a type.
CONSUMER_TYPE_ASKED = r"^(?:[A-Z0-9_]+|all|unknown)\Z"
#: Suffixes of granular request groups: numbers, and texts from microversion 1.33 on.
NUMBER_SUFFIX = r"[1-9][0-9]*"
TEXT_SUFFIX = r"[a-zA-Z0-9_-]{1,64}"

UUID: dict[str, Any] = {"type": "string", "format": "uuid"}
#: Ids of projects and users, which are texts of Keystone.
KEYSTONE_ID: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 255}
GENERATION: dict[str, Any] = {"type": "integer"}
TEXT: dict[str, Any] = {"type": "string"}


def closed(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The schema of an object that has these properties and no others. ``more`` are further keywords, such as
    ``required`` and ``patternProperties``."""
    return {
        "type": "object",
        **({"properties": properties} if properties else {}),
        **more,
        "additionalProperties": False,
    }
