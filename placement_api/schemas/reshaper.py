"""A reshape: inventories of some providers, with the allocations of their consumers."""

from placement_api.schemas import allocations, common, inventories, validators

_INVENTORIES = common.closed({}, minProperties=1, patternProperties={common.UUID_KEY: inventories.ALL})

POST = validators.by_version(
    (
        (1, 30),
        common.closed(
            {"inventories": _INVENTORIES, "allocations": allocations.MANY_1_28}, required=["inventories", "allocations"]
        ),
    ),
    (
        (1, 34),
        common.closed(
            {"inventories": _INVENTORIES, "allocations": allocations.MANY_1_34}, required=["inventories", "allocations"]
        ),
    ),
    (
        (1, 38),
        common.closed(
            {"inventories": _INVENTORIES, "allocations": allocations.MANY_1_38}, required=["inventories", "allocations"]
        ),
    ),
)
