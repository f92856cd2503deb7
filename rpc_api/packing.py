"""msgpack as the project uses it: canonical when packed, checked when unpacked."""

import msgpack

from rpc_api import errors


def pack(value) -> bytes:
    """Pack one value canonically: tuples as arrays, maps in the order of their keys."""
    return msgpack.packb(_sorted(value), use_bin_type=True)


_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})


def _sorted(value):
    if type(value) in _PLAIN:
        return value
    if type(value) is dict:
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, (tuple, list)):
        return [item if type(item) in _PLAIN else _sorted(item) for item in value]
    return value


def unpack(packed: bytes):
    """Unpack one value; arrays become tuples. Raises InvalidEvent for anything that is not msgpack of our kind."""
    try:
        return msgpack.unpackb(packed, use_list=False, raw=False, strict_map_key=True)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.exceptions.UnpackException) as broken:
        raise errors.InvalidEvent(
            f"{len(packed)} bytes cannot be read as msgpack ({broken.__class__.__name__}: {str(broken)[:80]}); "
            "mend their producer") from None
