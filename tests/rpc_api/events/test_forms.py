"""An object of the language in its forms: frozen record, versioned object, primitive, packed bytes, event."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oslo_versionedobjects import fields

from nova_sched.projection.fold import HANDLERS
from rpc_api import codec, errors, events, messages
from rpc_api.events.fields import MAX_AMOUNT
from rpc_api.events.schema import MAX_INTEGER, MAX_STRING, TABLE, SchemaObject, thaw_fields
from rpc_api.levels import LEVEL
from rpc_api.packing import pack, unpack
from tests import builders, drawn

NAMES = sorted(TABLE)


def test_every_event_has_a_handler_and_every_handler_an_event():
    missing = sorted(set(events.EVENTS) - set(HANDLERS))
    assert not missing, (
        f"{', '.join(missing)}: add a handler to HANDLERS in nova_sched/projection/fold.py; one that "
        "changes nothing, if the event is only evidence"
    )
    assert set(HANDLERS) == set(events.EVENTS), "a handler is of an event that there is not: remove it"


def test_every_event_can_be_made_from_the_package():
    for name, cls in events.EVENTS.items():
        assert getattr(events, name) is cls.Frozen
    assert messages.BuildRequest is TABLE["BuildRequest"].Frozen


@given(st.sampled_from(NAMES).flatmap(drawn.packed_well))
def test_frozen_object_primitive_and_back(frozen):
    obj = events.to_object(frozen)
    primitive = json.loads(json.dumps(obj.obj_to_primitive()))
    assert primitive["nova_sched_object.name"] == type(frozen).__name__
    again = events.from_object(SchemaObject.obj_from_primitive(primitive))
    assert again == frozen
    assert type(again) is type(frozen)


@given(st.sampled_from(NAMES).flatmap(drawn.frozen))
def test_frozen_packed_and_back(frozen):
    again = events.thaw(type(frozen).__name__, pack(frozen))
    assert again == frozen
    assert pack(again) == pack(thaw_fields(frozen.schema, frozen))


@given(st.sampled_from(sorted(events.EVENTS)).flatmap(drawn.frozen))
def test_frozen_event_record_and_back(frozen):
    event = codec.make_event(frozen, "scheduler/a", 1, 1, 0)
    record = builders.record_of(event, level=LEVEL)
    assert codec.decode_record(record) == (builders.EPOCH, [event], None, record, LEVEL)


def test_nested_objects_are_frozen_all_the_way_down():
    claim = builders.claim("vm", "host", rule=builders.rule())
    again = unpack(pack(claim))
    thawed = thaw_fields(TABLE["ClaimProposed"], again)
    assert type(thawed.allocations[0]) is events.Allocation
    assert type(thawed.rule) is events.GroupRule
    assert hash(thawed) == hash(claim)


# --- what the schema refuses ---------------------------------------------------------------------------------------

GOOD = {
    "Allocation": [builders.uuid_of("host"), "VCPU", 1],
    "HostStatus": [False, None, False, 0, 0, {}],
    "Provider": [builders.uuid_of("host"), "host", -1, [], [], []],
    "Inventory": ["VCPU", 8, 0, 1, 8, 1, 1.0],
    "HostConfirmed": ["host", 0],
    "ClaimProposed": list(builders.claim("vm", "host")),
}

REFUSED = [
    # class, number of the field, value, text of the error
    ("Allocation", 0, "12345678-1234-1234-1234-1234567890AB", "Allocation.provider_uuid: a lower-case UUID"),
    ("Allocation", 0, builders.uuid_of("host") + "\n", "a lower-case UUID"),
    ("Allocation", 0, builders.uuid_of("host").replace("-", ""), "a lower-case UUID"),
    ("Allocation", 0, None, "a lower-case UUID"),
    ("Allocation", 0, {}, "a lower-case UUID"),
    ("Allocation", 1, b"VCPU", "Allocation.resource_class: a string"),
    ("Allocation", 1, "x" * (MAX_STRING + 1), f"a string of at most {MAX_STRING}"),
    ("Allocation", 2, -1, "Allocation.amount: an amount"),
    ("Allocation", 2, MAX_AMOUNT + 1, "an amount"),
    ("Allocation", 2, 1.0, "an amount"),
    ("Allocation", 2, True, "an amount"),
    ("HostStatus", 0, 1, "HostStatus.disabled: a boolean"),
    ("HostStatus", 0, None, "a boolean"),
    ("HostStatus", 3, MAX_INTEGER + 1, "an integer of 0 or more"),
    ("HostStatus", 3, True, "an integer of 0 or more"),
    ("HostStatus", 5, [], "a map"),
    ("HostStatus", 5, {b"a": 1.0}, "a string"),
    ("HostStatus", 5, {"a": float("nan")}, "a finite number"),
    ("HostStatus", 5, {"a": float("inf")}, "a finite number"),
    ("HostStatus", 5, {"a": "1"}, "a finite number"),
    ("HostStatus", 5, {"a": True}, "a finite number"),
    ("Provider", 2, -MAX_INTEGER - 1, "Provider.parent: an integer"),
    ("Provider", 2, 0.0, "Provider.parent: an integer"),
    ("Provider", 3, {}, "a list"),
    ("Provider", 3, "", "a list"),
    ("Provider", 3, [[]], "Provider.inventories: an array of the 7 fields of Inventory"),
    ("Provider", 5, ["x"], "Provider.aggregates: a lower-case UUID"),
    ("Inventory", 6, None, "Inventory.allocation_ratio: a finite number"),
    ("ClaimProposed", 6, [[builders.uuid_of("host"), "VCPU", -1]], "ClaimProposed.allocations: Allocation.amount"),
    ("ClaimProposed", 7, [], "ClaimProposed.rule: an array of the 5 fields of GroupRule"),
    ("ClaimProposed", 7, False, "an array of the 5 fields of GroupRule"),
]


@pytest.mark.parametrize("name, number, value, said", REFUSED)
def test_refused_values(name, number, value, said):
    values = list(GOOD[name])
    thaw_fields(TABLE[name], values)
    values[number] = value
    with pytest.raises(errors.InvalidEvent) as refused:
        thaw_fields(TABLE[name], values)
    assert said in str(refused.value)


@pytest.mark.parametrize("values", [[], [1], ["host"], ["host", 0, 0], "ab", {"host": 0, "digest": 0}, None, 7, b"ab"])
def test_refused_arrays(values):
    with pytest.raises(errors.InvalidEvent, match="an array of the 2 fields of HostConfirmed"):
        thaw_fields(TABLE["HostConfirmed"], values)


def test_an_object_that_is_not_complete_is_refused():
    obj = TABLE["HostSeen"]()
    with pytest.raises(errors.InvalidEvent, match="HostSeen.host is not set"):
        events.from_object(obj)


@pytest.mark.parametrize("name, version", [("Nothing", "1.0"), ("HostSeen", "1.1"), ("HostSeen", "2.0")])
def test_a_primitive_of_an_unknown_class_is_refused(name, version):
    primitive = events.to_object(events.HostSeen("host")).obj_to_primitive()
    primitive |= {"nova_sched_object.name": name, "nova_sched_object.version": version}
    with pytest.raises(errors.UnknownSchema, match=f"object {name} {version} is not known here"):
        SchemaObject.obj_from_primitive(primitive)


def test_a_packed_field_takes_bytes_only():
    report = events.to_object(builders.report("host"))
    with pytest.raises(ValueError, match="wants the packed bytes of a HostInventory, got str"):
        report.inventory = "text"
    assert "<packed HostInventory, " in repr(report)


def test_an_amount_has_its_limit_in_the_object_too():
    with pytest.raises(ValueError, match="wanted at most"):
        TABLE["Allocation"](provider_uuid=builders.uuid_of("host"), resource_class="VCPU", amount=MAX_AMOUNT + 1)


def test_an_integer_is_a_number_where_a_float_is_wanted():
    status = thaw_fields(TABLE["HostStatus"], [False, None, False, 0, 0, {"a": 1, "b": -0.0}])
    assert {name: str(value) for name, value in status.metrics.items()} == {"a": "1.0", "b": "0.0"}


# --- versions ------------------------------------------------------------------------------------------------------


@pytest.fixture
def versions(monkeypatch):
    """A class that got a field in 1.1, and one that holds it nested, in a list, and packed."""
    from rpc_api.events import schema

    def made(name, version, its_fields):
        cls = type(name, (SchemaObject,), {"VERSION": version, "fields": its_fields})
        monkeypatch.setitem(TABLE, name, cls)
        return schema.register(cls)

    made("Inner", "1.1", {"a": fields.IntegerField(), "b": fields.StringField(default="new")})
    return made(
        "Outer",
        "2.3",
        {
            "inner": fields.ObjectField("Inner"),
            "inners": fields.ListOfObjectsField("Inner"),
            "more": fields.IntegerField(default=7),
            "most": fields.ListOfStringsField(default=[]),
        },
    )


@pytest.mark.parametrize(
    "version, values, thawed",
    [
        ("2.0", [[1], [[2], [3, "x"]]], ((1, "new"), ((2, "new"), (3, "x")), 7, ())),
        ("2.2", [[1, "x"], [], 8], ((1, "x"), (), 8, ())),
        ("2.3", [[1, "x"], [], 8, ["y"]], ((1, "x"), (), 8, ("y",))),
        (None, [[1], []], ((1, "new"), (), 7, ())),
    ],
)
def test_what_an_older_version_lacks_gets_its_default(versions, version, values, thawed):
    assert thaw_fields(versions, values, version) == thawed


def test_packed_bytes_of_an_older_version_can_be_read(versions):
    assert events.thaw("Inner", pack([5])) == (5, "new")


@pytest.mark.parametrize(
    "version, values, fault",
    [
        ("2.4", [[1], []], errors.UnknownSchema),
        ("3.0", [[1], []], errors.UnknownSchema),
        ("1.0", [[1], []], errors.UnknownSchema),
        ("2.0", [[1]], errors.InvalidEvent),
        ("2.0", [[1], [], 1, [], 1], errors.InvalidEvent),
        ("2.0", [[], []], errors.InvalidEvent),
        ("2", [[1], []], errors.InvalidEvent),
        ("2.0.0", [[1], []], errors.InvalidEvent),
        ("", [[1], []], errors.InvalidEvent),
        ("-2.0", [[1], []], errors.InvalidEvent),
        ("2.\N{ARABIC-INDIC DIGIT ONE}", [[1], []], errors.InvalidEvent),
        ("2." + "1" * 5000, [[1], []], errors.InvalidEvent),
    ],
)
def test_versions_that_are_not_read(versions, version, values, fault):
    with pytest.raises(fault) as refused:
        thaw_fields(versions, values, version)
    assert type(refused.value) is fault
    assert len(str(refused.value)) < 500
