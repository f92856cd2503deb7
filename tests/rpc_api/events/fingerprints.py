"""Fingerprints of the event language: a short text that changes with anything that changes the wire."""

import hashlib

from oslo_versionedobjects import fields as ovo_fields

from rpc_api.events.schema import TABLE, PackedObjectField


def fingerprint(cls) -> str:
    """``version-hash`` of a schema class: its fields in order, their types, nullability, defaults, nested objects."""
    return f"{cls.VERSION}-{hashlib.sha256(description(cls).encode()).hexdigest()[:16]}"


def description(cls) -> str:
    """The text that is hashed: one line a field."""
    return "\n".join(f"{name}: {described(field)}" for name, field in cls.fields.items())


def described(field) -> str:
    """A field in words; a nested object is shown by its own fingerprint."""
    text = _kind(field)
    if field.nullable:
        text += " or nothing"
    if field.default is not ovo_fields.UnspecifiedDefault:
        text += f" = {field.default!r}"
    return text


def _kind(field):
    kind = field._type
    if isinstance(field, PackedObjectField):
        return f"packed {field.objname} {fingerprint(TABLE[field.objname])}"
    if isinstance(kind, ovo_fields.Object):
        return f"{kind._obj_name} {fingerprint(TABLE[kind._obj_name])}"
    if isinstance(kind, (ovo_fields.List, ovo_fields.Dict)):
        return f"{type(kind).__name__} of ({described(kind._element_type)})"
    return type(kind).__name__
