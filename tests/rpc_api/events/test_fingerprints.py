"""The event language may not change by accident: a change here is a change of what logs contain.

A field may be appended, with a default, in a new minor version of its class and of every class that holds it.
"""

import pytest
from oslo_versionedobjects import fields

from rpc_api import messages  # noqa: F401  (puts its classes into the table)
from rpc_api.events import EVENTS, schema
from rpc_api.events.schema import TABLE
from tests.rpc_api.events.fingerprints import fingerprint

FINGERPRINTS = {
    "AccountsRequired": "1.0-2e0f16f204c1a692",
    "AggregateDeleted": "1.0-43e62e62a0204400",
    "AggregateUpdated": "1.0-19e5fed3978029f8",
    "Allocation": "1.0-5ada4d8efb47bcbd",
    "AllocationMoved": "1.0-904994afdb5fbcf7",
    "BuildAnswer": "1.0-ae5753b764598550",
    "BuildFailed": "1.0-b17b3ce26fdfd8c6",
    "BuildOutcome": "1.0-e7db29bc056f2775",
    "BuildRequest": "1.5-899e716d189cdeb0",
    "CellPosition": "1.0-d8e7055e4c107714",
    "CheckpointNamed": "1.0-88be111a447b32a4",
    "ClaimExpired": "1.0-d8b2f7bb8e182a96",
    "ClaimProposed": "1.4-6dd0584d0ed4db6f",
    "ClaimReleased": "1.0-a322fb6ea258b140",
    "ClaimsWatched": "1.0-06ea6e94d57a1e2e",
    "Consumer": "1.1-3c18c65cd1e57061",
    "DecisionCompared": "1.0-9d8d56e170356726",
    "DecisionMade": "1.1-5f4e3017a4747930",
    "Evidence": "1.1-acced89d68506304",
    "GroupAnchored": "1.0-e2204e1ee2dfc515",
    "GroupFenced": "1.0-7fb15a2488e9c556",
    "GroupRule": "1.0-acf25169e84f9f5b",
    "Guest": "1.0-ad72a2b3f62016bc",
    "HostConfirmed": "1.0-ae2e28c8db8a6af2",
    "HostConsumers": "1.1-fdb45965b3c228cd",
    "HostInventory": "1.2-e1034146e0edffde",
    "HostLost": "1.0-8356e9620e943b08",
    "HostNUMACell": "1.0-7a7118df2d634916",
    "HostPages": "1.0-7d5b413ee8782f48",
    "HostRemoved": "1.0-8356e9620e943b08",
    "HostReported": "1.3-3c2fb86908ece7fc",
    "HostScore": "1.0-2bb225e8a2d12cbc",
    "HostSeen": "1.0-60fa90786fabccf0",
    "HostStatus": "1.1-2bdbc1445ad270e3",
    "InstanceDeleted": "1.0-bdff401498346825",
    "InstanceStarted": "1.1-fa36c9d1c8f3bb18",
    "InstancesTracked": "1.0-605452bec5b05086",
    "Inventory": "1.0-55fdf7f50a2cc849",
    "LevelPinned": "1.0-855f284544a2b979",
    "LogOpened": "1.0-599747c33ac47593",
    "LogRebased": "1.1-0324a0e1bc6d6783",
    "LogRestored": "1.0-235cb82924f3f115",
    "NUMACellRequest": "1.0-5e0d4ba2652ea081",
    "NUMAMetric": "1.0-2b3bbeb3dbe1460e",
    "NUMARequest": "1.0-f8fe61b728760036",
    "NUMAUse": "1.0-44ef3926b27db535",
    "PCIPool": "1.0-d97610fcd1267d2e",
    "PCIRequest": "1.0-f83966ba0f0cea04",
    "PCIUse": "1.0-66c1caf0f61d42bf",
    "PolicyAdopted": "1.0-71c3e7fc09137767",
    "RequestRefused": "1.0-404b7a86120aba62",
    "Provider": "1.0-0af28689d90a81ca",
    "RefusalCount": "1.0-ac211820eec204e6",
    "ResourceAmount": "1.0-b49b678ec5b2cbeb",
    "ResourceGroup": "1.0-23ebc36d2b0ecfc7",
    "SchedulingRequest": "1.1-83375e2a1202c57c",
    "ServerGroupRequest": "1.0-62f700b60148beb1",
    "StateKept": "1.0-1b7c5772fc653d91",
    "TrackedInstance": "1.0-c2e3b4843840685c",
    "AggregatesPut": "1.0-7f77d31e65cc66a4",
    "AllocationsDropped": "1.0-a89e600c110a0500",
    "AllocationsPut": "1.0-db310a6c32b257ee",
    "AllocationsPrepared": "1.0-8388770066b44e8f",
    "WriteCommitted": "1.0-d548d992a2cb1b69",
    "WriteAborted": "1.0-d548d992a2cb1b69",
    "WriteEnded": "1.0-1f0e6a30a9d9a48a",
    "AuthorityPassed": "1.0-e1bcd37f462ed29a",
    "HostDisabled": "1.0-8356e9620e943b08",
    "HostEnabled": "1.0-60fa90786fabccf0",
    "ClaimTerms": "1.0-aaf5993c7b2aa8f4",
    "ClassCreated": "1.0-43cf3e9256bd8bd4",
    "ClassDeleted": "1.0-43cf3e9256bd8bd4",
    "ClassRenamed": "1.0-ca5d536bd92d3b15",
    "ConsumerImported": "1.0-ceaa78b6992e52d1",
    "ConsumerPut": "1.0-05aedc0aa16c2583",
    "InventoriesPut": "1.0-2d5815acc89241b0",
    "ProviderChanged": "1.0-d9e16597b13ad3e8",
    "ProviderCreated": "1.0-b6785b3717ef992e",
    "ProviderDeleted": "1.0-118bf596f5d368a8",
    "ProviderImported": "1.0-51dbfb541123a188",
    "ProviderInventories": "1.0-0712697bc7b7ad31",
    "ProvidersReported": "1.0-5e90454e6e98719c",
    "ReportedProviders": "1.0-5f19f0d691f41aa2",
    "Reshaped": "1.0-6abaf0afc1f35130",
    "TraitCreated": "1.0-43cf3e9256bd8bd4",
    "TraitDeleted": "1.0-43cf3e9256bd8bd4",
    "TraitsPut": "1.0-3795b2ee5c986642",
    "WeigherScore": "1.0-3ba1b745e535e65f",
}

SCHEDULER, CONDUCTOR, AGENT, OPERATOR, PLACEMENT = "scheduler", "conductor", "compute_agent", "operator", "placement"

#: Who may append what.
ROLES = {
    "LogOpened": {SCHEDULER, CONDUCTOR, AGENT, OPERATOR},
    "LogRestored": {OPERATOR},
    "LogRebased": {SCHEDULER, CONDUCTOR},
    "AccountsRequired": {SCHEDULER, CONDUCTOR, OPERATOR},
    "LevelPinned": {OPERATOR},
    "HostReported": {AGENT},
    "HostConfirmed": {AGENT},
    "HostLost": {CONDUCTOR},
    "HostSeen": {CONDUCTOR},
    "HostRemoved": {CONDUCTOR, AGENT},
    "InstancesTracked": {SCHEDULER},
    "ClaimProposed": {SCHEDULER, CONDUCTOR},
    "ClaimReleased": {SCHEDULER, CONDUCTOR},
    "ClaimExpired": {CONDUCTOR},
    "ClaimsWatched": {CONDUCTOR},
    "InstanceStarted": {AGENT},
    "InstanceDeleted": {AGENT},
    "AllocationMoved": {CONDUCTOR},
    "BuildFailed": {CONDUCTOR},
    "DecisionMade": {SCHEDULER},
    "DecisionCompared": {"shadow"},
    "PolicyAdopted": {SCHEDULER},
    "RequestRefused": {SCHEDULER},
    "AggregateUpdated": {SCHEDULER, OPERATOR},
    "AggregateDeleted": {SCHEDULER, OPERATOR},
    "GroupAnchored": {SCHEDULER},
    "GroupFenced": {SCHEDULER},
    "ProvidersReported": {AGENT},
    "AuthorityPassed": {OPERATOR},
    "HostDisabled": {OPERATOR},
    "HostEnabled": {OPERATOR},
    "ProviderCreated": {OPERATOR, PLACEMENT},
    "ProviderChanged": {OPERATOR, PLACEMENT},
    "ProviderDeleted": {OPERATOR, PLACEMENT},
    "InventoriesPut": {OPERATOR, PLACEMENT},
    "TraitsPut": {OPERATOR, PLACEMENT},
    "AggregatesPut": {OPERATOR, PLACEMENT},
    "AllocationsPut": {OPERATOR, PLACEMENT},
    "AllocationsDropped": {OPERATOR, PLACEMENT},
    "Reshaped": {OPERATOR, PLACEMENT},
    "AllocationsPrepared": {OPERATOR, PLACEMENT},
    "WriteCommitted": {OPERATOR, PLACEMENT},
    "WriteAborted": {OPERATOR, PLACEMENT},
    "WriteEnded": {OPERATOR, PLACEMENT},
    "ClassCreated": {OPERATOR, PLACEMENT},
    "ClassRenamed": {OPERATOR, PLACEMENT},
    "ClassDeleted": {OPERATOR, PLACEMENT},
    "TraitCreated": {OPERATOR, PLACEMENT},
    "TraitDeleted": {OPERATOR, PLACEMENT},
    "ProviderImported": {OPERATOR},
    "ConsumerImported": {OPERATOR},
    "StateKept": {SCHEDULER, CONDUCTOR, OPERATOR},
    "CheckpointNamed": {SCHEDULER, CONDUCTOR, OPERATOR},
}


def test_every_class_is_pinned():
    there = {name for name, cls in TABLE.items() if cls.__module__.startswith("rpc_api.")}
    new = {name: fingerprint(TABLE[name]) for name in sorted(there - set(FINGERPRINTS))}
    assert not new, f"new classes of what is sent: add {new} to FINGERPRINTS"
    assert set(FINGERPRINTS) == there, "logs hold classes that were removed from the code: bring them back"


@pytest.mark.parametrize("name", sorted(FINGERPRINTS))
def test_fingerprint_is_the_pinned_one(name):
    assert fingerprint(TABLE[name]) == FINGERPRINTS[name], (
        f"the fields of {name} were changed: give it another VERSION and say how the older form is read "
        "(docs/design), then write the new fingerprint here"
    )


def test_roles():
    roles = {name: set(cls.ROLES) for name, cls in EVENTS.items()}
    changed = {name: roles.get(name) for name in {*roles, *ROLES} if roles.get(name) != ROLES.get(name)}
    assert not changed, f"say who may append these, on purpose, in ROLES of this test: {changed}"


def test_roles_that_came_later():
    later = {name: cls.LATER_ROLES for name, cls in EVENTS.items() if cls.LATER_ROLES}
    of_tap_and_import = {CONDUCTOR: 3, OPERATOR: 3}
    assert later == {
        "HostReported": of_tap_and_import,
        "InstancesTracked": of_tap_and_import,
        "PolicyAdopted": {"shadow": 3},
        **{name: {OPERATOR: 3} for name in ("LogRebased", "HostRemoved", "ClaimReleased")},
    }


def test_what_is_no_event_has_no_role():
    assert {name for name, cls in TABLE.items() if cls.ROLES} == set(EVENTS)


@pytest.fixture
def made(monkeypatch):
    """Make a class of a name with given fields, as often as one likes; the table is as it was afterwards."""

    def make(name, version="1.0", **its_fields):
        cls = type(name, (schema.SchemaObject,), {"VERSION": version, "fields": its_fields})
        monkeypatch.setitem(TABLE, name, cls)
        return schema.register(cls)

    return make


SOME = {"a": fields.StringField(), "b": fields.IntegerField()}

CHANGES = {
    "the order of the fields": {"b": fields.IntegerField(), "a": fields.StringField()},
    "a name": {"a": fields.StringField(), "c": fields.IntegerField()},
    "a type": {"a": fields.StringField(), "b": fields.NonNegativeIntegerField()},
    "nullability": {"a": fields.StringField(nullable=True), "b": fields.IntegerField()},
    "a default": {"a": fields.StringField(), "b": fields.IntegerField(default=1)},
    "another default": {"a": fields.StringField(), "b": fields.IntegerField(default=2)},
    "a list": {"a": fields.ListOfStringsField(), "b": fields.IntegerField()},
    "a list of what may be nothing": {"a": fields.ListOfStringsField(nullable=True), "b": fields.IntegerField()},
    "a map": {"a": fields.DictOfStringsField(), "b": fields.IntegerField()},
    "a field more": {**SOME, "c": fields.IntegerField(default=0)},
    "a field less": {"a": fields.StringField()},
}


def test_each_change_of_a_class_changes_its_fingerprint(made):
    seen = {fingerprint(made("Probe", **SOME)): "as it was", fingerprint(made("Probe", "1.1", **SOME)): "the version"}
    for change, its_fields in CHANGES.items():
        print_ = fingerprint(made("Probe", **its_fields))
        assert print_ not in seen, f"{change} and {seen[print_]} have the same fingerprint"
        seen[print_] = change


@pytest.mark.parametrize(
    "holder",
    [fields.ObjectField("Inner"), fields.ListOfObjectsField("Inner"), schema.PackedObjectField("Inner")],
    ids=["nested", "in a list", "packed"],
)
def test_a_change_of_a_nested_class_changes_who_holds_it(made, holder):
    before, after = "1.0", "1.1"
    made("Inner", before, **SOME)
    first = fingerprint(made("Outer", inner=holder))
    made("Inner", after, **SOME)
    assert fingerprint(made("Outer", inner=holder)) != first


def test_a_field_without_a_default_may_not_follow_one_with(made):
    with pytest.raises(TypeError, match="a field without a default follows"):
        made("Probe", a=fields.StringField(default=""), b=fields.StringField())


def test_a_type_that_the_language_does_not_know_is_refused(made):
    with pytest.raises(TypeError, match="has no check"):
        made("Probe", a=fields.DateTimeField())
