"""Schemas, compiled once, by the microversion from which on each applies; and the bodies of requests, read as JSON."""

import bisect
import json
import math
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import jsonschema
from jsonschema import exceptions

from placement_api.http_errors import BadRequest

Version = tuple[int, int]
Schema = Mapping[str, Any]

#: Characters of what was sent that an error shows.
_SHOWN = 1000
#: Lists and objects within each other in a body: a reshape has 6, and terms of a claim some more.
DEPTH_MAX = 32
_DEEP = f"it is nested too deeply, wanted at most {DEPTH_MAX} levels"

#: In bodies a uuid may have any case and be without dashes, in query strings only the case is free.
_BODY_FORMATS = jsonschema.FormatChecker(formats=())
_QUERY_FORMATS = jsonschema.FormatChecker(formats=())


def plain_uuid(text: str) -> str | None:
    """A uuid in the form that it has in a log: lower case with dashes. None for a text that no body may have for it."""
    try:
        found = str(uuid.UUID(text))
    except (ValueError, AttributeError, TypeError):
        return None
    bare = text.replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "").lower()
    return found if found.replace("-", "") == bare else None


@_BODY_FORMATS.checks("uuid")
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or plain_uuid(value) is not None


@_QUERY_FORMATS.checks("uuid")
def _is_uuid_with_dashes(value: object) -> bool:
    return not isinstance(value, str) or (
        plain_uuid(value) is not None and [len(part) for part in value.split("-")] == [8, 4, 4, 4, 12]
    )


class Validator:
    """One schema. ``validate`` raises BadRequest for what does not fit it."""

    def __init__(self, schema: Schema, formats: jsonschema.FormatChecker, title: str) -> None:
        # The draft that jsonschema.validate, and so Placement, takes for a schema that names none.
        of_draft = jsonschema.Draft202012Validator
        of_draft.check_schema(schema)
        self.schema = schema
        self._compiled = of_draft(schema, format_checker=formats)
        self._title = title

    def validate(self, instance: object) -> None:
        """BadRequest if an instance does not fit the schema; its text names the place and the rule."""
        error = exceptions.best_match(self._compiled.iter_errors(instance))
        if error is not None:
            raise BadRequest(f"{self._title}: {_described(error)}")

    def accepts(self, instance: object) -> bool:
        """Whether an instance fits the schema."""
        return bool(self._compiled.is_valid(instance))


class QueryValidator(Validator):
    """The schema of a query string. The instance is webob's ``request.GET``, whose values are texts."""

    def validate(self, instance: Any) -> None:
        """BadRequest if a query string does not fit the schema."""
        super().validate(dict(instance))


def _described(error: exceptions.ValidationError) -> str:
    """What is wrong: the fault, the rule, and its place, in jsonschema's words, without the whole schema and body."""
    rule = "".join(f"[{step!r}]" for step in list(error.relative_schema_path)[:-1])
    place = "".join(f"[{step!r}]" for step in error.absolute_path)
    # The end of a text is $ in a pattern of JSON Schema; Python's $ would also take a line feed after it.
    message, rule = (text.replace(r"\\Z", "$") for text in (error.message[:_SHOWN], rule))
    return (
        f"{message}. Failed validating {error.validator!r} in schema{rule}. On instance{place}: "
        f"{str(error.instance)[:_SHOWN]}"
    )


class ByVersion:
    """Validators by the first microversion of each."""

    def __init__(self, validators: Iterable[tuple[Version, Validator]]) -> None:
        ranges = tuple(validators)
        self._first = [first for first, _ in ranges]
        self._validators = [validator for _, validator in ranges]
        assert self._first == sorted(set(self._first)), "the microversions must rise"

    def find(self, version: Version) -> Validator:
        """The validator that applies to a microversion. LookupError for one before the first: the route has none."""
        index = bisect.bisect_right(self._first, tuple(version[:2]))
        if not index:
            raise LookupError(f"there is no schema before {self._first[0]}, wanted one for {version}")
        return self._validators[index - 1]


def by_version(*ranges: tuple[Version, Schema]) -> ByVersion:
    """Validators of the body of a request."""
    return ByVersion((first, Validator(schema, _BODY_FORMATS, "JSON does not validate")) for first, schema in ranges)


def query_by_version(*ranges: tuple[Version, Schema]) -> ByVersion:
    """Validators of the query string of a request."""
    return ByVersion(
        (first, QueryValidator(schema, _QUERY_FORMATS, "Invalid query string parameters")) for first, schema in ranges
    )


# --- bodies ----------------------------------------------------------------------------------------------------------


def read_json(body: bytes) -> Any:
    """The value in the body of a request; BadRequest if it is not JSON.

    A number without a fraction becomes an int, as 16.0 fits ``integer`` in a schema. NaN, Infinity and half of a
    surrogate pair, which no event may contain, are refused. So is a value that is nested too deeply, as what reads it
    later calls itself for each level.
    """
    try:
        text = body.decode()
        value = json.loads(text, parse_float=_number, parse_constant=_no_number)
        if _is_deep(value):
            raise ValueError(_DEEP)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except ValueError as fault:
        raise BadRequest(f"Malformed JSON: {str(fault)[:_SHOWN]}") from None
    except RecursionError:
        raise BadRequest(f"Malformed JSON: {_DEEP}") from None
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEPTH_MAX + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def _number(text: str) -> int | float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return int(value) if value.is_integer() else value


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number of JSON")
