"""What is published of Nova's objects, as messages that :mod:`conductor.tap.decode` reads."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from nova_sched.nova_objects.names import (
    ACTION,
    CHANGES,
    DATA,
    FIELDS,
    IMAGE_PREFIX,
    LOST,
    METADATA,
    NAME,
    NAMESPACE,
    VERSION,
)


class Record(NamedTuple):
    """``method`` of an object of Nova. ``fields`` are primitives, ``changed`` names what the call changed; ``size`` is
    that of the fields as JSON, in bytes."""

    name: str
    version: str
    method: str
    fields: Mapping[str, Any]
    changed: frozenset[str]
    size: int

    def message(self) -> tuple[str, dict[str, Any]]:
        """The method of the RPC message and its arguments."""
        primitive = {
            NAME: self.name,
            NAMESPACE: "nova",
            VERSION: self.version,
            DATA: self.fields,
            CHANGES: sorted(self.changed),
        }
        return ACTION, {"objinst": primitive, "objmethod": self.method, "args": [], "kwargs": {}}


class Lost(NamedTuple):
    """A host whose messages may be missing. ``dropped`` is the number of those that are certainly missing: it is 0 when
    a nova-compute starts, as an earlier process may have ended with messages that it had not published."""

    host: str
    dropped: int

    def message(self) -> tuple[str, dict[str, Any]]:
        """The method of the RPC message and its arguments."""
        return LOST, {"host": self.host, "dropped": self.dropped}


def record_of(name, version, method, fields, changed) -> Record:
    """A record with its size."""
    return Record(name, version, method, fields, frozenset(changed), len(json.dumps(fields)))


def taken_from(thing, method: str, changed) -> Record:
    """The record of an object of Nova (a VersionedObject) after a call."""
    name = thing.obj_name()
    fields = {
        field: thing.fields[field].to_primitive(thing, field, getattr(thing, field))
        for field in FIELDS[name]
        if field in thing.fields and thing.obj_attr_is_set(field)
    }
    if fields.get(METADATA):
        fields[METADATA] = {key: value for key, value in fields[METADATA].items() if key.startswith(IMAGE_PREFIX)}
    return record_of(name, thing.VERSION, method, fields, changed)


def merged(earlier: Record, later: Record) -> Record:
    """Two records of one object as one, which leaves a tap with the same knowledge. The later one counts; it may lack
    fields that the earlier one has, because Nova loads them only if it needs them."""
    method = "create" if (earlier.method, later.method) == ("create", "save") else later.method
    return record_of(
        later.name, later.version, method, {**earlier.fields, **later.fields}, earlier.changed | later.changed
    )
