"""msgpack as the project uses it: canonical when packed, checked when unpacked."""

from typing import Any

import msgpack

from rpc_api import errors
from rpc_api.wording import number_of


def pack(value: object) -> bytes:
    """Pack one value canonically: tuples as arrays, maps in the order of their keys.

    Raises InvalidEvent for a text or a number that msgpack does not accept.
    """
    try:
        packed: bytes = msgpack.packb(_sorted(value), use_bin_type=True)
    except (ValueError, OverflowError) as fault:
        raise errors.InvalidEvent(
            f"a value cannot be packed ({fault}); fix the text or number in it that msgpack does not accept"
        ) from None
    return packed


_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})


def _sorted(value: Any) -> Any:
    # A record without maps in its fields (see rpc_api.events.schema) is packed as it is.
    if type(value) in _PLAIN or not getattr(value, "may_hold_maps", True):
        return value
    if type(value) is dict:
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, (tuple, list)):
        return [item if type(item) in _PLAIN else _sorted(item) for item in value]
    return value


def printable(text: str, most: int = 4096) -> str:
    """A foreign text in a form that an event may contain: characters that cannot be encoded are replaced, and it is cut
    off after ``most`` characters."""
    return text.encode("utf-8", "replace").decode()[:most]


def unpack(packed: bytes) -> Any:
    """Unpack one value; arrays become tuples. Raises InvalidEvent for bytes that are not msgpack, or have map keys that
    are not strings."""
    try:
        return msgpack.unpackb(packed, use_list=False, raw=False, strict_map_key=True)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.exceptions.UnpackException) as broken:
        raise errors.InvalidEvent(
            f"{number_of(len(packed), 'byte')} cannot be read as msgpack ({broken.__class__.__name__}: "
            f"{str(broken)[:80]}); fix their producer"
        ) from None
