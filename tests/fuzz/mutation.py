"""Damage: one place of a structure changed, or bytes flipped, cut, doubled and spliced."""

import json
import random

import msgpack

#: Values that some reader may not expect; the long and the deep ones are drawn seldom, as they cost most of the time.
JUNK = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    7,
    2**31 - 1,
    2**31,
    2**53,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64 - 1,
    -(2**63),
    0.0,
    -0.0,
    0.5,
    5e-324,
    1.7e308,
    float("nan"),
    float("inf"),
    -float("inf"),
    "",
    "\0",
    "é",
    "\ud800",
    "\x1b[2J",
    "1.0",
    "1.1",
    "2.0",
    "1." + "9" * 400,
    "VCPU",
    "CUSTOM_X",
    "spread",
    "together",
    "compute_agent/host-1",
    "conductor/one",
    "operator/one",
    "00000000-0000-0000-0000-000000000000",
    [],
    [[]],
    {},
    {"": None},
    {"a": {}},
)
PACKABLE_JUNK = (
    b"",
    b"\xc1",
    b"\x90",
    b"\x91\x90",
    msgpack.ExtType(5, b"x"),
    msgpack.Timestamp(2**33, 5),
    {1: 2},
    {b"k": 1},
)
LONG = ("x" * 65_537, list(range(10_001)), "é" * 300)


def pack(value) -> bytes:
    """msgpack of anything that can be packed at all, lone surrogates too; what cannot is packed as nothing."""
    try:
        return msgpack.packb(value, use_bin_type=True, unicode_errors="surrogatepass")
    except (ValueError, TypeError, OverflowError):
        return b"\xc0"


def thaw(packed: bytes):
    """The structure of packed bytes with lists for tuples; None for bytes that have none."""
    try:
        return msgpack.unpackb(packed, raw=False, strict_map_key=False)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException):
        return None


class Mutator:
    """Makes hostile inputs with the chance of ``rng``; ``others`` are values that are put where they do not belong."""

    def __init__(self, rng: random.Random, others=(), packable: bool = True):
        self.rng = rng
        self.others = list(others)
        self.junk = JUNK + PACKABLE_JUNK if packable else JUNK

    def changed(self, value, times: int = 1):
        """``value`` with so many places of it changed; it is not changed itself."""
        for _ in range(times):
            value = self._change(value)
        return value

    def _change(self, value):
        chance = self.rng.random()
        if isinstance(value, (list, tuple)) and value and chance < 0.92:
            value = list(value)
            at = self.rng.randrange(len(value))
            if chance < 0.78:
                value[at] = self._change(value[at])
            else:
                self._change_list(value, at)
            return value
        if isinstance(value, dict) and value and chance < 0.92:
            return self._change_map(value, chance < 0.78)
        if type(value) is bytes and len(value) > 1 and chance < 0.9:
            inner = thaw(value)
            return pack(self._change(inner)) if isinstance(inner, (list, dict)) else self.damaged(value)
        return self._other(value)

    def _change_list(self, value, at):
        act = self.rng.randrange(6)
        if act == 0:
            del value[at]
        elif act == 1:
            value.insert(at, value[at])
        elif act == 2:
            value.insert(at, self._junk())
        elif act == 3:
            other = self.rng.randrange(len(value))
            value[at], value[other] = value[other], value[at]
        elif act == 4:
            del value[at:]
        else:
            value.extend(value[:64] * self.rng.choice((1, 2, 10)))

    def _change_map(self, value, inside):
        value = dict(value)
        key = self.rng.choice(list(value))
        if inside:
            value[key] = self._change(value[key])
        else:
            moved = value.pop(key)
            if self.rng.random() < 0.5:
                value[self.rng.choice(("", "name", "x" * 300, str(key) + "x"))] = moved
        return value

    def _other(self, value):
        """Something else: near to the value, or far from it."""
        chance = self.rng.random()
        if type(value) is int and chance < 0.4:
            return value + self.rng.choice((-1, 1, 2, 1000, -value, value, 2**31, 2**53))
        if type(value) is float and chance < 0.4:
            return self.rng.choice((-value, value * 1e300, int(max(-1e9, min(value, 1e9))) if value == value else 0))
        if type(value) is str and chance < 0.4:
            return self.rng.choice(
                (value.upper(), value + "x", value[:-1], value * 3, value.encode("utf-8", "replace"), value + "\n")
            )
        if type(value) is bool and chance < 0.4:
            return not value
        if self.others and chance < 0.65:
            return self.rng.choice(self.others)
        return self._junk()

    def _junk(self):
        chance = self.rng.random()
        if chance < 0.004:
            return self.rng.choice(LONG)
        if chance < 0.01:
            deep = []
            for _ in range(self.rng.choice((50, 200, 480))):
                deep = [deep]
            return deep
        return self.rng.choice(self.junk)

    def damaged(self, payload: bytes, other: bytes = b"") -> bytes:
        """``payload`` with one to three places of its bytes damaged; ``other`` may be spliced in."""
        for _ in range(self.rng.randint(1, 3)):
            at = self.rng.randrange(len(payload) + 1)
            to = min(len(payload), at + self.rng.choice((1, 1, 2, 4, 16, 256)))
            act = self.rng.randrange(7)
            if act == 0 and at < len(payload):
                payload = payload[:at] + bytes([payload[at] ^ 1 << self.rng.randrange(8)]) + payload[at + 1 :]
            elif act == 1:
                payload = payload[:at]
            elif act == 2:
                payload = payload[:at] + payload[to:]
            elif act == 3:
                payload = payload[:to] + payload[at:]
            elif act == 4:
                payload = payload[:at] + self.rng.randbytes(to - at) + payload[to:]
            elif act == 5:
                payload = payload[:at] + other[self.rng.randrange(len(other) + 1) :]
            else:
                payload = payload[:at] + self.rng.choice(BOMBS) + payload[at:]
        return payload


#: Heads that promise more than there is, and nesting without an end.
BOMBS = (
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\x91" * 600,
    b"\x81" * 600,
    b"\xdc\x27\x10" * 300,
    b"\xc1",
    b"\xc0",
    b"\xd6\xff\0\0\0\0",
    b"\xc7\x0c\xff" + b"\xff" * 12,
)


def leaves(value) -> list:
    """All texts, numbers and bytes in a structure."""
    if isinstance(value, dict):
        return [leaf for item in value.items() for leaf in leaves(list(item))]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


def to_json(value) -> bytes:
    """JSON of anything; bytes and other strangers as their representation."""
    return json.dumps(value, default=repr).encode()
