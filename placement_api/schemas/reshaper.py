"""A reshape: inventories of some providers, with the allocations of their consumers."""

from placement_api.schemas import allocations, common, inventories, validators

_INVENTORIES = {
    "type": "object",
    "minProperties": 1,
    "patternProperties": {common.UUID_KEY: inventories.ALL},
    "additionalProperties": False,
}

POST = validators.by_version(
    (
        (1, 30),
        {
            "type": "object",
            "properties": {"inventories": _INVENTORIES, "allocations": allocations.MANY_1_28},
            "required": ["inventories", "allocations"],
            "additionalProperties": False,
        },
    ),
    (
        (1, 34),
        {
            "type": "object",
            "properties": {"inventories": _INVENTORIES, "allocations": allocations.MANY_1_34},
            "required": ["inventories", "allocations"],
            "additionalProperties": False,
        },
    ),
    (
        (1, 38),
        {
            "type": "object",
            "properties": {"inventories": _INVENTORIES, "allocations": allocations.MANY_1_38},
            "required": ["inventories", "allocations"],
            "additionalProperties": False,
        },
    ),
)
