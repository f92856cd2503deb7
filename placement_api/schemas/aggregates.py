"""Aggregates of a provider."""

from placement_api.schemas import common, validators

_AGGREGATES = {"type": "array", "items": common.UUID, "uniqueItems": True}

_PUT_1_19 = common.closed(
    {"aggregates": _AGGREGATES, "resource_provider_generation": common.GENERATION},
    required=["aggregates", "resource_provider_generation"],
)

PUT = validators.by_version(((1, 1), _AGGREGATES), ((1, 19), _PUT_1_19))
