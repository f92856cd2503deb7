"""The query for allocation candidates."""

from placement_api.schemas import common, validators

#: A number, as a text: webob knows no others.
_LIMIT = {"type": ["integer", "string"], "pattern": r"^[1-9][0-9]*\Z", "minimum": 1, "minLength": 1}
_GROUP_POLICY = {"type": "string", "enum": ["none", "isolate"]}


#: Parameters of a group, from microversion 1.31 on.
_OF_A_GROUP = ("resources", "required", "member_of", "in_tree")


def _of_groups(suffix: str, *names: str) -> dict[str, dict[str, str]]:
    """Parameters of the unsuffixed group and of granular ones, as patterns."""
    return {rf"^{name}({suffix})?\Z": common.TEXT for name in names}


_LIST = common.closed({"resources": common.TEXT}, required=["resources"])
_LIST_1_16 = common.closed({"resources": common.TEXT, "limit": _LIMIT}, required=["resources"])
_LIST_1_17 = common.closed({"resources": common.TEXT, "limit": _LIMIT, "required": common.TEXT}, required=["resources"])
_LIST_1_21 = common.closed(
    {"resources": common.TEXT, "limit": _LIMIT, "required": common.TEXT, "member_of": common.TEXT},
    required=["resources"],
)
_LIST_1_25 = common.closed(
    {"limit": _LIMIT, "group_policy": _GROUP_POLICY},
    patternProperties=_of_groups(common.NUMBER_SUFFIX, "resources", "required", "member_of"),
)
_LIST_1_31 = common.closed(
    {"limit": _LIMIT, "group_policy": _GROUP_POLICY}, patternProperties=_of_groups(common.NUMBER_SUFFIX, *_OF_A_GROUP)
)
_BY_TEXT_SUFFIX = _of_groups(common.TEXT_SUFFIX, *_OF_A_GROUP)
_LIST_1_33 = common.closed({"limit": _LIMIT, "group_policy": _GROUP_POLICY}, patternProperties=_BY_TEXT_SUFFIX)
_LIST_1_35 = common.closed(
    {"limit": _LIMIT, "group_policy": _GROUP_POLICY, "root_required": common.TEXT}, patternProperties=_BY_TEXT_SUFFIX
)
_LIST_1_36 = common.closed(
    {"limit": _LIMIT, "group_policy": _GROUP_POLICY, "root_required": common.TEXT, "same_subtree": common.TEXT},
    patternProperties=_BY_TEXT_SUFFIX,
)

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
