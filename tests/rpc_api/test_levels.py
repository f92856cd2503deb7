"""The forms of the event language by level: what a level has is written, and what it does not have is never read."""

from collections import defaultdict

import msgpack
import pytest
from oslo_versionedobjects import fields

from rpc_api import codec, errors, events, levels
from rpc_api.events import schema
from rpc_api.packing import pack, unpack
from tests.builders import EPOCH, Voice

OPERATOR = frozenset({"operator"})


@pytest.fixture
def language(monkeypatch):
    """Classes that got newer fields: Inner (a field), Outer (which has it three times), and the new type Late."""
    monkeypatch.setattr(schema, "TABLE", dict(schema.TABLE))
    monkeypatch.setattr(levels, "TABLE", schema.TABLE)
    monkeypatch.setattr(levels, "LEVEL", 3)
    monkeypatch.setattr(events, "EVENTS", dict(events.EVENTS))
    monkeypatch.setattr(codec, "EVENT_FORMS", defaultdict(dict))
    text = fields.StringField
    made(
        "Inner",
        {"a": text(), "b": text(default=""), "c": text(default="")},
        "1.4",
        {"b": 2, "c": 3},
        {1: "1.2", 2: "1.3"},
    )
    made(
        "Outer",
        {
            "one": fields.ObjectField("Inner", nullable=True),
            "many": fields.ListOfObjectsField("Inner"),
            "packed": schema.PackedObjectField("Inner", nullable=True),
            "more": fields.NonNegativeIntegerField(default=0),
        },
        "2.2",
        {"more": 2},
        {1: "2.0", 2: "2.1"},
    )
    made("Late", {"a": text()}, "1.0", {}, {}, level=2)
    return schema.TABLE


def made(name, its_fields, version, newer, older, level=1):
    cls = type(
        name,
        (schema.SchemaObject,),
        {"VERSION": version, "fields": its_fields, "ROLES": OPERATOR, "NEWER": newer, "OLDER": older, "LEVEL": level},
    )
    events.EVENTS[name] = schema.register(cls)
    return cls


def outer(language):
    inner = language["Inner"].Frozen
    return language["Outer"].Frozen(inner("x", "y", "z"), (inner("p", "q", "r"),), pack(inner("s", "t", "u")), 7)


FORMS = {
    1: ("2.0", (("x",), (("p",),), ("s",))),
    2: ("2.1", (("x", "y"), (("p", "q"),), ("s", "t"), 7)),
    3: ("2.2", (("x", "y", "z"), (("p", "q", "r"),), ("s", "t", "u"), 7)),
}


@pytest.mark.parametrize("level", FORMS)
def test_a_record_has_the_fields_and_the_version_of_its_level(language, level):
    version, values = FORMS[level]
    one, many, packed, *more = levels.at(outer(language), level)
    assert (one, many, unpack(packed), *more) == values
    assert levels.form_of(language["Outer"], level).version == version


def test_none_stays_none(language):
    record = language["Outer"].Frozen(None, (), None, 0)
    assert levels.at(record, 1) == (None, (), None)


def test_the_newest_form_is_the_record_itself(language):
    record = outer(language)
    assert levels.at(record, 3) is record


@pytest.mark.parametrize(
    ("values", "shortest"),
    [(("x", "", ""), ("x",)), (("x", "y", ""), ("x", "y")), (("x", "", "z"), ("x", "", "z")), (("", "", ""), ("",))],
)
def test_the_oldest_form_leaves_out_newer_fields_that_are_not_used(language, values, shortest):
    assert tuple(levels.oldest_form(language["Inner"].Frozen(*values))) == shortest


def test_an_event_is_written_in_the_form_of_a_level_and_read_with_defaults(language):
    event = Voice("operator/one").say(outer(language))
    record = codec.decode_record(codec.encode_record(EPOCH, [event], 1))
    assert record.level == 1
    (read,) = record.events
    assert (read.version, read.data.more, read.data.one) == ("2.0", 0, ("x", "", ""))


def test_a_record_of_a_level_has_no_newer_form_and_no_newer_type(language):
    voice = Voice("operator/one")
    newer, late = voice.say(outer(language)), voice.say(language["Late"].Frozen("a"))
    with pytest.raises(errors.InvalidEvent, match="Late event is of level 2, the log is at level 1"):
        codec.encode_events([late], 1)
    forged = msgpack.packb([1, EPOCH, [newer, late]])
    assert [event.code for event in codec.decode_record(forged).events] == ["newer-version", "newer-level"]


NEWER_FIELDS = {
    "in the event": lambda inner, packed: (inner[:1], (), packed, 7),
    "in an object, with its default": lambda inner, packed: ((*inner[:1], ""), (), packed),
    "in an object of a list": lambda inner, packed: (inner[:1], (inner,), packed),
}


@pytest.mark.parametrize("name", NEWER_FIELDS)
def test_a_newer_field_under_the_older_version_is_not_read(language, name):
    """Services of the release before set it aside, so all do."""
    values = NEWER_FIELDS[name](("x", "y"), pack(("x",)))
    event = ("Outer", "2.0", "operator/one", 1, 1, 1, values)
    (aside,) = codec.decode_record(msgpack.packb([1, EPOCH, [event]])).events
    assert aside.code == "invalid" and "fields of" in aside.reason
    (read,) = codec.decode_record(msgpack.packb([2, EPOCH, [event]])).events
    assert read.name == "Outer"


@pytest.mark.parametrize("level", [0, -1, levels.LEVEL + 1, 2**53])
def test_nothing_is_written_at_a_level_that_is_not_known(level):
    event = Voice("operator/one").say(events.LevelPinned(2))
    with pytest.raises(errors.InvalidEvent, match=f"level {level} is not known, wanted 1 to {levels.LEVEL}"):
        codec.encode_record(EPOCH, [event], level)


WRONG = {
    "a newer field that is not the last one": ({"a": 2}, {1: "1.0"}),
    "no version for the level before": ({"b": 2}, {}),
    "a version for a level that changes nothing": ({}, {1: "1.0"}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_class_whose_newer_fields_are_not_declared_well_cannot_be_registered(language, name):
    newer, older = WRONG[name]
    with pytest.raises(TypeError):
        made("Wrong", {"a": fields.StringField(), "b": fields.StringField(default="")}, "1.1", newer, older)


def test_a_class_whose_object_changed_needs_a_version_of_its_own(language):
    with pytest.raises(TypeError, match=r"levels \[2, 3\]"):
        made("Wrong", {"a": fields.ListOfObjectsField("Inner")}, "1.0", {}, {})


def test_no_level_above_the_newest_one_is_declared():
    for cls in schema.TABLE.values():
        assert all(level <= levels.LEVEL for level in (cls.LEVEL, *cls.NEWER.values())), cls
        assert all(level < levels.LEVEL for level in cls.OLDER), cls
