"""Events as plain values, for programs."""

from rpc_api import errors, events
from rpc_api.events.schema import PackedObjectField


def plain(value):
    """Return a named tuple as dictionaries, lists and scalars. Packed parts are unpacked; unreadable ones become
    hex."""
    if hasattr(value, "schema"):
        schema = value.schema.fields
        return {
            name: _unpacked(schema[name].objname, item)
            if isinstance(schema[name], PackedObjectField) and item is not None
            else plain(item)
            for name, item in value._asdict().items()
        }
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def _unpacked(name, packed):
    try:
        return plain(events.thaw(name, packed))
    except errors.InvalidEvent as broken:
        return {"unreadable": str(broken), "raw": packed.hex()}
