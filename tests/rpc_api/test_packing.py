"""Packing: equal values have equal bytes, whatever they were made of; broken bytes are an InvalidEvent."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc_api import errors, events
from rpc_api.packing import pack, unpack
from tests import builders

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_round_trip(value):
    assert unpack(pack(value)) == value
    assert pack(unpack(pack(value))) == pack(value)


@given(st.dictionaries(st.text(), VALUES), st.randoms(use_true_random=False))
def test_the_order_of_a_map_does_not_matter(value, chance):
    keys = list(value)
    chance.shuffle(keys)
    assert pack({"in": [{key: value[key] for key in keys}]}) == pack({"in": [value]})


SAME = [
    ((1, 2), [1, 2]),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ([{"a": {"x": 1, "y": 2}}], [{"a": {"y": 2, "x": 1}}]),
    (events.HostSeen("host"), ("host",)),
    ({"one": events.HostSeen("host")}, {"one": ["host"]}),
    (builders.status(metrics={"a": 1.0, "b": 2.0}), builders.status(metrics={"b": 2.0, "a": 1.0})),
]


@pytest.mark.parametrize("one, other", SAME)
def test_same_bytes(one, other):
    assert pack(one) == pack(other)


DIFFERENT = [
    (1, 1.0),
    (1, True),
    ("a", b"a"),
    ((), {}),
    ((1, (2,)), (1, 2)),
    ("", None),
    ({"a": 1}, {"a": 2}),
    (0.0, -0.0),
]


@pytest.mark.parametrize("one, other", DIFFERENT)
def test_different_bytes(one, other):
    assert pack(one) != pack(other)


BROKEN = [
    b"",
    b"\xc1",
    b"\x91",
    b"\x00\x00",
    b"\xa1\xff",
    b"\x81\x01\x01",
    b"\x91" * 5000,
    b"\xdd\xff\xff\xff\xff",
    b"\xc7\x03\xff\x00\x00\x00",
]


@pytest.mark.parametrize("packed", BROKEN)
def test_broken_bytes(packed):
    with pytest.raises(errors.InvalidEvent, match="bytes? cannot be read as msgpack .*; fix their producer"):
        unpack(packed)


def test_arrays_are_tuples():
    assert unpack(pack([1, [2, {"a": [3]}]])) == (1, (2, {"a": (3,)}))


def test_bytes_do_not_depend_on_the_hash_seed():
    script = (
        "from rpc_api.packing import pack\n"
        "print(pack({name: {part: 1 for part in {'x', 'y', 'z', 'é'}} for name in {'a', 'b', 'c', 'd'}}).hex())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            capture_output=True,
            timeout=60,
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in range(4)
    }
    assert len(seen) == 1
