"""Traits, and the traits of a provider."""

from placement_api.schemas import common, validators

_NAME = {"type": "string", "minLength": 1, "maxLength": 255}

#: The name of a trait that a client may create.
CUSTOM_NAME = validators.by_version(((1, 6), {**_NAME, "pattern": common.CUSTOM_NAME}))

_PUT_OF_PROVIDER = common.closed(
    {"traits": {"type": "array", "items": _NAME}, "resource_provider_generation": common.GENERATION},
    required=["traits", "resource_provider_generation"],
)

PUT_OF_PROVIDER = validators.by_version(((1, 6), _PUT_OF_PROVIDER))

_LIST = common.closed({"name": common.TEXT, "associated": common.TEXT})

LIST = validators.query_by_version(((1, 6), _LIST))
