"""Requests that no log would take are refused before they are written, and what a log does take is."""

import tracemalloc

import pytest

from placement_api import http_errors, versions
from placement_api.region import Region
from tests.placement_api.client import client_of, holding, inventory
from tests.placement_api.regions import uuid_of

A, B, FIRST = uuid_of("a"), uuid_of("b"), uuid_of("first")
#: More than 2^62, and so large that only a Python integer has it.
RATIOS = (1e19, 1e30)


@pytest.fixture
def region():
    region = Region.in_memory()
    for name in ("a", "b"):
        client_of(region).provider(name, uuid_of(name), VCPU=10)
    yield region
    region.close()


def twice(uuid, value):
    """Something by a uuid in two forms."""
    return {uuid: value, uuid.upper(): value}


ONE = {"resources": {"VCPU": 1}}
HOLDING = holding(None, {A: {"VCPU": 1}})
INVENTORIES = {"resource_provider_generation": 1, "inventories": {"VCPU": inventory(10)}}


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", "/resource_providers", {"name": ""}, "name"),
        ("PUT", f"/resource_providers/{A}", {"name": ""}, "name"),
        ("PUT", f"/allocations/{FIRST}", {**HOLDING, "allocations": twice(A, ONE)}, f"{A} is named twice"),
        ("POST", "/allocations", twice(FIRST, HOLDING), f"{FIRST} is named twice"),
        ("POST", "/allocations", {FIRST: {**HOLDING, "allocations": twice(A, ONE)}}, f"{A} is named twice"),
        ("POST", "/reshaper", {"inventories": twice(A, INVENTORIES), "allocations": {}}, f"{A} is named twice"),
        (
            "POST",
            "/reshaper",
            {"inventories": {A: INVENTORIES}, "allocations": twice(FIRST, HOLDING)},
            f"{FIRST} is named twice",
        ),
    ],
)
def test_a_request_that_no_log_takes_is_not_written(region, method, path, body, said):
    (projection,) = region.projections()
    before = projection.position
    answer = client_of(region).ask(method, path, body)
    assert (answer.status, said in answer.detail) == (400, True), answer.detail
    region.fence()
    assert (projection.position, projection.counts["set-aside"]) == (before, 0)


@pytest.mark.parametrize("ratio", RATIOS)
def test_any_ratio_is_taken_in_each_way(region, ratio):
    client, large = client_of(region), inventory(1, allocation_ratio=ratio)
    path = f"/resource_providers/{A}/inventories"
    body = {"resource_provider_generation": 1, "inventories": {"VCPU": large}}
    assert client.ask("PUT", path, body).status == 200
    assert client.ask("POST", path, {"resource_class": "MEMORY_MB", **large}).status == 201
    reshape = {B: {"resource_provider_generation": 1, "inventories": {"VCPU": large}}}
    assert client.ask("POST", "/reshaper", {"inventories": reshape, "allocations": {}}).status == 204
    for uuid in (A, B):
        found = client.do("GET", f"/resource_providers/{uuid}/inventories")["inventories"]
        assert found["VCPU"]["allocation_ratio"] == ratio
        assert client.put(uuid_of(f"of {uuid}"), None, {uuid: {"VCPU": 2**31 - 1}}).status == 204
    found = client.do("GET", "/allocation_candidates?resources=VCPU:5")
    assert found["provider_summaries"].keys() == {A, B}


def test_long_version_headers_are_not_kept():
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(100):
            header = ", ".join([f"compute 2.{number}"] * 2000 + ["placement 1.39"])
            assert versions.wanted(header) == (1, 39)
        with pytest.raises(http_errors.NotAcceptable):
            versions.wanted("compute 2.1, " * 2000 + "placement 1.99")
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 500_000
