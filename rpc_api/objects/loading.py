"""From the primitive of a field to its value, quickly.

oslo loads a field in two passes (``from_primitive``, then ``coerce``). Each pass checks the type of every element
through several calls. Nearly always the primitive is already the result of both passes, for instance a ``str`` for a
string field. :func:`plan` finds this out once per class: it returns the types of values that are used as they are, and
for other values a function that either builds the value in one pass or returns :data:`SLOW`. Then the caller uses
oslo's two passes. So every error and every conversion is oslo's own.

The containers are oslo's coercing ones, so later changes of them are checked as usual.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oslo_versionedobjects import fields as ovo
from oslo_versionedobjects.fields import CoercedDict, CoercedList, CoercedSet

from rpc_api.objects.fields import CANONICAL_UUID, UUID, Set

#: The value is not of the usual form, or its type has no fast way.
SLOW = object()

NONE_TYPE = type(None)

#: Field types for which oslo returns a value of exactly this type unchanged.
AS_IS = {ovo.String: str, ovo.Integer: int, ovo.Float: float, ovo.Boolean: bool, ovo.FlexibleBoolean: bool}

Build = Callable[[Any, str, Any], Any]


#: How one field is loaded: the attribute that stores it, the types of values that are used as they are, the function
#: that builds other values, and the field. A plain tuple, because a named one is unpacked several times slower.
Plan = tuple[str, frozenset[type], Build, "ovo.Field[Any]"]


def plan(name: str, field: ovo.Field[Any], load_object: Callable[[dict[str, Any], Any], Any]) -> Plan:
    """Find out how the field ``name`` is loaded; ``load_object`` makes an object from its primitive and a context."""
    return f"_obj_{name}", _as_is(field), _builder(field, load_object), field


def slowly(field: ovo.Field[Any], obj: Any, name: str, value: Any) -> Any:
    """Load the value in oslo's own two passes."""
    return field.coerce(obj, name, field.from_primitive(obj, name, value))


def _as_is(field: ovo.Field[Any]) -> frozenset[type]:
    types = {AS_IS[type(field._type)]} if type(field._type) in AS_IS else set()
    if field.nullable:
        types.add(NONE_TYPE)
    return frozenset(types)


def _builder(field: ovo.Field[Any], load_object: Callable[[dict[str, Any], Any], Any]) -> Build:
    """The function that builds a value of the field's type from ``(object, attribute, primitive)``."""
    kind = field._type
    if isinstance(kind, ovo.Enum):
        return _enum(kind)
    if type(kind) is UUID:
        return _uuid
    if type(kind) is ovo.Object and not kind._subclasses:
        return _object(kind._obj_name, load_object)
    shape = _SHAPES.get(type(kind))
    if shape is not None and isinstance(kind, ovo.CompoundFieldType):
        element = kind._element_type
        return shape(element, _as_is(element), _builder(element, load_object))
    return _no_fast_way


def _no_fast_way(obj: Any, attribute: str, value: Any) -> Any:
    return SLOW


def _uuid(obj: Any, attribute: str, value: Any) -> Any:
    return value if type(value) is str and CANONICAL_UUID.fullmatch(value) else SLOW


def _enum(kind: ovo.Enum) -> Build:
    valid = frozenset(kind.valid_values)

    def build(obj: Any, attribute: str, value: Any) -> Any:
        return value if type(value) is str and value in valid else SLOW

    return build


def _object(name: str, load_object: Callable[[dict[str, Any], Any], Any]) -> Build:
    def build(obj: Any, attribute: str, value: Any) -> Any:
        if type(value) is not dict:
            return SLOW
        child = load_object(value, obj._context)
        return child if type(child).__name__ == name else SLOW

    return build


def _list(element: ovo.Field[Any], as_is: frozenset[type], build_element: Build) -> Build:
    def build(obj: Any, attribute: str, value: Any) -> Any:
        if type(value) is not list:
            return SLOW
        for item in value:
            if type(item) not in as_is:
                value = [
                    build_element(obj, f"{attribute}[{i}]", item) if type(item) not in as_is else item
                    for i, item in enumerate(value)
                ]
                if SLOW in value:
                    return SLOW
                break
        result = CoercedList.__new__(CoercedList)
        list.extend(result, value)
        result.enable_coercing(element, obj, attribute)
        return result

    return build


def _dict(element: ovo.Field[Any], as_is: frozenset[type], build_element: Build) -> Build:
    def build(obj: Any, attribute: str, value: Any) -> Any:
        if type(value) is not dict:
            return SLOW
        result = CoercedDict.__new__(CoercedDict)
        for key, item in value.items():
            if type(item) not in as_is:
                item = build_element(obj, f"{attribute}[{key}]", item)
            if item is SLOW or type(key) is not str:
                return SLOW
            dict.__setitem__(result, key, item)
        result.enable_coercing(element, obj, attribute)
        return result

    return build


def _set(element: ovo.Field[Any], as_is: frozenset[type], build_element: Build) -> Build:
    def build(obj: Any, attribute: str, value: Any) -> Any:
        if type(value) not in (list, tuple, set):
            return SLOW
        for item in value:
            # The sets of Nova's objects have only strings and integers: other values use oslo's two passes.
            if type(item) not in as_is:
                return SLOW
        result = CoercedSet.__new__(CoercedSet)
        set.update(result, value)
        result.enable_coercing(element, obj, attribute)
        return result

    return build


#: Containers whose elements are built in one pass.
_SHAPES: dict[type[ovo.FieldType[Any]], Callable[[ovo.Field[Any], frozenset[type], Build], Build]] = {
    ovo.List: _list,
    ovo.Dict: _dict,
    Set: _set,
}
