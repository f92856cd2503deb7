"""The description of the API: it is valid, and complete beside the table of routes."""

import re

import openapi_spec_validator
import pytest

from placement_api import openapi, routes, versions

#: Microversions at which a form or a route changes, and those beside them.
MINORS = (0, 1, 6, 7, 11, 12, 13, 16, 19, 20, 25, 28, 30, 33, 34, 36, 38, 39)
METHODS = ("get", "post", "put", "delete")


def operations(described):
    return {
        (path, method): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    }


@pytest.mark.parametrize("minor", MINORS)
def test_the_description_of_each_microversion_is_valid(minor):
    openapi_spec_validator.validate(openapi.describe((1, minor)))


@pytest.mark.parametrize("minor", MINORS)
def test_each_route_of_a_microversion_is_described_and_no_other(minor):
    wanted = {
        (path, method.lower())
        for path, methods in routes.ROUTES.items()
        for method, route in methods.items()
        if (1, minor) >= route.since
    }
    assert operations(openapi.describe((1, minor))).keys() == wanted


def test_what_takes_json_has_a_body():
    found = operations(openapi.describe())
    for path, methods in routes.ROUTES.items():
        for method, route in methods.items():
            assert ("requestBody" in found[path, method.lower()]) == route.takes_json, (path, method)


def test_a_class_is_renamed_by_a_body_before_microversion_1_7():
    renames, creates = (
        operations(openapi.describe(version))["/resource_classes/{name}", "put"] for version in ((1, 6), (1, 7))
    )
    assert "requestBody" in renames and "requestBody" not in creates
    assert "200" in renames["responses"] and "200" not in creates["responses"]


def test_ids_of_operations_are_unique():
    ids = [operation["operationId"] for operation in operations(openapi.describe()).values()]
    assert len(set(ids)) == len(ids)


def test_patterns_are_those_of_json_schema():
    text = openapi.text()
    assert r"\\Z" not in text and "_]+$" in text
    assert all(re.compile(pattern) for pattern in re.findall(r'"pattern": "([^"]*)"', text))


def test_a_client_may_name_each_microversion_that_is_described():
    for text in versions.VERSIONS:
        version = tuple(map(int, text.split(".")))
        parameter = openapi.describe(version)["components"]["parameters"]["microversion"]
        assert [versions.wanted(name) for name in parameter["schema"]["enum"]] == [version]
