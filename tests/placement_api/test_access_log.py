"""The access log: one line for each answer, where all other lines go."""

import json
import logging
import logging.handlers
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
def lines(access_log):
    return access_log


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


# --- files that are rotated -----------------------------------------------------------------------------------------


@pytest.fixture
def into(monkeypatch, tmp_path):
    """Write the access log with a handler for this file."""
    made = []

    def use(kind, **options):
        made.append(kind(tmp_path / "api.log", **options))
        monkeypatch.setattr(logging.root, "handlers", made[-1:])
        monkeypatch.setattr(logging.getLogger("placement_api.access"), "level", logging.INFO)
        return tmp_path / "api.log", set_up()

    yield use
    for handler in made:
        handler.close()


def test_a_file_that_logrotate_moves_is_opened_again(into):
    path, log = into(logging.handlers.WatchedFileHandler)
    log.write("before")
    moved = path.rename(path.with_suffix(".1"))
    log.write("after")
    assert "before" in moved.read_text() and "after" not in moved.read_text()
    assert "after" in path.read_text() and "before" not in path.read_text()


def test_a_file_that_logrotate_copies_and_truncates_begins_again(into):
    path, log = into(logging.handlers.WatchedFileHandler)
    log.write("before")
    path.write_bytes(b"")
    log.write("after")
    assert path.read_text().endswith("after\n") and path.read_bytes()[:1] != b"\0"


def test_a_handler_that_rotates_its_file_does_so(into):
    path, log = into(logging.handlers.RotatingFileHandler, maxBytes=1000, backupCount=3)
    for number in range(60):
        log.write(f"line {number:>50}")
    kept = [path, *(path.with_name(f"api.log.{number}") for number in (1, 2, 3))]
    assert all(0 < file.stat().st_size <= 1000 for file in kept)


def test_a_handler_for_warnings_gets_no_line(lines):
    logging.root.handlers[0].setLevel(logging.WARNING)
    set_up().write("a line")
    assert lines.getvalue() == ""
