"""Inventories of a provider."""

from placement_api.schemas import common, validators


def _amount(least: int) -> dict[str, object]:
    return {"type": "integer", "minimum": least, "maximum": common.MAX_AMOUNT}


#: What one inventory may have beside its class. Placement also takes the generation in each of several inventories.
_FIELDS = {
    "resource_provider_generation": common.GENERATION,
    "total": _amount(1),
    "reserved": _amount(0),
    "min_unit": _amount(1),
    "max_unit": _amount(1),
    "step_size": _amount(1),
    "allocation_ratio": {"type": "number", "minimum": -common.MAX_RATIO, "maximum": common.MAX_RATIO},
}

_POST = common.closed(
    {**_FIELDS, "resource_class": {"type": "string", "pattern": common.CLASS_NAME}},
    required=["total", "resource_class"],
)
_PUT_ONE = common.closed(_FIELDS, required=["total", "resource_provider_generation"])
_RECORD = common.closed(_FIELDS, required=["total"])
#: All inventories of a provider. The handler answers for a name that no class can have, as for an unknown class.
ALL = {
    "type": "object",
    "properties": {
        "resource_provider_generation": common.GENERATION,
        "inventories": {"type": "object", "additionalProperties": _RECORD},
    },
    "required": ["resource_provider_generation", "inventories"],
    "additionalProperties": False,
}

POST = validators.by_version(((1, 0), _POST))
PUT_ONE = validators.by_version(((1, 0), _PUT_ONE))
PUT_ALL = validators.by_version(((1, 0), ALL))
