"""Errors on the wire: what oslo.messaging makes of them must be what it makes of Nova's."""

import json
import sys

import pytest
from oslo_messaging._drivers import common

from rpc_api import nova_exception
from tests.rpc_api.objects.samples import CAPTURED

#: Class, arguments, message, code; the messages are Nova's.
TABLE = [
    ("NoValidHost", {"reason": "r"}, "No valid host was found. r", 500),
    ("NoValidHost", {"reason": ""}, "No valid host was found. ", 500),
    ("NoValidHost", {"reason": "{braces} %(percent)s"}, "No valid host was found. {braces} %(percent)s", 500),
    ("MaxRetriesExceeded", {"reason": "r"}, "Exceeded maximum number of retries. r", 500),
    ("ServiceUnavailable", {"reason": "r"}, "Service is unavailable at this time. r", 500),
    ("ComputeServiceUnavailable", {"reason": "r"}, "Service is unavailable at this time. r", 500),
    ("RequestFilterFailed", {"reason": "r"}, "Scheduling failed: r", 500),
    ("UnsupportedPolicyException", {"reason": "r"}, "ServerGroup policy is not supported: r", 400),
    (
        "AllocationUpdateFailed",
        {"consumer_uuid": "u", "error": "e"},
        "Failed to update allocations for consumer u. Error: e",
        500,
    ),
]


def on_the_wire(error):
    try:
        raise error
    except Exception:
        return json.loads(common.serialize_remote_exception(sys.exc_info()))


@pytest.mark.parametrize("name, arguments, message, code", TABLE)
def test_error_on_the_wire(name, arguments, message, code):
    failure = on_the_wire(getattr(nova_exception, name)(**arguments))
    failure.pop("tb")
    assert failure == {
        "class": name,
        "module": "nova.exception",
        "message": message,
        "args": [message],
        "kwargs": {**arguments, "code": code},
    }


def test_error_is_the_captured_one():
    captured = json.loads(CAPTURED["no_valid_host_reply"]["failure"])
    failure = on_the_wire(nova_exception.NoValidHost(reason=captured["kwargs"]["reason"]))
    assert list(failure) == list(captured)
    assert {**failure, "tb": []} == captured


def test_error_is_made_again_as_a_receiver_does():
    error = nova_exception.NoValidHost("the whole message", reason="r", code=500)
    assert (str(error), error.kwargs) == ("the whole message", {"reason": "r", "code": 500})


def test_retries_are_no_valid_host():
    assert issubclass(nova_exception.MaxRetriesExceeded, nova_exception.NoValidHost)


def test_every_class_says_the_same_module():
    classes = [
        thing for thing in vars(nova_exception).values() if isinstance(thing, type) and issubclass(thing, Exception)
    ]
    assert {cls.__name__ for cls in classes} == {name for name, *_ in TABLE} | {"NovaException"}
    assert {cls.__module__ for cls in classes} == {"nova.exception"}
