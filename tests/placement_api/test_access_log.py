"""The access log: one line for each answer, where all other lines go."""

import io
import json
import logging
import re

import pytest
from oslo_log import formatters

from placement_api.access_log import set_up
from placement_api.region import Region
from tests.placement_api.client import client_of
from tests.placement_api.regions import uuid_of

LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \d+ INFO placement_api\.access "
    r"(?P<text>.*) \d+\.\d{3} (?P<id>req-[0-9a-f-]+) (?P<user>\S+)\n"
)


@pytest.fixture
def client():
    region = Region.in_memory()
    yield client_of(region)
    region.close()


@pytest.fixture
def lines(monkeypatch):
    """The stream of a handler to which the lines of a process go."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    # Other tests of the process may have switched on debug lines.
    handler.setLevel(logging.INFO)
    monkeypatch.setattr(logging.root, "handlers", [handler])
    monkeypatch.setattr(logging.getLogger("placement_api.access"), "level", logging.INFO)
    return stream


@pytest.mark.parametrize(
    "path, shown",
    [
        ("/traits?name=in:A", "GET /traits?name=in:A 200 14 1.39"),
        (f"/resource_providers/{uuid_of('none')}", f"GET /resource_providers/{uuid_of('none')} 404 "),
        ("/a%20b%0Ac", "GET /a%20b%0Ac 404 "),
        ("/%C3%BC", "GET /%C3%BC 404 "),
    ],
)
def test_a_line(client, lines, path, shown):
    answer = client.ask("GET", path)
    found = LINE.fullmatch(lines.getvalue())
    assert found and found["text"].startswith(f"- {shown}"), lines.getvalue()
    assert (found["id"], found["user"]) == (answer.headers["x-openstack-request-id"], "admin")


def test_it_can_be_switched_off(client, lines, monkeypatch):
    monkeypatch.setattr(logging.getLogger("placement_api.access"), "level", logging.WARNING)
    client.do("GET", "/traits")
    assert lines.getvalue() == ""


def test_a_program_gets_a_record(client, lines):
    logging.root.handlers[0].setFormatter(formatters.JSONFormatter())
    client.do("GET", "/traits")
    found = json.loads(lines.getvalue())
    assert found["name"] == "placement_api.access" and " GET /traits 200 " in found["message"]


def test_a_stream_that_cannot_be_written_stops_nothing(client, lines, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    lines.close()
    assert client.ask("GET", "/traits").status == 200
    set_up().write("once more")
