"""A log on a cluster whose nodes have not all the same: a replica that is missing, or behind."""

import pytest

from rpc_api import errors
from rpc_api.log import Bounds, open_log
from tests.conftest import running
from tests.rpc_api.log.contract import read_all
from tests.servers import RabbitCluster, wait_until

pytestmark = [pytest.mark.rabbit, pytest.mark.long]

SECONDS_MAX = 60.0


@pytest.fixture(scope="module")
def cluster():
    yield from running(RabbitCluster)


@pytest.fixture
def stream(request):
    return request.node.name


@pytest.fixture
def log(cluster, stream):
    with open_log(cluster.nodes[0].url(stream)) as log:
        log.append([b"%d" % number for number in range(10)])
        cluster.wait_replicated(stream)
        yield log


@pytest.fixture
def bare(cluster, stream, log):
    """A node that has no replica."""
    node = cluster.nodes[2]
    cluster.nodes[0].rabbitmq_streams("delete_replica", stream, node.node)
    return node


def test_a_node_without_a_replica_is_passed_over(cluster, stream, bare):
    with open_log(cluster.url(stream, first=bare), create=False) as log:
        log.append([b"10"])
        wait_until(lambda: log.bounds() == Bounds(0, 10), SECONDS_MAX, "the bounds are not those of the other nodes")
        with log.read_from(0) as reader:
            assert len(read_all(reader, 11)) == 11


def test_a_reader_whose_replica_is_deleted_goes_on_elsewhere(cluster, stream, log, monkeypatch):
    monkeypatch.setattr("rpc_api.log.rabbit_reader.SILENCE_SECONDS", 1.0)
    node = cluster.nodes[2]
    with open_log(cluster.url(stream, first=node), create=False) as elsewhere, elsewhere.read_from(0) as reader:
        assert len(read_all(reader, 10)) == 10
        cluster.nodes[0].rabbitmq_streams("delete_replica", stream, node.node)
        append_at_last(log, [b"10"])
        assert [one[:2] for one in read_all(reader, 1, max_records=1)] == [(10, b"10")]


def test_a_replica_that_is_behind_is_passed_over(cluster, stream, log, bare):
    """It is added, and has to catch up with 300 MB: its own bounds are behind all the while."""
    for _ in range(60):
        append_at_last(log, [bytes(100_000)] * 50)
    end = log.bounds().last
    cluster.nodes[0].rabbitmq_streams("add_replica", stream, bare.node)
    looks = 0
    with (
        open_log(bare.url(stream), create=False) as alone,
        open_log(cluster.url(stream, first=bare), create=False) as elsewhere,
    ):
        while last_of(alone) < end:
            looks += 1
            assert elsewhere.bounds() == Bounds(0, end)
            with elsewhere.read_from(end + 1), elsewhere.read_from(end) as reader:
                assert len(read_all(reader, 1)) == 1
    assert looks, "the replica was never behind: more records are wanted here"


def append_at_last(log, payloads) -> None:
    """Append, again if need be: where a replica is deleted the stream elects a leader,
    and what was under way is lost."""

    def append():
        try:
            log.append(payloads)
        except errors.LogUnavailable:
            return False
        return True

    wait_until(append, SECONDS_MAX, "nothing can be appended")


def last_of(log) -> int:
    """Its last position as far as it can be read; -1 where it cannot."""
    try:
        return log.bounds().last
    except errors.LogUnavailable:
        return -1
