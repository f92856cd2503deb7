"""Frozen records to and from the primitives of versioned objects, in which RPC sends them.

The dictionaries are those of ``to_object(frozen).obj_to_primitive()`` (except the list of changes, which no code here
reads), but without an object in between: that is some thirty times faster, and a build sends a dozen of them.
"""

from __future__ import annotations

import base64
from typing import Any

from oslo_versionedobjects import fields as ovo_fields

from rpc_api import errors
from rpc_api.events.fields import BytesField
from rpc_api.events.schema import TABLE, FrozenRecord, PackedObjectField, SchemaObject, is_frozen, thaw, thaw_fields
from rpc_api.levels import form_of, least_level
from rpc_api.packing import pack

NAME, NAMESPACE, VERSION, DATA = (
    f"{SchemaObject.OBJ_SERIAL_NAMESPACE}.{key}" for key in ("name", "namespace", "version", "data")
)


def to_primitive(frozen: FrozenRecord) -> dict[str, Any]:
    """The primitive of a frozen record; packed parts are unpacked.

    It has the oldest form that holds the record, so that a service of the release before can read what uses nothing
    newer.
    """
    return _primitive(frozen, least_level(frozen))


def _primitive(frozen: FrozenRecord, level: int) -> dict[str, Any]:
    cls = frozen.schema
    return {
        NAME: cls.__name__,
        NAMESPACE: cls.OBJ_PROJECT_NAMESPACE,
        VERSION: form_of(cls, level).version,
        DATA: {
            name: _primitive_of(cls.fields[name], value, level)
            for name, value in zip(cls.fields, frozen, strict=True)
            if cls.NEWER.get(name, 1) <= level
        },
    }


def _primitive_of(field: ovo_fields.Field[Any], value: Any, level: int) -> Any:
    if isinstance(field, PackedObjectField) and value is not None:
        return _primitive(thaw(field.objname, value), level)
    if isinstance(field, BytesField):
        return base64.b64encode(value).decode()
    return _plain(value, level)


def _plain(value: Any, level: int) -> Any:
    if type(value) is tuple or type(value) is list:
        return [_plain(item, level) for item in value]
    if is_frozen(value):
        return _primitive(value, level)
    if type(value) is dict:
        return {key: _plain(item, level) for key, item in value.items()}
    return value


def from_primitive(primitive: dict[Any, Any]) -> FrozenRecord:
    """The frozen record of a primitive.

    Raises UnknownSchema for an unknown name or a newer version and InvalidEvent for fields that do not fit the schema.
    """
    name, version = primitive.get(NAME), primitive.get(VERSION)
    cls = TABLE.get(name) if type(name) is str else None
    if cls is None:
        raise errors.UnknownSchema(
            f"object {name!r:.80} is not known here, wanted a class of docs/reference/events.md; upgrade nova_sched"
        )
    data = primitive.get(DATA)
    if type(data) is not dict or type(version) is not str:
        raise errors.InvalidEvent(f"{cls.__name__} came without its fields or its version; fix its sender")
    values = []
    for name, field in cls.fields.items():
        if name not in data:
            break
        values.append(_frozen_of(field, data[name]))
    record: FrozenRecord = thaw_fields(cls, values, version)
    return record


def _frozen_of(field: ovo_fields.Field[Any], value: object) -> Any:
    frozen = _frozen(value)
    if isinstance(field, BytesField):
        return _bytes_of(frozen)
    if not isinstance(field, PackedObjectField) or (frozen is None and field.nullable):
        return frozen
    if not isinstance(frozen, TABLE[field.objname].Frozen):
        raise errors.InvalidEvent(
            f"a {field.objname} came as {type(value).__name__}, wanted the object; fix its sender"
        )
    return pack(frozen)


def _bytes_of(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except ValueError:
        raise errors.InvalidEvent("bytes came as a text that is not in base64; fix its sender") from None


def _frozen(value: Any) -> Any:
    if type(value) is dict and NAME in value:
        return from_primitive(value)
    if type(value) is list:
        return tuple([_frozen(item) for item in value])
    if type(value) is dict:
        return {key: _frozen(item) for key, item in value.items()}
    return value
