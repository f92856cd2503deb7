"""Hypothesis strategies for anything that the event language can say, made from its classes.

``Words`` are the leaves: which names, uuids and numbers are drawn. With few of
them events meet each other; the corners of the allowed ranges are always there.
"""

from hypothesis import strategies as st
from oslo_versionedobjects import fields as ovo_fields

from rpc_api.events.fields import MAX_AMOUNT, AmountField, BytesField
from rpc_api.events.schema import MAX_INTEGER, TABLE, PackedObjectField, thaw_fields
from rpc_api.packing import pack
from tests.builders import uuid_of

WORDS = ("", "host-1", "host-2", "VCPU", "MEMORY_MB", "CUSTOM_X", "spread", "together", "member", "é\n\x00")
UUIDS = tuple(uuid_of(name) for name in ("host-1", "host-2", "child", "vm-1", "vm-2", "vm-3", "group", "claim"))

_LEAVES = {
    ovo_fields.String: st.sampled_from(WORDS),
    ovo_fields.UUID: st.sampled_from(UUIDS),
    ovo_fields.NonNegativeInteger: st.sampled_from((0, 1, 2, 7, MAX_INTEGER)),
    AmountField._Amount: st.sampled_from((0, 1, 2, 8, MAX_AMOUNT)),
    ovo_fields.Integer: st.sampled_from((-MAX_INTEGER, -1, 0, 1, MAX_INTEGER)),
    ovo_fields.Float: st.sampled_from((0.0, -0.0, 0.5, 1.0, 16.0, -1.0, 5e-324, 1.7e308)),
    ovo_fields.Boolean: st.booleans(),
    BytesField._Bytes: st.binary(max_size=8),
}


def frozen(name, well=False, **given):
    """Frozen records of the class ``name``; ``given`` are strategies for some of its fields.
    With ``well`` all packed objects in it, and in what it holds, can be unpacked."""
    cls = TABLE[name]
    parts = [
        given[field_name] if field_name in given else _values(field, well) for field_name, field in cls.fields.items()
    ]
    return st.tuples(*parts).map(cls.Frozen._make)


def _values(field, well):
    drawn = _of(field, well)
    return st.none() | drawn if field.nullable else drawn


def _of(field, well):
    kind = field._type
    if isinstance(field, PackedObjectField):
        packed = st.deferred(lambda: frozen(field.objname, well)).map(_packed)
        return packed if well else st.binary(max_size=8) | packed
    if isinstance(kind, ovo_fields.Object):
        return st.deferred(lambda: frozen(kind._obj_name, well))
    if isinstance(kind, ovo_fields.List):
        return st.lists(_values(kind._element_type, well), max_size=2).map(tuple)
    if isinstance(kind, ovo_fields.Dict):
        return st.dictionaries(st.sampled_from(WORDS), _values(kind._element_type, well), max_size=2)
    return _LEAVES[type(kind)]


def _packed(record):
    """Bytes of an object as one that was read gives them: of two numbers that are equal (0.0 and -0.0) the same."""
    return pack(thaw_fields(record.schema, record))


def packed_well(name):
    """Like :func:`frozen`, for a class with packed objects in it: those can be unpacked."""
    return frozen(name, well=True)
