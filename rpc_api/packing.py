"""msgpack as the project uses it: canonical when packed, checked when unpacked."""

from typing import Any

import msgpack

from rpc_api import errors


def pack(value: object) -> bytes:
    """Pack one value canonically: tuples as arrays, maps in the order of their keys.

    Raises InvalidEvent for a text or a number that msgpack does not take.
    """
    try:
        packed: bytes = msgpack.packb(_sorted(value), use_bin_type=True)
    except (ValueError, OverflowError) as fault:
        raise errors.InvalidEvent(
            f"a value cannot be packed ({fault}); mend the text or number in it that msgpack does not take"
        ) from None
    return packed


_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})


def _sorted(value: Any) -> Any:
    # A record of a class of which no field can hold a map (see rpc_api.events.schema) is packed as it is.
    if type(value) in _PLAIN or not getattr(value, "may_hold_maps", True):
        return value
    if type(value) is dict:
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, (tuple, list)):
        return [item if type(item) in _PLAIN else _sorted(item) for item in value]
    return value


def printable(text: str, most: int = 4096) -> str:
    """A text from elsewhere as it can stand in an event: what cannot be encoded is replaced, and it has an end."""
    return text.encode("utf-8", "replace").decode()[:most]


def unpack(packed: bytes) -> Any:
    """Unpack one value; arrays become tuples. Raises InvalidEvent for anything that is not msgpack of our kind."""
    try:
        return msgpack.unpackb(packed, use_list=False, raw=False, strict_map_key=True)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.exceptions.UnpackException) as broken:
        raise errors.InvalidEvent(
            f"{len(packed)} bytes cannot be read as msgpack ({broken.__class__.__name__}: {str(broken)[:80]}); "
            "mend their producer"
        ) from None
