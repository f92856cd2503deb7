"""What the tests of the objects share: captured messages, generated objects, oslo's own way as the reference."""

import contextlib
import datetime
import json
import pathlib

import netaddr
from hypothesis import strategies as st
from oslo_versionedobjects import base as ovo
from oslo_versionedobjects import fields as ovo_fields

import rpc_api.objects  # noqa: F401  (fills the table of classes)
from rpc_api.objects import base

HERE = pathlib.Path(__file__).parent

#: Facts about the peer beside the checkout, where there are any.
FACTS = HERE.parents[3] / "shared" / "nova" / "objects_compact.txt"

#: Messages of an unmodified nova-conductor and nova-scheduler as they stood on the wire.
CAPTURED = json.loads((HERE / "captured.json").read_text())


def captured_request_spec() -> dict:
    """A copy of the captured RequestSpec, as a primitive."""
    return json.loads(json.dumps(CAPTURED["select_destinations"]["args"]["spec_obj"]))


def through_json(value):
    return json.loads(json.dumps(value))


def without_order(value):
    """The primitive with its changes, which Nova writes in any order, sorted."""
    if isinstance(value, dict):
        return {key: sorted(item) if key == base.CHANGES else without_order(item) for key, item in value.items()}
    return [without_order(item) for item in value] if isinstance(value, (list, tuple)) else value


def state(value):
    """All that makes up a loaded value, down to the checks that its containers do on later changes."""
    if isinstance(value, ovo.VersionedObject):
        attributes = {name: state(item) for name, item in vars(value).items() if name.startswith("_obj_")}
        return type(value), value.VERSION, value._changed_fields, value._context, attributes
    if isinstance(value, ovo_fields.CoercedCollectionMixin):
        checks = (type(value), id(value._element_type), value._field, type(value._obj))
        if isinstance(value, dict):
            return checks, {key: state(item) for key, item in value.items()}
        return checks, set(value) if isinstance(value, set) else [state(item) for item in value]
    return type(value), value


@contextlib.contextmanager
def oslos_way():
    """Inside, objects are loaded by oslo's code: the reference that ours must agree with."""
    ours = base.NovaObject.__dict__["_obj_from_primitive"]
    base.NovaObject._obj_from_primitive = classmethod(ovo.VersionedObject._obj_from_primitive.__func__)
    try:
        yield
    finally:
        base.NovaObject._obj_from_primitive = ours


TEXT = st.text(max_size=8)
VALUES = {
    "Boolean": st.booleans(),
    "DateTime": st.datetimes(min_value=datetime.datetime(1970, 1, 1), timezones=st.just(datetime.UTC)).map(
        lambda moment: moment.replace(microsecond=0)
    ),
    "FlexibleBoolean": st.booleans(),
    "Float": st.floats(allow_nan=False, allow_infinity=False),
    "IPAddress": st.ip_addresses().map(lambda address: netaddr.IPAddress(str(address))),
    "Integer": st.integers(-(2**53), 2**53),
    "String": TEXT,
    "UUID": st.uuids().map(str),
    "VersionPredicate": st.sampled_from([">=2.6", "<3.0", ">1.0,<2.0"]),
}


def values(field) -> st.SearchStrategy:
    """Values of the field."""
    kind = field._type
    if isinstance(kind, ovo_fields.Enum):
        result = st.sampled_from(list(kind.valid_values))
    elif isinstance(kind, ovo_fields.List):
        result = st.lists(values(kind._element_type), max_size=3)
    elif isinstance(kind, ovo_fields.Set):
        result = st.sets(values(kind._element_type), max_size=3)
    elif isinstance(kind, ovo_fields.Dict):
        result = st.dictionaries(TEXT, values(kind._element_type), max_size=3)
    elif isinstance(kind, ovo_fields.Object):
        result = st.deferred(lambda: objects(base.CLASSES[kind._obj_name]))
    else:
        result = VALUES[type(kind).__name__]
    return st.none() | result if field.nullable else result


def objects(cls) -> st.SearchStrategy:
    """Objects of the class with any part of their fields set."""
    return st.fixed_dictionaries({}, optional={name: values(field) for name, field in cls.fields.items()}).map(
        lambda kwargs: cls(**kwargs)
    )
