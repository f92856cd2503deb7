"""The payloads of our notifications are those of nova-scheduler."""

import json

import pytest

from rpc_api.objects import payloads
from rpc_api.objects.request_spec import RequestSpec
from tests.against_nova.conftest import running_peer
from tests.end_to_end.every_field import whole
from tests.rpc_api.objects.samples import captured_request_spec

pytestmark = pytest.mark.nova


@pytest.fixture(scope="module")
def nova():
    yield from running_peer("nova", "nova_payloads.py")


@pytest.mark.parametrize("primitive", [captured_request_spec(), whole()], ids=["captured", "every field"])
def test_a_request(nova, primitive):
    answered = nova.ask("payloads", primitive)
    assert "error" not in answered, answered
    spec = RequestSpec.obj_from_primitive(primitive)
    found = json.loads(json.dumps([payloads.versioned(spec), payloads.unversioned(spec)]))
    assert _sorted(found[0]) == _sorted(answered["answer"][0])
    legacy = found[1]["request_spec"]
    legacy["instance_type"] = sorted(legacy["instance_type"])
    legacy["image"] = bool(legacy["image"])
    legacy["instance_properties"] = {
        name: "an object" if isinstance(value, (dict, list)) else value
        for name, value in legacy["instance_properties"].items()
    }
    assert found[1] == answered["answer"][1]


def _sorted(value):
    """Sets have any order on the wire."""
    if isinstance(value, dict):
        return {name: _sorted(item) for name, item in value.items() if name != "nova_object.changes"}
    if isinstance(value, list):
        return sorted(map(_sorted, value), key=str)
    return value
