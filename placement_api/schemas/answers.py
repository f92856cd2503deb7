"""JSON Schemas of the bodies of answers, by the microversion of the request.

The handlers make these bodies and nothing checks them while the service runs: the description of the API has them
(:mod:`placement_api.openapi`), and tests hold each answer against it.
"""

from typing import Any

from placement_api import http_errors
from placement_api.schemas import common
from placement_api.versions import Version

Schema = dict[str, Any]

_INTEGER: Schema = {"type": "integer"}
_UUID_OR_NULL: Schema = {"type": ["string", "null"], "format": "uuid"}
#: Resource class -> amount.
_AMOUNTS: Schema = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}


def _object(required: dict[str, Schema], **optional: Schema) -> Schema:
    """An object with these keys and no others."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _by_key(values: Schema, keys: Schema | None = None) -> Schema:
    """An object whose keys are data, such as uuids."""
    found: Schema = {"type": "object", "additionalProperties": values}
    return found if keys is None else {**found, "propertyNames": keys}


def _links() -> Schema:
    return _list(_object({"rel": common.TEXT, "href": common.TEXT}))


def error(version: Version) -> Schema:
    """Errors. Those that occur before the microversion is known have no code, and one about the microversion names
    those that there are."""
    one = {"status": _INTEGER, "title": common.TEXT, "detail": common.TEXT}
    code = {"code": {"type": "string", "enum": sorted(http_errors.CODES)}}
    return _object(
        {
            "errors": _list(
                _object(one, request_id=common.TEXT, max_version=common.TEXT, min_version=common.TEXT, **code)
            )
        }
    )


def api_versions(version: Version) -> Schema:
    """The versions of the API."""
    one = dict.fromkeys(("id", "max_version", "min_version", "status"), common.TEXT)
    return _object({"versions": _list(_object({**one, "links": _links()}))})


def resource_class(version: Version) -> Schema:
    """One resource class."""
    return _object({"name": common.TEXT, "links": _links()})


def resource_classes(version: Version) -> Schema:
    """All resource classes."""
    return _object({"resource_classes": _list(resource_class(version))})


def provider(version: Version) -> Schema:
    """One provider."""
    found = {"uuid": common.UUID, "name": common.TEXT, "generation": _INTEGER, "links": _links()}
    if version >= (1, 14):
        found |= {"parent_provider_uuid": _UUID_OR_NULL, "root_provider_uuid": common.UUID}
    return _object(found)


def providers(version: Version) -> Schema:
    """Some providers."""
    return _object({"resource_providers": _list(provider(version))})


_INVENTORY: dict[str, Schema] = {
    **dict.fromkeys(("total", "reserved", "min_unit", "max_unit", "step_size"), _INTEGER),
    "allocation_ratio": {"type": "number"},
}


def inventory(version: Version) -> Schema:
    """One inventory. A generation of 0 is left out, as Placement does it."""
    return _object(_INVENTORY, resource_provider_generation=_INTEGER)


def inventories(version: Version) -> Schema:
    """All inventories of a provider."""
    return _object({"resource_provider_generation": _INTEGER, "inventories": _by_key(_object(_INVENTORY))})


def usages_of_provider(version: Version) -> Schema:
    """What is used of a provider."""
    return _object({"resource_provider_generation": _INTEGER, "usages": _AMOUNTS})


def aggregates(version: Version) -> Schema:
    """The aggregates of a provider."""
    found: dict[str, Schema] = {"aggregates": _list(common.UUID)}
    if version >= (1, 19):
        found["resource_provider_generation"] = _INTEGER
    return _object(found)


def allocations_of_provider(version: Version) -> Schema:
    """Who holds what of a provider."""
    one: dict[str, Schema] = {"resources": _AMOUNTS}
    if version >= (1, 28):
        one["consumer_generation"] = _INTEGER
    return _object({"allocations": _by_key(_object(one), common.UUID), "resource_provider_generation": _INTEGER})


def allocations(version: Version) -> Schema:
    """What a consumer holds. Without allocations there is nothing else."""
    one = _object({"generation": _INTEGER, "resources": _AMOUNTS})
    owner: dict[str, Schema] = {}
    if version >= (1, 12):
        owner |= {"project_id": common.TEXT, "user_id": common.TEXT}
    if version >= (1, 28):
        owner["consumer_generation"] = _INTEGER
    if version >= (1, 38):
        owner["consumer_type"] = common.TEXT
    nothing = _object({"allocations": {"type": "object", "maxProperties": 0}})
    something = _object({"allocations": {**_by_key(one, common.UUID), "minProperties": 1}, **owner})
    return {"oneOf": [nothing, something]}


def traits(version: Version) -> Schema:
    """Names of traits."""
    return _object({"traits": _list(common.TEXT)})


def traits_of_provider(version: Version) -> Schema:
    """The traits of a provider."""
    return _object({"traits": _list(common.TEXT), "resource_provider_generation": _INTEGER})


def usages(version: Version) -> Schema:
    """What a project uses; for each type of consumers, if the microversion has types."""
    if version < (1, 38):
        return _object({"usages": _AMOUNTS})
    one = {**_AMOUNTS, "properties": {"consumer_count": _INTEGER}, "required": ["consumer_count"]}
    return _object({"usages": _by_key(one)})


def candidates(version: Version) -> Schema:
    """Allocation candidates."""
    one: dict[str, Schema] = {"resources": _AMOUNTS}
    if version < (1, 12):
        of_provider = _object({"resource_provider": _object({"uuid": common.UUID}), **one})
        request = {"allocations": _list(of_provider)}
    else:
        request = {"allocations": _by_key(_object(one), common.UUID)}
    if version >= (1, 34):
        request["mappings"] = _by_key(_list(common.UUID))
    summary: dict[str, Schema] = {"resources": _by_key(_object({"capacity": _INTEGER, "used": _INTEGER}))}
    if version >= (1, 17):
        summary["traits"] = _list(common.TEXT)
    if version >= (1, 29):
        summary |= {"parent_provider_uuid": _UUID_OR_NULL, "root_provider_uuid": common.UUID}
    return _object(
        {"allocation_requests": _list(_object(request)), "provider_summaries": _by_key(_object(summary), common.UUID)}
    )
