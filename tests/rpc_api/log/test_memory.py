"""The memory back-end: the contract, and what only it has."""

import itertools

import pytest

from rpc_api import errors
from rpc_api.log import open_log
from tests.rpc_api.log.contract import EventLogContract

_names = itertools.count()


@pytest.fixture
def url():
    return f"memory://test-{next(_names)}"


class TestMemoryLog(EventLogContract):
    can_truncate = True


def test_a_deleted_log_is_a_gap_for_its_readers_and_its_name_is_free(url):
    log = open_log(url)
    log.append([b"old"])
    reader = log.read_from(0)
    log.delete()
    with pytest.raises(errors.LogGap, match="was deleted"):
        reader.read()
    with pytest.raises(errors.LogUnavailable, match="was deleted"):
        log.append([b"lost"])
    with pytest.raises(errors.LogUnavailable):
        open_log(url, create=False)
    assert open_log(url).bounds() == (0, -1)


@pytest.mark.parametrize("wrong", ["memory://", "memory:///name", "memory://name/path", "memory://name?option=1"])
def test_urls_of_another_form(wrong):
    with pytest.raises(errors.UsageError, match="wanted memory://NAME"):
        open_log(wrong)


@pytest.mark.parametrize(
    "wrong, shown",
    [
        ("amqp://user:secret@host/", "amqp://user:***@host/"),
        ("user:secret@host", "user:***@host"),
        ("", "''"),
        ("/a/path", "/a/path"),
    ],
)
def test_unknown_schemes_are_named_without_the_password(wrong, shown):
    with pytest.raises(errors.UsageError, match="wanted one of memory://, sqlite://, rabbit://") as caught:
        open_log(wrong)
    assert shown in str(caught.value) and "secret" not in str(caught.value)
