"""Faults outside of the routes: what the web server is given."""

import json

import pytest

from placement_api import middleware
from placement_api.http_errors import HTTPError

STARTED = ("200 OK", [("Content-Type", "application/json")])


def answered(application):
    """(Arguments of each start_response, body) of an application behind the middleware for faults."""
    calls = []
    body = middleware.faults(application)({"REQUEST_METHOD": "GET"}, lambda *arguments: calls.append(arguments))
    return calls, json.loads(b"".join(body))["errors"][0]


@pytest.mark.parametrize("fault, detail", [(HTTPError("too much"), "too much"), (KeyError("secret"), "The server has")])
def test_a_fault_before_the_answer_is_no_exception_to_the_server(fault, detail):
    """uWSGI sends nothing if start_response is given an exception before anything else."""

    def application(environ, start_response):
        raise fault

    ((status, _, exc_info),), error = answered(application)
    assert status.startswith("500") and exc_info is None
    assert error["detail"].startswith(detail) and "secret" not in error["detail"]


def test_a_fault_after_the_answer_was_begun_is_passed_on():
    """So the server can tell whether something was sent already."""

    def application(environ, start_response):
        start_response(*STARTED)
        raise ValueError

    (first, (status, _, exc_info)), _ = answered(application)
    assert first == STARTED and status.startswith("500") and exc_info[0] is ValueError
