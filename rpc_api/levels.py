"""The levels of the event language: which forms a log at each level has.

Each release has a number, its level. Level 1 is that of the first release; a log without a
:class:`~rpc_api.events.cloud.LevelPinned` has it. A class of ``rpc_api.events`` names what came later: ``LEVEL`` for a
new type, ``NEWER`` for new fields, ``OLDER`` for the versions before. A writer uses the forms of the log's level, so
that services of the release before can read them; a reader reads all older forms.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from rpc_api import errors
from rpc_api.events.schema import (
    TABLE,
    Check,
    FrozenRecord,
    PackedObjectField,
    Refused,
    SchemaObject,
    check_at,
    element_of,
    thaw,
)
from rpc_api.packing import pack, unpack

#: The newest level that this code knows.
LEVEL = 4

Record = TypeVar("Record", bound=FrozenRecord)


class Form(NamedTuple):
    """The form of a class at one level: its ``version``, and a function that gives a record in this form (a plain tuple
    where fields are left out), or None if records are written as they are; ``check`` reads values of this form."""

    version: str
    cut: Callable[[Any], Any] | None
    check: Check


#: (Class, level) -> its Form, of those that were asked for.
FORMS: dict[tuple[type[SchemaObject], int], Form] = {}
#: Class -> the defaults of its newer fields, the last field first, of those that were asked for.
_NEWER_DEFAULTS: dict[type[SchemaObject], list[Any]] = {}


def form_of(schema: type[SchemaObject], level: int) -> Form:
    """The form of a class at a level. Raises InvalidEvent if the level does not have the class, or is not known."""
    form = FORMS.get((schema, level))
    if form is None:
        form = FORMS[schema, level] = _form_of(schema, level)
    return form


def _form_of(schema: type[SchemaObject], level: int) -> Form:
    if not 1 <= level <= LEVEL:
        raise errors.InvalidEvent(f"level {level} is not known, wanted 1 to {LEVEL}; upgrade nova_sched here")
    if schema.LEVEL > level:
        raise errors.InvalidEvent(
            f"a {schema.__name__} event is of level {schema.LEVEL}, the log is at level {level}; "
            f"pin the log to level {schema.LEVEL} first"
        )
    version = next((schema.OLDER[last] for last in sorted(schema.OLDER) if last >= level), schema.VERSION)
    kept = [name for name in schema.fields if schema.NEWER.get(name, 1) <= level]
    cuts = [_cut_of(schema.fields[name], level) for name in kept]
    if len(kept) == len(schema.fields) and not any(cuts):
        return Form(version, None, schema.thaw)

    def cut_record(record: FrozenRecord) -> tuple[Any, ...]:
        return tuple([item if cut is None else cut(item) for cut, item in zip(cuts, record, strict=False)])

    return Form(version, cut_record, check_at(schema, level))


def at(record: FrozenRecord, level: int) -> Any:
    """A record in the form of a level, with the objects in it; the same object if nothing is left out."""
    cut = form_of(record.schema, level).cut
    return record if cut is None else cut(record)


def oldest_form(record: Record) -> Record | tuple[Any, ...]:
    """A record without the newer fields at its end that have their defaults. Digests are over this form: then services
    of all levels compute the same one as long as newer fields are not used."""
    schema = record.schema
    defaults = _NEWER_DEFAULTS.get(schema)
    if defaults is None:
        defaults = _NEWER_DEFAULTS[schema] = [schema.fields[name].default for name in reversed(schema.NEWER)]
    values: Any = record
    kept = len(values)
    for default in defaults:
        if values[kept - 1] != default:
            break
        kept -= 1
    return record if kept == len(values) else values[:kept]


def pack_oldest(record: FrozenRecord) -> bytes:
    """The bytes of :func:`oldest_form`: the same in records of all levels, as long as newer fields are not used."""
    return pack(oldest_form(record))


def least_level(record: FrozenRecord) -> int:
    """The lowest level whose form of a record leaves out nothing that is used."""
    schema = record.schema
    least = schema.LEVEL
    if not schema.OLDER:
        return least
    for (name, field), value in zip(schema.fields.items(), record, strict=True):
        if name in schema.NEWER and value != field.default:
            least = max(least, schema.NEWER[name])
        inner, is_list = _class_in(field)
        if inner is not None and value is not None and TABLE[inner].OLDER:
            parts = value if is_list else (thaw(inner, value) if isinstance(field, PackedObjectField) else value,)
            least = max([least, *map(least_level, parts)])
    return least


def _class_in(field: Any) -> tuple[str | None, bool]:
    """(Name of the class of the objects in a field, whether it is a list of them); None for a field without objects."""
    return (field.objname, False) if isinstance(field, PackedObjectField) else element_of(field)


def _cut_of(field: Any, level: int) -> Callable[[Any], Any] | None:
    """How a value of a field gets the form of a level; None if it is written as it is."""
    name, is_list = _class_in(field)
    cut = None if name is None else form_of(TABLE[name], level).cut
    if name is None or cut is None:
        return None
    if isinstance(field, PackedObjectField):
        return _unless_none(lambda packed: _cut_packed(name, level, cut, packed))
    return _unless_none((lambda items: tuple(map(cut, items))) if is_list else cut)


def _cut_packed(name: str, level: int, cut: Callable[[Any], Any], packed: bytes) -> bytes:
    """Bytes that have the form already are left as they are, and those that do not fit the class are left for the
    reader to judge: it may use a part of them."""
    try:
        thaw_at(name, packed, level)
    except errors.InvalidEvent:
        try:
            return pack(cut(thaw(name, packed)))
        except errors.InvalidEvent:
            pass
    return packed


def thaw_at(name: str, packed: bytes, level: int) -> Any:
    """As :func:`rpc_api.events.thaw`, for bytes in a record of a level: newer fields do not fit."""
    values = unpack(packed)
    try:
        return form_of(TABLE[name], level).check(values)
    except Refused as refused:
        raise errors.InvalidEvent(f"{name} cannot be read: wanted {refused}; fix its producer") from None


def _unless_none(cut: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else cut(value)
