"""The type stubs of the event classes are what the schemas say, and are installed with the packages."""

import tomllib
from pathlib import Path

import pytest
from oslo_versionedobjects import fields

from rpc_api import stubs
from rpc_api.events.fields import AmountField
from rpc_api.events.schema import PackedObjectField

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("path", stubs.STUBS)
def test_a_stub_is_what_the_schemas_say(path):
    written = (stubs.ROOT / path).read_text()
    assert written == stubs.STUBS[path](), (
        f"rpc_api/{path} is not what the schemas say, wanted what `{stubs.COMMAND}` writes; run it and commit"
    )


@pytest.mark.parametrize(
    "field, written",
    [
        (fields.UUIDField(), "str"),
        (fields.IntegerField(nullable=True), "int | None"),
        (AmountField(), "int"),
        (fields.ListOfListsOfStringsField(), "tuple[tuple[str, ...], ...]"),
        (fields.DictOfNullableStringsField(), "dict[str, str | None]"),
        (fields.Field(fields.List(fields.Dict(fields.String(), nullable=True))), "tuple[dict[str, str | None], ...]"),
        (fields.ListOfObjectsField("Consumer"), "tuple[Consumer, ...]"),
        (PackedObjectField("Guest", nullable=True), "bytes | None"),
    ],
)
def test_the_type_of_a_field_is_that_of_its_frozen_value(field, written):
    assert stubs.type_of(field) == written


def test_a_kind_of_field_without_a_type_is_named():
    with pytest.raises(TypeError, match="DateTime has no Python type"):
        stubs.type_of(fields.DateTimeField())


def test_types_are_installed_with_each_top_level_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = [name.removesuffix("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]]
    assert set(project["tool"]["setuptools"]["package-data"]["*"]) >= {"py.typed", "*.pyi"}
    assert [name for name in packages if not (ROOT / name / "py.typed").exists()] == []
