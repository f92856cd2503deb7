"""Frozen records as primitives: the same as by way of versioned objects, for every class of the language."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpc_api import errors, messages
from rpc_api.events import schema
from rpc_api.events.primitive import DATA, NAME, VERSION, from_primitive, to_primitive
from rpc_api.levels import form_of, least_level
from rpc_api.serializer import RpcSerializer
from tests.builders import claim, uuid_of
from tests.drawn import packed_well

CHANGES = "nova_sched_object.changes"


def without_changes(primitive):
    if isinstance(primitive, dict):
        return {key: without_changes(value) for key, value in primitive.items() if key != CHANGES}
    if isinstance(primitive, list):
        return [without_changes(item) for item in primitive]
    return primitive


@pytest.mark.parametrize("name", sorted(schema.TABLE))
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_short_way_is_the_long_way(name, data):
    record = data.draw(packed_well(name))
    primitive = to_primitive(record)
    if form_of(record.schema, least_level(record)).cut is None:
        assert primitive == without_changes(schema.to_object(record).obj_to_primitive())
    assert to_primitive(from_primitive(json.loads(json.dumps(primitive)))) == primitive


@pytest.mark.parametrize("companion, versions", [(None, ("1.2", "1.1")), (uuid_of("m1"), ("1.3", "1.2"))])
def test_what_uses_nothing_newer_has_the_form_of_the_release_before(companion, versions):
    plain, other = claim("vm", "a"), claim("vm", "b")._replace(companion=companion)
    primitive = to_primitive(messages.BuildRequest(uuid_of("vm"), "req-1", (plain, other), 3))
    claims = primitive[DATA]["claims"]
    assert (primitive[VERSION], *{each[VERSION] for each in claims}) == versions
    assert {"companion" in each[DATA] for each in claims} == {companion is not None}
    assert from_primitive(json.loads(json.dumps(primitive))).claims == (plain, other)


ANSWER = messages.BuildAnswer(True, "")


@pytest.mark.parametrize(
    "change, fault",
    [
        ({NAME: "Nothing"}, errors.UnknownSchema),
        ({VERSION: "1.9"}, errors.UnknownSchema),
        ({VERSION: "2.0"}, errors.UnknownSchema),
        ({DATA: None}, errors.InvalidEvent),
        ({DATA: {"started": 1, "reason": ""}}, errors.InvalidEvent),
        ({DATA: {"started": True}}, errors.InvalidEvent),
    ],
)
def test_what_is_wrong_is_said(change, fault):
    with pytest.raises(fault):
        from_primitive({**to_primitive(ANSWER), **change})


def test_the_serializer_carries_records_in_lists_and_maps():
    serializer = RpcSerializer()
    value = {"answers": [ANSWER, ANSWER], "count": 2}
    packed = json.loads(json.dumps(serializer.serialize_entity(None, value)))
    assert serializer.deserialize_entity(None, packed) == value
