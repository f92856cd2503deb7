"""The query for allocation candidates."""

from placement_api.schemas import common, validators

#: A number, as a text: webob knows no others.
_LIMIT = {"type": ["integer", "string"], "pattern": r"^[1-9][0-9]*\Z", "minimum": 1, "minLength": 1}
_GROUP_POLICY = {"type": "string", "enum": ["none", "isolate"]}


def _of_group(name: str, suffix: str) -> str:
    """The pattern of a parameter of the unsuffixed group, or of a granular one. Errors show it in Placement's form; a
    name that ends with a line break fits, and is not read."""
    return rf"^{name}({suffix})?$"


_LIST = {
    "type": "object",
    "properties": {"resources": common.TEXT},
    "required": ["resources"],
    "additionalProperties": False,
}
_LIST_1_16 = {
    "type": "object",
    "properties": {"resources": common.TEXT, "limit": _LIMIT},
    "required": ["resources"],
    "additionalProperties": False,
}
_LIST_1_17 = {
    "type": "object",
    "properties": {"resources": common.TEXT, "limit": _LIMIT, "required": common.TEXT},
    "required": ["resources"],
    "additionalProperties": False,
}
_LIST_1_21 = {
    "type": "object",
    "properties": {"resources": common.TEXT, "limit": _LIMIT, "required": common.TEXT, "member_of": common.TEXT},
    "required": ["resources"],
    "additionalProperties": False,
}
_LIST_1_25 = {
    "type": "object",
    "properties": {"limit": _LIMIT, "group_policy": _GROUP_POLICY},
    "patternProperties": {
        _of_group("resources", common.NUMBER_SUFFIX): common.TEXT,
        _of_group("required", common.NUMBER_SUFFIX): common.TEXT,
        _of_group("member_of", common.NUMBER_SUFFIX): common.TEXT,
    },
    "additionalProperties": False,
}
_LIST_1_31 = {
    "type": "object",
    "properties": {"limit": _LIMIT, "group_policy": _GROUP_POLICY},
    "patternProperties": {
        _of_group("resources", common.NUMBER_SUFFIX): common.TEXT,
        _of_group("required", common.NUMBER_SUFFIX): common.TEXT,
        _of_group("member_of", common.NUMBER_SUFFIX): common.TEXT,
        _of_group("in_tree", common.NUMBER_SUFFIX): common.TEXT,
    },
    "additionalProperties": False,
}
_BY_TEXT_SUFFIX = {
    _of_group("resources", common.TEXT_SUFFIX): common.TEXT,
    _of_group("required", common.TEXT_SUFFIX): common.TEXT,
    _of_group("member_of", common.TEXT_SUFFIX): common.TEXT,
    _of_group("in_tree", common.TEXT_SUFFIX): common.TEXT,
}
_LIST_1_33 = {
    "type": "object",
    "properties": {"limit": _LIMIT, "group_policy": _GROUP_POLICY},
    "patternProperties": _BY_TEXT_SUFFIX,
    "additionalProperties": False,
}
_LIST_1_35 = {
    "type": "object",
    "properties": {"limit": _LIMIT, "group_policy": _GROUP_POLICY, "root_required": common.TEXT},
    "patternProperties": _BY_TEXT_SUFFIX,
    "additionalProperties": False,
}
_LIST_1_36 = {
    "type": "object",
    "properties": {
        "limit": _LIMIT,
        "group_policy": _GROUP_POLICY,
        "root_required": common.TEXT,
        "same_subtree": common.TEXT,
    },
    "patternProperties": _BY_TEXT_SUFFIX,
    "additionalProperties": False,
}

LIST = validators.query_by_version(
    ((1, 10), _LIST),
    ((1, 16), _LIST_1_16),
    ((1, 17), _LIST_1_17),
    ((1, 21), _LIST_1_21),
    ((1, 25), _LIST_1_25),
    ((1, 31), _LIST_1_31),
    ((1, 33), _LIST_1_33),
    ((1, 35), _LIST_1_35),
    ((1, 36), _LIST_1_36),
)
