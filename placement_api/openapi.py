"""The description of the API in the form of OpenAPI 3.1, made of the routes and the schemas.

``docs/reference/placement-api.json`` is the description of the newest microversion (``make reference``).
"""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from webob.util import status_reasons

from placement_api import routes, versions
from placement_api.schemas import (
    aggregates,
    allocation_candidates,
    allocations,
    answers,
    inventories,
    reshaper,
    resource_classes,
    resource_providers,
    traits,
    usages,
)
from placement_api.schemas.validators import ByVersion, Schema
from placement_api.versions import LAST, Version, spelled

#: The schema of an answer's body, by microversion; None for an answer without a body.
Answer = Callable[[Version], dict[str, Any]] | None


class Operation(NamedTuple):
    """What the table of routes does not say of a method: the answers without an error (status -> body) by the first
    microversion of each, and the schemas of the body and of the query."""

    answers: tuple[tuple[Version, dict[int, Answer]], ...]
    body: ByVersion | None = None
    query: ByVersion | None = None


def _gives(answer: Answer, status: int = 200, **schemas: ByVersion) -> Operation:
    return Operation(((versions.FIRST, {status: answer}),), **schemas)


def _gives_nothing(*statuses: int, **schemas: ByVersion) -> Operation:
    return Operation(((versions.FIRST, dict.fromkeys(statuses or (204,))),), **schemas)


#: Path -> method -> Operation, as in the table of routes.
OPERATIONS: dict[str, dict[str, Operation]] = {
    "/": {"GET": _gives(answers.api_versions)},
    "/resource_classes": {
        "GET": _gives(answers.resource_classes),
        "POST": _gives_nothing(201, body=resource_classes.POST),
    },
    "/resource_classes/{name}": {
        "GET": _gives(answers.resource_class),
        "PUT": Operation((((1, 2), {200: answers.resource_class}), ((1, 7), {201: None, 204: None}))),
        "DELETE": _gives_nothing(),
    },
    "/resource_providers": {
        "GET": _gives(answers.providers, query=resource_providers.LIST),
        "POST": Operation((((1, 0), {201: None}), ((1, 20), {200: answers.provider})), body=resource_providers.POST),
    },
    "/resource_providers/{uuid}": {
        "GET": _gives(answers.provider),
        "PUT": _gives(answers.provider, body=resource_providers.PUT),
        "DELETE": _gives_nothing(),
    },
    "/resource_providers/{uuid}/inventories": {
        "GET": _gives(answers.inventories),
        "POST": _gives(answers.inventory, 201, body=inventories.POST),
        "PUT": _gives(answers.inventories, body=inventories.PUT_ALL),
        "DELETE": _gives_nothing(),
    },
    "/resource_providers/{uuid}/inventories/{resource_class}": {
        "GET": _gives(answers.inventory),
        "PUT": _gives(answers.inventory, body=inventories.PUT_ONE),
        "DELETE": _gives_nothing(),
    },
    "/resource_providers/{uuid}/usages": {"GET": _gives(answers.usages_of_provider)},
    "/resource_providers/{uuid}/aggregates": {
        "GET": _gives(answers.aggregates),
        "PUT": _gives(answers.aggregates, body=aggregates.PUT),
    },
    "/resource_providers/{uuid}/allocations": {"GET": _gives(answers.allocations_of_provider)},
    "/resource_providers/{uuid}/traits": {
        "GET": _gives(answers.traits_of_provider),
        "PUT": _gives(answers.traits_of_provider, body=traits.PUT_OF_PROVIDER),
        "DELETE": _gives_nothing(),
    },
    "/allocations": {"POST": _gives_nothing(body=allocations.POST)},
    "/allocations/{consumer_uuid}": {
        "GET": _gives(answers.allocations),
        "PUT": _gives_nothing(body=allocations.PUT),
        "DELETE": _gives_nothing(),
    },
    "/allocation_candidates": {"GET": _gives(answers.candidates, query=allocation_candidates.LIST)},
    "/traits": {"GET": _gives(answers.traits, query=traits.LIST)},
    "/traits/{name}": {"GET": _gives_nothing(), "PUT": _gives_nothing(201, 204), "DELETE": _gives_nothing()},
    "/usages": {"GET": _gives(answers.usages, query=usages.LIST)},
    "/reshaper": {"POST": _gives_nothing(body=reshaper.POST)},
}

#: PUT of a class has a body below microversion 1.7 only.
_RENAMES_BELOW = (1, 7)
#: Errors that each operation may answer with. 404 and 409 are about the state, 503 about the log.
_ERRORS = (400, 401, 403, 404, 406, 409, 413, 415, 503)
#: Errors of the path that says which versions there are, for which no token is needed.
_ERRORS_OF_ROOT = (400, 406, 413)
_HEADER = "OpenStack-API-Version"
#: Parameters of a query whose names have a pattern: all of them are one parameter, an object.
_GROUPS = "groups"


def describe(version: Version = LAST) -> dict[str, Any]:
    """The description of a microversion, as plain values of JSON. Operations that it does not have are left out."""
    found: dict[str, Any] = {}
    for path, methods in routes.ROUTES.items():
        known = {
            method.lower(): _operation(path, method, route, version)
            for method, route in methods.items()
            if version >= route.since
        }
        if known:
            arguments = re.findall(r"{(\w+)}", path)
            found[path] = {"parameters": [_in_path(name) for name in arguments], **known} if arguments else known
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "Placement API",
            "version": spelled(version),
            "description": "Placement's API, as nova_sched serves it. A request names its microversion in the header "
            f"{_HEADER}; without it the microversion is {spelled(versions.FIRST)}.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": found,
        "components": {
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
            "parameters": {"microversion": _microversion(version)},
            "schemas": {"Errors": answers.error(version)},
            "responses": {_error_name(status): _error(status) for status in _ERRORS},
        },
    }
    return _as_json_schema(described)


def text() -> str:
    """The description of the newest microversion as JSON."""
    return json.dumps(describe(), indent=1, ensure_ascii=False)


def _operation(path: str, method: str, route: routes.Route, version: Version) -> dict[str, Any]:
    known = OPERATIONS[path][method]
    found: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": (route.handler.__doc__ or route.handler.__name__).split("\n\n")[0].replace("\n    ", " "),
        "parameters": [{"$ref": "#/components/parameters/microversion"}, *_in_query(known.query, version)],
    }
    body = known.body
    if path == "/resource_classes/{name}" and method == "PUT" and version < _RENAMES_BELOW:
        body = resource_classes.PUT
    if body is not None:
        content = {"application/json": {"schema": body.find(version).schema}}
        found["requestBody"] = {"required": True, "content": content}
    last = [statuses for since, statuses in known.answers if version >= since][-1]
    errors = _ERRORS_OF_ROOT if path == "/" else _ERRORS
    found["responses"] = {
        **{str(status): _answer(status, answer, version) for status, answer in last.items()},
        **{str(status): {"$ref": f"#/components/responses/{_error_name(status)}"} for status in errors},
    }
    if path == "/":
        found["security"] = []
    return found


def _answer(status: int, answer: Answer, version: Version) -> dict[str, Any]:
    found: dict[str, Any] = {"description": status_reasons[status]}
    if answer is not None:
        found["content"] = {"application/json": {"schema": answer(version)}}
    return found


def _error_name(status: int) -> str:
    return status_reasons[status].title().replace(" ", "")


def _error(status: int) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Errors"}}}
    return {"description": status_reasons[status], "content": content}


def _microversion(version: Version) -> dict[str, Any]:
    wanted = f"{versions.SERVICE} {spelled(version)}"
    return {"name": _HEADER, "in": "header", "required": True, "schema": {"type": "string", "enum": [wanted]}}


def _in_path(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "minLength": 1}
    if name.endswith("uuid"):
        schema["format"] = "uuid"
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(query: ByVersion | None, version: Version) -> list[dict[str, Any]]:
    if query is None:
        return []
    schema: Schema = query.find(version).schema
    found: list[dict[str, Any]] = [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": of_value}
        for name, of_value in schema["properties"].items()
    ]
    if "patternProperties" in schema:
        groups = {"patternProperties": schema["patternProperties"], "additionalProperties": False}
        found.append(
            {
                "name": _GROUPS,
                "in": "query",
                "style": "form",
                "explode": True,
                "description": "Each key of this object is a parameter of the query.",
                "schema": {"type": "object", **groups},
            }
        )
    return found


def _as_json_schema(value: Any) -> Any:
    r"""A copy in which patterns end with ``$``: in JSON Schema that is the end of the text, which is ``\Z`` in Python,
    and JSON Schema has no ``\Z``."""
    if isinstance(value, dict):
        return {_as_json_schema(key): _as_json_schema(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json_schema(inner) for inner in value]
    if isinstance(value, str):
        return re.sub(r"\\Z$", "$", value)
    return value
