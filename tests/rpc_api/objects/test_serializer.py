"""The serializer that clients and servers get, the context beside the arguments, and what may not be shown."""

import json

import pytest

import rpc_api.objects as ours
from rpc_api import errors
from rpc_api.objects import base
from rpc_api.objects.context import RequestContext
from rpc_api.objects.serializer import PASS_THROUGH, NovaSerializer
from tests.rpc_api.objects.samples import CAPTURED, through_json, without_order

SERIALIZER = NovaSerializer()
PREFIX = "_context_"


def context_of(message):
    return {key.removeprefix(PREFIX): value for key, value in message.items() if key.startswith(PREFIX)}


@pytest.mark.parametrize("name", ["select_destinations", "update_aggregates", "delete_aggregate"])
def test_arguments_go_round(name):
    arguments = CAPTURED[name]["args"]
    loaded = {key: SERIALIZER.deserialize_entity(None, value) for key, value in arguments.items()}
    written = through_json({key: SERIALIZER.serialize_entity(None, value) for key, value in loaded.items()})
    assert without_order(written) == without_order(arguments)


def test_reply_goes_round():
    result = CAPTURED["select_destinations_reply"]["result"]
    loaded = SERIALIZER.deserialize_entity(None, result)
    assert [[type(selection) for selection in selections] for selections in loaded] == [[ours.Selection] * 2]
    assert without_order(through_json(SERIALIZER.serialize_entity(None, loaded))) == without_order(result)


def test_instances_stay_as_they_came():
    info = CAPTURED["update_instance_info"]["args"]["instance_info"]
    assert SERIALIZER.deserialize_entity(None, info) is info
    assert PASS_THROUGH == {"Instance", "InstanceList"}


@pytest.mark.parametrize(
    "entity, wanted",
    [
        (None, None),
        ("text", "text"),
        (7, 7),
        ([1, [2]], [1, [2]]),
        ((1, (2,)), (1, (2,))),
        ({"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({3}), [3]),
        (
            [ours.NetworkMetadata(tunneled=True)],
            [
                {
                    base.NAME: "NetworkMetadata",
                    base.NAMESPACE: "nova",
                    base.VERSION: "1.0",
                    base.DATA: {"tunneled": True},
                    base.CHANGES: ["tunneled"],
                }
            ],
        ),
    ],
)
def test_serialized_entity(entity, wanted):
    assert SERIALIZER.serialize_entity(None, entity) == wanted


def test_objects_get_the_context():
    context = RequestContext(request_id="req-1")
    spec = SERIALIZER.deserialize_entity(context, CAPTURED["select_destinations"]["args"]["spec_obj"])
    assert spec.obj_context is context and spec.flavor.obj_context is context


@pytest.mark.parametrize(
    "wire, error",
    [
        ({base.NAME: "Nonsense", base.NAMESPACE: "nova", base.VERSION: "1.0", base.DATA: {}}, errors.UnknownSchema),
        ({base.NAME: "Selection", base.NAMESPACE: "nova", base.VERSION: "9.0", base.DATA: {}}, errors.UnknownSchema),
        ({base.NAME: "Selection"}, errors.InvalidEvent),
    ],
)
def test_object_that_cannot_be_loaded(wire, error):
    with pytest.raises(error, match="cannot load"):
        SERIALIZER.deserialize_entity(None, {"deep": [wire]})


# ---- the context


@pytest.mark.parametrize("name", ["select_destinations", "update_aggregates", "update_instance_info"])
def test_context_goes_round(name):
    wire = context_of(CAPTURED[name])
    assert len(wire) == 25
    assert SERIALIZER.serialize_context(SERIALIZER.deserialize_context(wire)) == wire


def test_context_of_another_version():
    context = SERIALIZER.deserialize_context({"user": "u", "request_id": "req-1", "colour": "red"})
    assert (context.user_id, context.request_id, context.read_deleted) == ("u", "req-1", "no")
    assert "colour" not in context.to_dict()


def test_context_that_is_a_dictionary_already():
    assert SERIALIZER.serialize_context({"user": "u"}) == {"user": "u"}


@pytest.mark.parametrize("wire", [None, [], "secret"])
def test_context_that_is_none(wire):
    with pytest.raises(errors.InvalidEvent, match="context") as caught:
        SERIALIZER.deserialize_context(wire)
    assert "secret" not in str(caught.value)


# ---- what may not be shown


def test_token_is_not_shown():
    context = SERIALIZER.deserialize_context({"user_id": "u", "auth_token": "s3cret", "service_catalog": ["s3cret"]})
    spec = SERIALIZER.deserialize_entity(context, CAPTURED["select_destinations"]["args"]["spec_obj"])
    for shown in (repr(context), str(context), repr(spec), repr([context])):
        assert "s3cret" not in shown
    assert context.to_dict()["auth_token"] == "s3cret"


def test_credentials_of_a_cell_are_not_shown():
    cell = ours.CellMapping(
        uuid=ours.CellMapping.CELL0_UUID,
        name="cell0",
        transport_url="rabbit://u:s3cret@h",
        database_connection="mysql://u:s3cret@h",
    )
    destination = ours.Destination(host="h", cell=cell)
    spec = ours.RequestSpec(requested_destination=destination)
    for shown in (cell, destination, spec, [cell], {"cell": cell}):
        assert "s3cret" not in repr(shown) and "s3cret" not in str(shown) and "s3cret" not in f"{shown}"
    assert "cell0" in repr(cell) and "database_connection=***" in repr(cell) and "id=<?>" in repr(cell)
    # They do travel: Nova's wire wants them.
    assert "s3cret" in json.dumps(spec.obj_to_primitive())


@pytest.mark.parametrize("name", sorted(ours.CellMapping.SECRET))
@pytest.mark.parametrize("value", [["s3cret"], {"s3cret": 1}, None])
def test_credentials_that_do_not_load_are_not_shown(name, value):
    wire = ours.CellMapping(name="cell1").obj_to_primitive()
    wire[base.DATA][name] = value
    with pytest.raises(errors.InvalidEvent, match=name) as caught:
        SERIALIZER.deserialize_entity(None, wire)
    assert "s3cret" not in str(caught.value)
