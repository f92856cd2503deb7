"""The appender: what it does with a log that it cannot append to."""

import pytest

from rpc_api import codec, errors, events
from rpc_api.feed.publisher import Appender, Producer
from rpc_api.log import open_log
from tests.rpc_api.log.contract import PATIENCE_SECONDS
from tests.servers import wait_until

OLD, NEW = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"


class FailingLog:
    """A log to which the first appends fail."""

    url = "memory://failing"

    def __init__(self, *faults):
        self.faults = list(faults)
        self.appended = []

    def append(self, payloads):
        if self.faults:
            raise self.faults.pop(0)
        self.appended += payloads


@pytest.fixture
def appended():
    """Makes an appender to a log, and publishes one event; returns it and the ticket."""
    made = []

    def publish(log):
        made.append(Appender(log, OLD, "a test"))
        return made[-1], Producer(made[-1], "scheduler/test").publish(events.AggregateDeleted(OLD))

    yield publish
    for one in made:
        one.close(0.1)


def test_a_log_that_is_away_is_tried_again(appended):
    log = FailingLog(errors.LogUnavailable("away"), errors.LogUnavailable("away"))
    appender, ticket = appended(log)
    assert appender.wait(ticket, PATIENCE_SECONDS) and len(log.appended) == 1 and appender.fault is None


def test_a_log_that_was_deleted_is_left_to_whoever_begins_it_anew(appended):
    """Made again by another, it would begin with a record of the old epoch, and be taken for the old log."""
    gone = FailingLog(errors.LogGone("deleted"))
    appender, ticket = appended(gone)
    wait_until(lambda: appender.fault, PATIENCE_SECONDS, "no fault")
    assert not appender.wait(ticket, 0.5) and not gone.appended
    with open_log("memory://test-publisher-begun-anew") as anew:
        appender.use(anew, NEW)
        assert appender.wait(ticket, PATIENCE_SECONDS)
        with anew.read_from(0) as reader:
            assert [codec.decode_record(record.payload).epoch for record in reader.read()] == [NEW]
    assert not gone.appended
