"""How a versioned object becomes a frozen record, and how records are checked.

The classes of ``rpc_api.events`` are oslo versioned objects: they have the fields and the version of everything in a
log. To build and read an instance would cost some 100 µs, too much for a fold of 100,000 events per second. So each
class has a frozen form, ``Class.Frozen``: a named tuple with the same field names in the same order. The frozen form is
sent (as a msgpack array) and folded; the object form is for people and for tools (``to_object``, ``from_object``).

A new minor version may only append fields, with defaults: an older event, or an older object inside an event, is then a
shorter array. ``NEWER`` and ``OLDER`` say what came after level 1
(see :mod:`rpc_api.levels`).
"""

from __future__ import annotations

import math
import re
from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol, TypeGuard, TypeVar

from oslo_versionedobjects import base as ovo_base
from oslo_versionedobjects import fields as ovo_fields

from rpc_api import errors
from rpc_api.events.fields import MAX_AMOUNT, AmountField, BytesField
from rpc_api.packing import pack, unpack
from rpc_api.wording import number_of

MAX_STRING = 65_536
MAX_INTEGER = 2**53
#: A level above all others: at it a class has all of its fields.
_ABOVE_ALL = MAX_INTEGER
_is_uuid = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
_VERSION = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})")

#: Every schema class by its name. Our own table, because oslo's registry exists once per process and may have Nova's
#: classes in it, too.
TABLE: dict[str, type[SchemaObject]] = {}


class PackedObjectField(ovo_fields.Field[bytes]):
    """A nested object in the form of its own msgpack bytes, which are unpacked only when they are read.

    ``objname`` names its class. Equal objects have equal bytes, so a reader that knows the bytes does not unpack them
    again.
    """

    def __init__(self, objname: str, **kwargs: Any) -> None:
        self.objname = objname
        super().__init__(_PackedObject(objname), **kwargs)


class _PackedObject(ovo_fields.FieldType[bytes]):
    def __init__(self, objname: str) -> None:
        self._obj_name = objname

    def coerce(self, obj: ovo_base.VersionedObject | None, attr: str, value: object) -> bytes:
        if isinstance(value, bytes):
            return value
        raise ValueError(f"{attr} wants the packed bytes of a {self._obj_name}, got {type(value).__name__}")

    def to_primitive(self, obj: ovo_base.VersionedObject, attr: str, value: bytes) -> object:
        return to_object(thaw(self._obj_name, value)).obj_to_primitive()

    def from_primitive(self, obj: ovo_base.VersionedObject, attr: str, value: Any) -> Any:
        return None if value is None else pack(from_object(SchemaObject.obj_from_primitive(value)))

    def stringify(self, value: bytes) -> str:
        return f"<packed {self._obj_name}, {number_of(len(value), 'byte')}>"

    def __repr__(self) -> str:
        return f"PackedObject({self._obj_name})"


class FrozenRecord(Protocol):
    """What all frozen records have: a named tuple of the values of its schema's fields, in their order."""

    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...
    def __iter__(self) -> Iterator[Any]: ...


def is_frozen(value: object) -> TypeGuard[FrozenRecord]:
    """Whether a value is a frozen record."""
    return isinstance(value, tuple) and hasattr(value, "schema")


#: Returns the frozen form of a value of a field, or raises Refused.
Check = Callable[[Any], Any]


class Refused(Exception):
    """A value is wrong for its field; the text says what is wanted."""


S = TypeVar("S", bound="SchemaObject")


class SchemaObject(ovo_base.VersionedObject):
    """Base of all objects of the event language."""

    OBJ_SERIAL_NAMESPACE = "nova_sched_object"
    OBJ_PROJECT_NAMESPACE = "nova_sched"
    #: Roles whose producers may append it; empty for an object that occurs only inside others.
    ROLES: ClassVar[frozenset[str]] = frozenset()
    #: Further roles -> the level of a log from which on they may append it.
    LATER_ROLES: ClassVar[dict[str, int]] = {}
    #: The level of a log that an event of this class needs; more than 1 for a type that came later.
    LEVEL: ClassVar[int] = 1
    #: Greatest size of a packed event of this class, in bytes.
    MAX_BYTES: ClassVar[int] = 256 * 1024
    #: The last level of a smaller limit -> that limit: ``{2: 1000}`` says that ``MAX_BYTES`` counts from level 3 on.
    #: Services of one level must accept the same events, so a limit changes only with a level.
    OLDER_MAX_BYTES: ClassVar[dict[int, int]] = {}
    #: Field -> the level of a log that it needs, of the fields that came after level 1: they are the last ones.
    NEWER: ClassVar[dict[str, int]] = {}
    #: The last level of older versions -> the version that is written up to it: ``{1: "1.1"}`` says that ``VERSION`` is
    #: written from level 2 on.
    OLDER: ClassVar[dict[int, str]] = {}
    #: Set by :func:`register`: the named tuple, and its check.
    Frozen: ClassVar[type[Any]]
    thaw: ClassVar[Check]

    @classmethod
    def max_bytes(cls, level: int) -> int:
        """Greatest size of a packed event of this class in a log of a level, in bytes."""
        return next((most for last, most in sorted(cls.OLDER_MAX_BYTES.items()) if level <= last), cls.MAX_BYTES)

    @classmethod
    def obj_class_from_name(cls, objname: str, objver: str) -> type[SchemaObject]:
        known = TABLE.get(objname)
        if known is None or known.VERSION != objver:
            raise errors.UnknownSchema(
                f"object {objname} {objver} is not known here, wanted "
                f"{known.VERSION if known else 'one of docs/reference/events.md'}; upgrade nova_sched"
            )
        return known


def register(cls: type[S]) -> type[S]:
    """Enter ``cls`` in the table, with its frozen form and its check."""
    ovo_base.VersionedObjectRegistry.objectify(cls)
    defaults = []
    for field in cls.fields.values():
        if field.default is not ovo_fields.UnspecifiedDefault:
            defaults.append(field.default)
        elif defaults:
            raise TypeError(f"{cls.__name__}: a field without a default follows one with a default")
    _check_newer(cls)
    make_class: Callable[..., Any] = namedtuple
    frozen = make_class(cls.__name__, list(cls.fields), defaults=defaults or None)
    frozen.__doc__ = cls.__doc__
    frozen.__slots__ = ()
    frozen.schema = cls
    frozen.may_hold_maps = any(map(_may_hold_maps, cls.fields.values()))
    cls.Frozen = frozen
    cls.thaw = staticmethod(_object_check(cls, _ABOVE_ALL))
    TABLE[cls.__name__] = cls
    return cls


def _check_newer(cls: type[SchemaObject]) -> None:
    """Raise TypeError unless newer fields are the last ones, and each level that changes the form has its version."""
    names = list(cls.NEWER)
    if names and names != list(cls.fields)[-len(names) :]:
        raise TypeError(f"{cls.__name__}: its newer fields are not its last ones, in the same order")
    changes = set(cls.NEWER.values())
    for field in cls.fields.values():
        inner = field.objname if isinstance(field, PackedObjectField) else element_of(field)[0]
        if inner is not None:
            changes |= {level + 1 for level in TABLE[inner].OLDER}
    if changes != {level + 1 for level in cls.OLDER}:
        raise TypeError(
            f"{cls.__name__}: its form changes at the levels {sorted(changes)}, so OLDER must name the version of the "
            "level before each of them"
        )


def _may_hold_maps(field: ovo_fields.Field[Any]) -> bool:
    """Whether a field may contain a map, at any depth: packing must sort maps."""
    kind = field._type
    if isinstance(kind, ovo_fields.List):
        return _may_hold_maps(kind._element_type)
    if isinstance(kind, ovo_fields.Object):
        return bool(TABLE[kind._obj_name].Frozen.may_hold_maps)
    return type(kind) not in _SIMPLE


# --- checks: one function per field, compiled once ---------------------------------------------------------------


def _string(value: object) -> str:
    if type(value) is not str or len(value) > MAX_STRING:
        raise Refused(f"a string of at most {MAX_STRING} characters")
    return value


def _uuid(value: object) -> str:
    if type(value) is not str or not _is_uuid(value):
        raise Refused("a lower-case UUID with dashes")
    return value


def _integer(value: object) -> int:
    if type(value) is not int or not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise Refused("an integer within 2**53")
    return value


def _natural(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise Refused("an integer of 0 or more, within 2**53")
    return value


def _amount(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_AMOUNT:
        raise Refused("an amount of 0 or more, below 2**31")
    return value


def _float(value: Any) -> float:
    if type(value) not in (float, int) or not math.isfinite(value):
        raise Refused("a finite number")
    return float(value) + 0.0  # (-0.0 becomes 0.0: equal numbers have equal bytes)


def _boolean(value: object) -> bool:
    if type(value) is not bool:
        raise Refused("a boolean")
    return value


def _bytes(value: object) -> bytes:
    if type(value) is not bytes:
        raise Refused("bytes")
    return value


_SIMPLE: dict[type[ovo_fields.FieldType[Any]], Check] = {
    ovo_fields.UUID: _uuid,
    ovo_fields.String: _string,
    ovo_fields.NonNegativeInteger: _natural,
    AmountField._Amount: _amount,
    ovo_fields.Integer: _integer,
    ovo_fields.Float: _float,
    ovo_fields.Boolean: _boolean,
    _PackedObject: _bytes,
    BytesField._Bytes: _bytes,
}
#: An expression that is true for a value that needs no further check: see :func:`_reader`.
_SURELY_GOOD: dict[type[ovo_fields.FieldType[Any]], str] = {
    ovo_fields.UUID: "type({0}) is str and is_uuid({0})",
    ovo_fields.String: f"type({{0}}) is str and len({{0}}) <= {MAX_STRING}",
    ovo_fields.NonNegativeInteger: f"type({{0}}) is int and 0 <= {{0}} <= {MAX_INTEGER}",
    AmountField._Amount: f"type({{0}}) is int and 0 <= {{0}} <= {MAX_AMOUNT}",
    ovo_fields.Boolean: "type({0}) is bool",
    _PackedObject: "type({0}) is bytes",
    BytesField._Bytes: "type({0}) is bytes",
}


def _check_of(field: ovo_fields.Field[Any], level: int) -> Check:
    kind = field._type
    check = _SIMPLE.get(type(kind))
    if check is None and isinstance(kind, ovo_fields.List):
        check = _list_check(_check_of(kind._element_type, level))
    elif check is None and isinstance(kind, ovo_fields.Dict):
        check = _dict_check(_check_of(kind._element_type, level))
    elif check is None and isinstance(kind, ovo_fields.Object):
        check = check_at(TABLE[kind._obj_name], level)
    if check is None:
        raise TypeError(f"the event language has no check for {field!r}")
    return _nullable(check) if field.nullable else check


def element_of(field: ovo_fields.Field[Any]) -> tuple[str | None, bool]:
    """(The name of the class of the objects in a field, or None; whether the field is a list of them)."""
    kind, is_list = field._type, False
    if isinstance(kind, ovo_fields.List):
        kind, is_list = kind._element_type._type, True
    return (kind._obj_name if isinstance(kind, ovo_fields.Object) else None), is_list


def _nullable(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _list_check(check: Check) -> Check:
    def check_list(value: Any) -> tuple[Any, ...]:
        if type(value) is not tuple and type(value) is not list:
            raise Refused("a list")
        return tuple([check(item) for item in value])

    return check_list


def _dict_check(check: Check) -> Check:
    def check_dict(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Refused("a map")
        return {_string(key): check(item) for key, item in value.items()}

    return check_dict


def check_at(cls: type[SchemaObject], level: int) -> Check:
    """The check of an object in a record of a level: it has no field that came later, also not in its objects."""
    return cls.thaw if all(last < level for last in cls.OLDER) else _object_check(cls, level)


def _object_check(cls: type[SchemaObject], level: int) -> Check:
    """The check of an object: an array of the values of its fields, in order -> its frozen form.

    Values that an older version does not have are missing at the end: they get their defaults.
    """
    names = [name for name in cls.fields if cls.NEWER.get(name, 1) <= level]
    checks = [_check_of(cls.fields[name], level) for name in names]
    defaults = [field.default for field in cls.fields.values() if field.default is not ovo_fields.UnspecifiedDefault]
    read = _reader(cls, checks)
    least, count = len(cls.fields) - len(defaults), len(names)

    def check_object(value: Any) -> Any:
        if not isinstance(value, (tuple, list)) or not least <= len(value) <= count:
            raise Refused(f"an array of the {count} fields of {cls.__name__}")
        if len(value) < count:
            value = (*value, *defaults[len(value) - least : count - least])
        try:
            return read(value)
        except Refused as refused:
            name = next(name for name, check, item in zip(names, checks, value, strict=True) if _breaks(check, item))
            raise Refused(f"{cls.__name__}.{name}: {refused}") from None

    return check_object


def _reader(cls: type[SchemaObject], checks: list[Check]) -> Check:
    """Compile, as namedtuple does, the function that checks exactly one value per field and returns the frozen form.
    Fields without one of the ``checks`` get their defaults.

    A loop over ``checks`` would take twice the time, and a reader of the log spends half of its time here.
    """
    scope: dict[str, Any] = {"new": tuple.__new__, "frozen": cls.Frozen, "is_uuid": _is_uuid}
    names, parts = [], []
    scope |= {f"default_{name}": field.default for name, field in list(cls.fields.items())[len(checks) :]}
    for name, field, check in zip(cls.fields, cls.fields.values(), checks, strict=False):
        scope[f"check_{name}"] = check
        good = _SURELY_GOOD.get(type(field._type), "False").format(f"_{name}")
        if field.nullable:
            good = f"_{name} is None or {good}"
        names.append(f"_{name}")
        parts.append(f"_{name} if {good} else check_{name}(_{name})")
    parts += [name for name in scope if name.startswith("default_")]
    exec(f"def read(values):\n    {', '.join(names)}, = values\n    return new(frozen, ({', '.join(parts)},))\n", scope)
    read: Check = scope["read"]
    return read


def _breaks(check: Check, value: object) -> bool:
    try:
        check(value)
    except Refused:
        return True
    return False


def thaw_fields(cls: type[SchemaObject], values: object, version: str | None = None) -> Any:
    """Check an array of field values of ``cls`` and return its frozen form.

    ``version`` is the version in which the values were written. Raises :class:`~rpc_api.errors.UnknownSchema` for
    another or a newer one than ``cls.VERSION``, and :class:`~rpc_api.errors.InvalidEvent` for values that do not fit
    the schema.
    """
    if version is not None and version != cls.VERSION:
        check_version(cls, version, cls.VERSION)
    try:
        return cls.thaw(values)
    except Refused as refused:
        raise errors.InvalidEvent(f"{cls.__name__} cannot be read: wanted {refused}; fix its producer") from None


def check_version(cls: type[SchemaObject], version: str, newest: str) -> None:
    """Raise UnknownSchema for a version that is newer than ``newest``, InvalidEvent for a text that is none."""
    written = _VERSION.fullmatch(version)
    if not written:
        raise errors.InvalidEvent(f"{cls.__name__} has version {version[:40]!r}, wanted MAJOR.MINOR; fix its producer")
    major, minor = (int(part) for part in newest.split("."))
    if int(written[1]) != major or int(written[2]) > minor:
        raise errors.UnknownSchema(
            f"{cls.__name__} {version} is newer than this process, which knows {newest}; upgrade nova_sched here"
        )


# --- frozen <-> packed bytes <-> object -------------------------------------------------------------------------


def thaw(name: str, packed: bytes) -> Any:
    """Unpack bytes of :func:`rpc_api.packing.pack` into the frozen form of the class ``name``.

    Raises InvalidEvent if they are not that.
    """
    return thaw_fields(TABLE[name], unpack(packed))


def to_object(frozen: FrozenRecord) -> SchemaObject:
    """Return the versioned object of a frozen record."""
    cls = frozen.schema
    obj = cls()
    for name, _field in cls.fields.items():
        setattr(obj, name, _objects_in(getattr(frozen, name)))
    return obj


def _objects_in(value: Any) -> Any:
    if hasattr(value, "schema"):
        return to_object(value)
    if isinstance(value, (tuple, list)):
        return [_objects_in(item) for item in value]
    if type(value) is dict:
        return {key: _objects_in(item) for key, item in value.items()}
    return value


def from_object(obj: SchemaObject) -> Any:
    """Return the frozen record of a versioned object; InvalidEvent if a field is not set."""
    values = []
    for name in type(obj).fields:
        if not obj.obj_attr_is_set(name):
            raise errors.InvalidEvent(f"{type(obj).__name__}.{name} is not set; set it before it is appended")
        values.append(_frozen_in(getattr(obj, name)))
    return type(obj).Frozen._make(values)


def _frozen_in(value: Any) -> Any:
    if isinstance(value, SchemaObject):
        return from_object(value)
    if isinstance(value, (tuple, list)):
        return tuple(_frozen_in(item) for item in value)
    if isinstance(value, dict):
        return {key: _frozen_in(item) for key, item in value.items()}
    return value
