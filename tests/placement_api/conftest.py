"""What tests of several parts of the API use."""

import io
import logging

import pytest


@pytest.fixture
def access_log(monkeypatch):
    """The stream of a handler to which the lines of a process go."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    # Other tests of the process may have switched on debug lines.
    handler.setLevel(logging.INFO)
    monkeypatch.setattr(logging.root, "handlers", [handler])
    monkeypatch.setattr(logging.getLogger("placement_api.access"), "level", logging.INFO)
    return stream
