"""Our schemas of bodies and query strings, and our rules of the policy, beside those of the real Placement.

Each valid instance is changed in one place after another: a key goes or comes, or a value becomes one of many others.
Both sides must accept the same of all these.
"""

import json
from importlib import import_module

import pytest

from placement_api import policies
from tests.against_nova.conftest import running_peer

pytestmark = pytest.mark.nova

UUID, OTHER = "5662942e-497f-4a54-8257-dcbb3fa3e5f4", "9D5C9D9F-3B1E-4A7E-8B44-1A1F3B1E4A7E"
VALUES = (
    None, True, "", "x", "VCPU", "CUSTOM_A", "custom_a", "all", "unknown", "allx", "0", "1", "01", "none", UUID, OTHER,
    UUID.replace("-", ""), f"{{{UUID}}}", f"urn:uuid:{UUID}", UUID[:-1], "a" * 64, "A" * 200, "A" * 201, "A" * 255,
    "A" * 256, "CUSTOM_" + "A" * 249, 0, 1, -1, 1.0, 1.5, -0.5, 2**31 - 1, 2**31, 3.4e38, 3.5e38, [], ["x"], [UUID],
    [UUID, UUID], [OTHER, UUID.replace("-", "")], {}, {"x": 1},
)  # fmt: skip
KEYS = (
    "x", "name", "uuid", "generation", "consumer_generation", "resource_provider_generation", "mappings",
    "consumer_type", "project_id", "parent_provider_uuid", "limit", "required", "member_of", "in_tree", "resources",
    "resources0", "resources1", "resources01", "required1x", "resources_a", "in_tree-1", "resources@", "group_policy",
    "root_required", "same_subtree", "VCPU", "vcpu", OTHER, UUID.replace("-", ""),
)  # fmt: skip

_INVENTORY = {"total": 8, "reserved": 1, "min_unit": 1, "max_unit": 8, "step_size": 1, "allocation_ratio": 1.5}
_OWNED = {"project_id": "p", "user_id": "u"}
_OLD = {"allocations": [{"resource_provider": {"uuid": UUID}, "resources": {"VCPU": 1}}]}
_NEW = {"allocations": {UUID: {"generation": 1, "resources": {"VCPU": 1}}}, **_OWNED}
_GUARDED = {**_NEW, "consumer_generation": None}
_MAPPED = {**_GUARDED, "mappings": {"_a": [UUID], "": [UUID]}}
_TYPED = {**_MAPPED, "consumer_type": "INSTANCE"}
_ALL = {"resource_provider_generation": 1, "inventories": {"VCPU": _INVENTORY}}

#: (our module, our validators, microversion, Placement's module, Placement's schema, a valid instance)
CASES = [
    ("aggregates", "PUT", (1, 1), "aggregate", "PUT_AGGREGATES_SCHEMA_V1_1", [UUID, OTHER]),
    ("aggregates", "PUT", (1, 18), "aggregate", "PUT_AGGREGATES_SCHEMA_V1_1", [UUID, OTHER]),
    ("aggregates", "PUT", (1, 19), "aggregate", "PUT_AGGREGATES_SCHEMA_V1_19",
     {"aggregates": [UUID], "resource_provider_generation": 1}),
    ("traits", "CUSTOM_NAME", (1, 6), "trait", "CUSTOM_TRAIT", "CUSTOM_A"),
    ("traits", "PUT_OF_PROVIDER", (1, 39), "trait", "SET_TRAITS_FOR_RP_SCHEMA",
     {"traits": ["CUSTOM_A"], "resource_provider_generation": 1}),
    ("traits", "LIST", (1, 6), "trait", "LIST_TRAIT_SCHEMA", {"name": "in:A", "associated": "true"}),
    ("resource_classes", "POST", (1, 2), "resource_class", "POST_RC_SCHEMA_V1_2", {"name": "CUSTOM_A"}),
    ("resource_classes", "PUT", (1, 7), "resource_class", "PUT_RC_SCHEMA_V1_2", {"name": "CUSTOM_A"}),
    ("resource_providers", "POST", (1, 0), "resource_provider", "POST_RESOURCE_PROVIDER_SCHEMA",
     {"name": "a", "uuid": UUID}),
    ("resource_providers", "POST", (1, 14), "resource_provider", "POST_RP_SCHEMA_V1_14",
     {"name": "a", "uuid": UUID, "parent_provider_uuid": UUID}),
    ("resource_providers", "PUT", (1, 13), "resource_provider", "PUT_RESOURCE_PROVIDER_SCHEMA", {"name": "a"}),
    ("resource_providers", "PUT", (1, 39), "resource_provider", "PUT_RP_SCHEMA_V1_14",
     {"name": "a", "parent_provider_uuid": UUID}),
    ("resource_providers", "LIST", (1, 2), "resource_provider", "GET_RPS_SCHEMA_1_0", {"name": "a", "uuid": UUID}),
    ("resource_providers", "LIST", (1, 3), "resource_provider", "GET_RPS_SCHEMA_1_3", {"name": "a", "uuid": UUID}),
    ("resource_providers", "LIST", (1, 4), "resource_provider", "GET_RPS_SCHEMA_1_4", {"name": "a", "uuid": UUID}),
    ("resource_providers", "LIST", (1, 17), "resource_provider", "GET_RPS_SCHEMA_1_14", {"in_tree": UUID}),
    ("resource_providers", "LIST", (1, 18), "resource_provider", "GET_RPS_SCHEMA_1_18",
     {"in_tree": UUID, "required": "A"}),
    ("inventories", "POST", (1, 0), "inventory", "POST_INVENTORY_SCHEMA", {"resource_class": "VCPU", **_INVENTORY}),
    ("inventories", "PUT_ONE", (1, 0), "inventory", "BASE_INVENTORY_SCHEMA",
     {"resource_provider_generation": 1, **_INVENTORY}),
    ("inventories", "PUT_ALL", (1, 0), "inventory", "PUT_INVENTORY_SCHEMA", _ALL),
    ("usages", "LIST", (1, 9), "usage", "GET_USAGES_SCHEMA_1_9", {"project_id": "p", "user_id": "u"}),
    ("usages", "LIST", (1, 38), "usage", "GET_USAGES_SCHEMA_V1_38",
     {"project_id": "p", "user_id": "u", "consumer_type": "all"}),
    *[("allocation_candidates", "LIST", (1, version), "allocation_candidate", f"GET_SCHEMA_1_{schema}",
       {"resources": "VCPU:1"})
      for version, schema in ((10, 10), (15, 10), (16, 16), (17, 17), (20, 17), (21, 21), (24, 21), (25, 25), (30, 25),
                              (31, 31), (32, 31), (33, 33), (35, 35), (36, 36), (39, 36))],
    ("allocations", "PUT", (1, 0), "allocation", "ALLOCATION_SCHEMA", _OLD),
    ("allocations", "PUT", (1, 8), "allocation", "ALLOCATION_SCHEMA_V1_8", {**_OLD, **_OWNED}),
    ("allocations", "PUT", (1, 12), "allocation", "ALLOCATION_SCHEMA_V1_12", _NEW),
    ("allocations", "PUT", (1, 28), "allocation", "ALLOCATION_SCHEMA_V1_28", _GUARDED),
    ("allocations", "PUT", (1, 34), "allocation", "ALLOCATION_SCHEMA_V1_34", _MAPPED),
    ("allocations", "PUT", (1, 38), "allocation", "ALLOCATION_SCHEMA_V1_38", _TYPED),
    ("allocations", "POST", (1, 13), "allocation", "POST_ALLOCATIONS_V1_13", {UUID: _NEW}),
    ("allocations", "POST", (1, 28), "allocation", "POST_ALLOCATIONS_V1_28", {UUID: _GUARDED}),
    ("allocations", "POST", (1, 37), "allocation", "POST_ALLOCATIONS_V1_34", {UUID: _MAPPED}),
    ("allocations", "POST", (1, 38), "allocation", "POST_ALLOCATIONS_V1_38", {UUID: _TYPED}),
    ("reshaper", "POST", (1, 30), "reshaper", "POST_RESHAPER_SCHEMA",
     {"inventories": {UUID: _ALL}, "allocations": {UUID: _GUARDED}}),
    ("reshaper", "POST", (1, 34), "reshaper", "POST_RESHAPER_SCHEMA_V1_34",
     {"inventories": {UUID: _ALL}, "allocations": {UUID: _MAPPED}}),
    ("reshaper", "POST", (1, 38), "reshaper", "POST_RESHAPER_SCHEMA_V1_38",
     {"inventories": {UUID: _ALL}, "allocations": {UUID: _TYPED}}),
]  # fmt: skip


@pytest.fixture(scope="module")
def peer():
    """The schemas and rules of the real Placement."""
    yield from running_peer("placement", "placement_schemas.py")


def changed(instance):
    """The instance, changed in one place in each way."""
    yield from VALUES
    if isinstance(instance, dict):
        for key, value in instance.items():
            yield {other: kept for other, kept in instance.items() if other != key}
            for new in changed(value):
                yield {**instance, key: new}
        for key in KEYS:
            for value in ("x", 1, instance[next(iter(instance))]):
                yield {**instance, key: value}
    elif isinstance(instance, list):
        for number, value in enumerate(instance):
            for new in changed(value):
                yield [*instance[:number], new, *instance[number + 1 :]]


def differs_on_purpose(ours, instance):
    """Placement does not look at an inventory under a name that no class can have, and then fails (500). Its pattern of
    a consumer type accepts each text that begins with "all". It takes a provider without a name."""
    module, name, *_ = ours
    if module == "resource_providers" and name in ("POST", "PUT") and isinstance(instance, dict):
        return instance.get("name") == ""
    if module == "usages" and isinstance(instance, dict):
        return instance.get("consumer_type") == "allx"
    if (module, name) == ("inventories", "PUT_ALL") or module == "reshaper":
        return any(
            not key.replace("_", "").isalnum() or key != key.upper()
            for every in _inventories(instance)
            for key in every
        )
    return False


def _inventories(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "inventories" and isinstance(inner, dict):
                yield inner
            yield from _inventories(inner)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2][0]}.{case[2][1]}")
def test_the_same_instances_are_accepted(peer, case):
    module, name, version, their_module, schema, valid = case
    validator = getattr(import_module(f"placement_api.schemas.{module}"), name).find(version)
    is_query = name == "LIST"
    instances = [valid, *changed(valid)]
    if is_query:
        # All values of a query string are texts.
        instances = [each for each in instances if isinstance(each, dict)]
        instances = [each for each in instances if all(isinstance(value, str) for value in each.values())]
    theirs = peer.ask("accepted", their_module, schema, [json.dumps(each) for each in instances], is_query)["answer"]
    assert theirs[0] and len(set(theirs)) == 2
    different = [
        (each, "Placement" if accepted else "we")
        for each, accepted in zip(instances, theirs, strict=True)
        if validator.accepts(json.loads(json.dumps(each))) != accepted and not differs_on_purpose(case, each)
    ]
    assert different == []


def test_the_rules_of_the_policy_are_those_of_placement(peer):
    ours = [
        [
            rule.name,
            rule.check_str,
            rule.scope_types,
            getattr(rule, "operations", None),
            rule.deprecated_rule and [rule.deprecated_rule.name, rule.deprecated_rule.check_str],
        ]
        for rule in policies.list_rules()
    ]
    assert sorted(ours, key=str) == sorted(peer.ask("rules")["answer"], key=str)
