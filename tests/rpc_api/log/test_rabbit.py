"""The RabbitMQ back-end against a private broker: the contract, and what brokers and operators do to a stream."""

import itertools
import json
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import amqp
import pytest

from rpc_api import codec, errors, events
from rpc_api.feed.publisher import Appender
from rpc_api.log import Bounds, open_log, proving, rabbit_bounds
from rpc_api.proof import record_digest
from rpc_api.waiting import until_it_passes
from tests.faults.proxy import Proxy
from tests.rpc_api.log.contract import PATIENCE_SECONDS, EventLogContract, assert_hidden, bare, payloads, read_all
from tests.servers import RabbitServer, free_port, wait_until

pytestmark = pytest.mark.rabbit

_names = itertools.count()


@pytest.fixture
def stream():
    return f"log-{next(_names)}"


@pytest.fixture
def url(rabbit_server, stream):
    return rabbit_server.url(stream)


@pytest.fixture
def log(url):
    with open_log(url) as log:
        yield log


@pytest.fixture
def channel(rabbit_server):
    """A channel of an administrator beside the log, for what operators and strangers do."""
    with amqp.Connection(
        f"{rabbit_server.host}:{rabbit_server.port}", rabbit_server.user, rabbit_server.password
    ) as connection:
        yield connection.channel()


class TestRabbitLog(EventLogContract):
    pass


def close_connections(server) -> None:
    server.rabbitmqctl("close_all_connections", "a test")


def read_through_outage(reader, count: int) -> list:
    """As ``read_all``, reading again when the log is away."""
    records = []
    outages = 0
    while len(records) < count and outages < 1000:
        try:
            records += reader.read(timeout=PATIENCE_SECONDS)
        except errors.LogUnavailable:
            outages += 1
    return records


def append_if_available(log, payload: bytes) -> bool:
    try:
        log.append([payload])
    except errors.LogUnavailable:
        return False
    return True


# Lost connections


def test_both_sides_go_on_when_the_broker_closes_their_connections(rabbit_server, log):
    with log.read_from(0) as reader:
        for number in range(3):
            log.append([b"%d" % number])
            assert bare(read_all(reader, 1)) == [(number, b"%d" % number)]
            close_connections(rabbit_server)


def test_a_waiting_read_goes_on_when_its_connection_is_closed(rabbit_server, log):
    log.append([b"before"])
    with log.read_from(0) as reader, ThreadPoolExecutor(1) as pool:
        assert read_all(reader, 1)
        waiting = pool.submit(reader.read, 10, PATIENCE_SECONDS)
        close_connections(rabbit_server)
        log.append([b"after"])
        assert bare(waiting.result(PATIENCE_SECONDS * 2)) == [(1, b"after")]


def test_a_reader_whose_consumer_ended_without_a_word_goes_on(log, monkeypatch):
    monkeypatch.setattr("rpc_api.log.rabbit_reader.SILENCE_SECONDS", 0.1)
    monkeypatch.setattr("rpc_api.log.rabbit_reader.DELIVERY_SECONDS", 0.1)
    log.append([b"before"])
    with log.read_from(0) as reader:
        assert read_all(reader, 1)
        session = reader._session
        session.channel.basic_cancel("from 0")
        assert reader.read(timeout=0.5) == [] and reader._session is session  # silence alone is not a fault
        log.append([b"after"])
        assert bare(read_through_outage(reader, 1)) == [(1, b"after")]


def test_nothing_is_skipped_or_repeated_while_connections_are_closed(rabbit_server, log):
    batches, batch = 60, 20
    enough = threading.Event()

    def write():
        for number in range(batches):
            try:
                log.append([b"%d" % (number * batch + index) for index in range(batch)])
            except errors.LogUnavailable:
                log.append([b"%d" % (number * batch + index) for index in range(batch)])
        enough.set()
        log.append([b"end"])

    def cut():
        while not enough.is_set():
            close_connections(rabbit_server)

    with log.read_from(0) as reader, ThreadPoolExecutor(2) as pool:
        writing, cutting = pool.submit(write), pool.submit(cut)
        seen = []
        while not seen or seen[-1].payload != b"end":
            seen += read_through_outage(reader, 1)
        writing.result(PATIENCE_SECONDS)
        # rabbitmqctl starts an Erlang node of its own each time, which takes long on a busy machine.
        cutting.result(6 * PATIENCE_SECONDS)
    assert [record.position for record in seen] == list(range(len(seen)))
    first_seen = list(dict.fromkeys(record.payload for record in seen))
    assert first_seen == [b"%d" % number for number in range(batches * batch)] + [b"end"]


def test_a_broker_that_is_killed_and_comes_back(rabbit_server, url, log):
    log.append(payloads(3))
    with log.read_from(0) as reader:
        assert len(read_all(reader, 3)) == 3
        rabbit_server.wait_kept()
        rabbit_server.kill()
        try:
            with pytest.raises(errors.LogUnavailable, match="[Cc]onnection|closed|reset"):
                reader.read(timeout=0.3)
            for use in (lambda: log.append([b"lost"]), log.bounds, lambda: open_log(url), lambda: log.read_from(0)):
                with pytest.raises(errors.LogUnavailable, match="refused; check that the broker runs"):
                    use()
        finally:
            rabbit_server.start()
        wait_until(lambda: append_if_available(log, b"after"), PATIENCE_SECONDS, "no append")
        records = read_through_outage(reader, 1)
        assert [record.payload for record in records] == [b"after"] and records[0].position >= 3


# A stream that is deleted or made again


def test_a_deleted_stream_is_never_made_again_behind_its_users(log, url, stream, channel):
    log.append(payloads(2))
    with log.read_from(0) as reader:
        assert len(read_all(reader, 2)) == 2
        channel.queue_delete(stream)
        with pytest.raises(errors.LogGap, match="the stream was deleted"):
            read_through_outage(reader, 1)
        with pytest.raises(errors.LogGone, match="create the log again"):
            log.append([b"lost"])
        with pytest.raises(errors.LogUnavailable, match="does not exist"):
            log.bounds()
        with open_log(url) as again:
            assert again.bounds() == Bounds(0, -1)
        with pytest.raises(errors.LogGap, match="the stream was deleted"):
            reader.read()


@pytest.mark.parametrize(
    "others",
    [payloads(2, start=100), payloads(5, start=100), [b"another", *payloads(1, start=1)]],
    ids=["as long as before", "longer than before", "with the same last record"],
)
def test_a_stream_made_again_is_a_gap_even_when_its_bounds_fit(log, url, stream, channel, others):
    log.append(payloads(2))
    with log.read_from(0) as reader:
        assert len(read_all(reader, 2)) == 2
        channel.queue_delete(stream)
        with open_log(url) as again:
            again.append(others)
        for _ in range(2):
            with pytest.raises(errors.LogGap, match="the record 0 is not the one that was read before"):
                read_through_outage(reader, 1)
            assert reader.position == 2


def test_a_stream_that_lost_its_binding_takes_nothing(log, stream, channel):
    channel.queue_unbind(stream, stream)
    with pytest.raises(errors.LogUnavailable, match="has no stream bound to it"):
        log.append([b"lost"])
    channel.queue_bind(stream, stream)
    log.append([b"x"])
    assert log.bounds() == Bounds(0, 0)


def test_an_exchange_that_is_gone_takes_nothing(log, stream, channel):
    channel.exchange_delete(stream)
    with pytest.raises(errors.LogUnavailable, match="no exchange"):
        log.append([b"lost"])
    assert log.bounds() == Bounds(0, -1)


def test_retention_drops_whole_segments_and_readers_notice(rabbit_server, stream, channel):
    declare_in_small_segments(channel, stream, {"x-max-length-bytes": 200_000})
    with open_log(rabbit_server.url(stream), create=False) as log:
        for number in range(20):
            append_numbered(log, number, 50)
        bounds = wait_until(lambda: log.bounds() if log.bounds().first else None, PATIENCE_SECONDS, "no truncation")
        for position in (0, bounds.first - 1):
            with pytest.raises(errors.PositionTruncated, match=f"its first record is {bounds.first}"):
                log.read_from(position)
        with log.read_from(bounds.first) as reader:
            numbers = [int(record.payload.split()[0]) for record in read_until(reader, bounds.last)]
        assert numbers == list(range(numbers[0], 1000)) and numbers[0] > 0


def test_the_offsets_that_a_broker_takes_for_itself_are_no_gap(rabbit_server, stream, channel):
    declare_in_small_segments(channel, stream)
    with open_log(rabbit_server.url(stream), create=False) as log, log.read_from(0) as following:
        followed = []
        for number in range(20):
            append_numbered(log, number, 50)
            followed += read_until(following, log.bounds().last)
        with log.read_from(0) as reader:
            records = read_until(reader, log.bounds().last)
        assert log.bounds().count > 1000, "the broker has no such offsets any more: the port may be stricter"
        assert records == followed
        assert [int(record.payload.split()[0]) for record in records] == list(range(1000))
        holes = sorted(set(range(log.bounds().last)) - {record.position for record in records})
        with log.read_from(holes[0]) as reader:
            assert read_all(reader, 1)[0].position == holes[0] + 1


def test_a_reader_that_retention_overtakes_gets_a_gap(rabbit_server, stream, channel):
    declare_in_small_segments(channel, stream, {"x-max-length-bytes": 200_000})
    with open_log(rabbit_server.url(stream), create=False) as log:
        append_numbered(log, 0, 50)
        with log.read_from(0) as reader:
            read = read_all(reader, 1, max_records=1)
            for number in range(1, 200):
                append_numbered(log, number, 50)
            with pytest.raises(errors.PositionTruncated, match="on from position .* its first record is"):
                while True:
                    read += reader.read(timeout=PATIENCE_SECONDS)
            numbers = [int(record.payload.split()[0]) for record in read]
            assert numbers == list(range(len(numbers)))


def test_a_reader_whose_last_record_was_removed_does_not_go_on(rabbit_server, log, monkeypatch):
    """The log may have lost its last records and have grown up to there again, with others in front."""
    log.append(payloads(3))
    with log.read_from(0) as reader:
        assert len(read_all(reader, 3)) == 3
        monkeypatch.setattr("rpc_api.log.rabbit_reader.find_bounds", lambda session: Bounds(3, 3))
        reader._session.interrupt()
        log.append([b"next"])
        with pytest.raises(
            errors.PositionTruncated, match="from position 3: its first record is 3, and the one before"
        ):
            reader.read(timeout=PATIENCE_SECONDS)


def declare_in_small_segments(channel, stream: str, arguments: dict | None = None) -> None:
    channel.exchange_declare(stream, "fanout", durable=True, auto_delete=False)
    channel.queue_declare(
        stream,
        durable=True,
        auto_delete=False,
        arguments={"x-queue-type": "stream", "x-stream-max-segment-size-bytes": 50_000, **(arguments or {})},
    )
    channel.queue_bind(stream, stream)


def append_numbered(log, batch: int, count: int) -> None:
    log.append([b"%d " % number + b"x" * 1000 for number in range(batch * count, (batch + 1) * count)])


def read_until(reader, last: int) -> list:
    """Read up to the record at position ``last``."""
    records = []
    while reader.position <= last:
        more = reader.read(timeout=PATIENCE_SECONDS)
        assert more, f"stopped at {reader.position} of {last}"
        records += more
    return records


def test_bounds_are_right_after_each_of_many_appends(log):
    expected = 0
    with ThreadPoolExecutor(1) as pool:
        for count in (1, 3, 700, 1, 1, 2500, 1):
            pool.submit(log.append, payloads(count)).result(PATIENCE_SECONDS)
            expected += count
            assert log.bounds() == Bounds(0, expected - 1)


def test_bounds_need_neither_the_broker_s_counter_nor_time(rabbit_server, monkeypatch):
    monkeypatch.setattr("rpc_api.log.rabbit_bounds.EMPTY_GRACE_SECONDS", 0)
    for _ in range(20):
        with open_log(rabbit_server.url(f"log-{next(_names)}")) as log:
            assert log.bounds() == Bounds(0, -1)
            log.append([b"x"])
            assert log.bounds() == Bounds(0, 0)


def test_an_idle_reader_keeps_its_connection_by_heartbeats(rabbit_server, log, monkeypatch):
    monkeypatch.setattr("rpc_api.log.rabbit_reader.HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr("rpc_api.log.rabbit_session.HEARTBEAT_SECONDS", 1)
    with log.read_from(0) as reader:
        session = reader._session
        assert reader.read(timeout=3.5) == []  # the broker gives up after two silent seconds
        assert reader._session is session


def test_bounds_beside_a_writer_are_never_beyond_the_end(log):
    with ThreadPoolExecutor(1) as pool, open_log(log_url(log), create=False) as other:
        writing = pool.submit(lambda: [log.append(payloads(5)) for _ in range(200)])
        last = -1
        while not writing.done():
            bounds = other.bounds()
            assert bounds.first == 0 and last <= bounds.last < 1000
            last = bounds.last
        assert other.bounds() == Bounds(0, 999)


def log_url(log) -> str:
    """The URL of ``log`` with its password, which the log does not give."""
    address = log._address
    return log.url.replace("***", address.password)


# Users and permissions


def test_a_user_who_may_only_read(rabbit_server, log, stream):
    rabbit_server.add_user("reader", "reads", read=".*")
    log.append(payloads(2))
    reader_url = rabbit_server.url(stream, user="reader", password="reads")
    with open_log(reader_url, create=False) as seen, seen.read_from(0) as reader:
        assert seen.bounds() == Bounds(0, 1)
        assert len(read_all(reader, 2)) == 2
        with pytest.raises(errors.LogUnavailable, match="access to exchange .* give the user 'reader' that perm"):
            seen.append([b"forbidden"])
        assert seen.bounds() == Bounds(0, 1)
    with open_log(reader_url) as seen:  # what it may not declare is there already
        assert seen.bounds() == Bounds(0, 1)


def test_a_log_that_our_user_may_not_create_is_waited_for(rabbit_server, channel, stream):
    rabbit_server.add_user("service", "serves", write=".*", read=".*")
    url = rabbit_server.url(stream, user="service", password="serves")
    wanted = f"stream '{stream}' does not exist, and .* 'service' may not create it .* create the log .*create-log"
    with pytest.raises(errors.LogGone, match=wanted):
        open_log(url)
    with open_log(rabbit_server.url(stream)), open_log(url) as log:
        log.append([b"x"])
        channel.queue_delete(stream)
        with pytest.raises(errors.LogGone, match=wanted):
            open_log(url)


def test_a_broker_that_starts_is_waited_for(rabbit_server, log, stream):
    """It knows the permissions earlier than its streams."""
    rabbit_server.add_user("service", "serves", write=".*", read=".*")
    url = rabbit_server.url(stream, user="service", password="serves")
    log.append(payloads(1))
    rabbit_server.wait_kept()
    rabbit_server.kill()
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(rabbit_server.start)
        with until_it_passes("the test waits", lambda: open_log(url), pause=lambda _: None) as again:
            starting.result()
            wait_until(lambda: append_if_available(again, b"after"), PATIENCE_SECONDS, "no append")


def test_a_user_who_may_only_append(rabbit_server, log, stream):
    rabbit_server.add_user("writer", "writes", write=".*")
    with open_log(rabbit_server.url(stream, user="writer", password="writes"), create=False) as written:
        written.append([b"x"])
        for read in (lambda: written.read_from(0), written.bounds):
            with pytest.raises(errors.LogForbidden, match="access to queue .* give the user 'writer' that perm"):
                read()
    assert log.bounds() == Bounds(0, 0)


@pytest.mark.parametrize("user, password", [("", "wr/ong@:%"), ("nobody", "wr/ong@:%")], ids=["password", "user"])
def test_refused_credentials_show_no_password(rabbit_server, stream, user, password):
    with pytest.raises(errors.LogUnavailable, match="refuses the user .* fix them in the log URL") as caught:
        open_log(rabbit_server.url(stream, user=user, password=password))
    assert_hidden(caught.value, "wr", "ong")


def test_a_missing_vhost(rabbit_server, stream):
    with pytest.raises(errors.LogUnavailable, match="check the vhost in the log URL") as caught:
        open_log(rabbit_server.url(stream, vhost="no/where"))
    assert_hidden(caught.value, rabbit_server.password)


def test_a_vhost_of_its_own(rabbit_server, stream):
    rabbit_server.add_vhost("cells/one")
    with open_log(rabbit_server.url(stream, vhost="cells/one")) as log:
        log.append([b"x"])
    with pytest.raises(errors.LogUnavailable):
        open_log(rabbit_server.url(stream), create=False)


def test_a_queue_that_is_no_stream(rabbit_server, stream, channel):
    channel.queue_declare(stream, durable=True, auto_delete=False)
    with pytest.raises(errors.LogUnavailable, match="inequivalent arg 'x-queue-type'"):
        open_log(rabbit_server.url(stream))
    channel.basic_publish(amqp.Message(b"x"), routing_key=stream)
    with open_log(rabbit_server.url(stream), create=False) as log:
        for use in (log.bounds, lambda: log.read_from(0)):
            with pytest.raises(errors.LogUnavailable, match="queue type rabbit_classic_queue"):
                use()


def test_a_broker_that_is_not_there(stream):
    port = free_port()
    with pytest.raises(errors.LogUnavailable, match=f":{port}: .*refused; check that the broker runs") as caught:
        open_log(f"rabbit://user:secret@127.0.0.1:{port}/?stream={stream}")
    assert_hidden(caught.value, "secret")


def test_a_server_that_answers_nothing(stream, monkeypatch):
    monkeypatch.setattr("rpc_api.log.rabbit_session.CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(errors.LogUnavailable, match="did not answer in time"):
            open_log(f"rabbit://user:secret@127.0.0.1:{port}/?stream={stream}")


def test_the_next_host_is_taken_when_the_first_is_down(rabbit_server, stream):
    up = f"{rabbit_server.host}:{rabbit_server.port}"
    url = rabbit_server.url(stream).replace(up, f"127.0.0.1:{free_port()},{up}")
    with open_log(url) as log, log.read_from(0) as reader:
        log.append([b"x"])
        assert bare(read_all(reader, 1)) == [(0, b"x")]


@pytest.mark.parametrize(
    "first", ["{user}:{password}@127.0.0.1:{port}", "other:{password}x@127.0.0.1:{port}", "nobody:{password}@{place}"]
)
def test_each_broker_is_tried_with_its_own_user(rabbit_server, stream, first):
    server, place = rabbit_server, f"{rabbit_server.host}:{rabbit_server.port}"
    url = "rabbit://{},{}:{}@{}/?stream={}".format(
        first.format(user=server.user, password=server.password, port=free_port(), place=place),
        server.user,
        server.password,
        place.replace("127.0.0.1", "localhost"),
        stream,
    )
    with open_log(url) as log:
        log.append([b"1"])
        assert log.broker().user == server.user
        with log.read_from(0) as reader:
            assert bare(reader.read(timeout=PATIENCE_SECONDS)) == [(0, b"1")]


def test_a_host_that_fails_in_use_is_the_last_one_that_is_tried_again(rabbit_server, stream, monkeypatch):
    """A node that is cut off from the others takes connections, and confirms nothing."""
    monkeypatch.setattr("rpc_api.log.rabbit_writer.ANSWER_SECONDS", 0.5)
    up = f"{rabbit_server.host}:{rabbit_server.port}"
    with Proxy(rabbit_server.host, rabbit_server.port) as proxy:
        url = rabbit_server.url(stream).replace(up, f"127.0.0.1:{proxy.port},{up}")
        with open_log(url) as log, log.read_from(0) as reader:
            assert log._session.place[1] == reader._session.place[1] == proxy.port
            proxy.swallow()
            with pytest.raises(errors.LogUnavailable, match="confirmed nothing"):
                log.append([b"swallowed"])
            proxy.spit()
            proxy.reset_all()
            log.append([b"x"])
            assert bare(read_through_outage(reader, 1)) == [(0, b"x")]
            assert log._session.place[1] == reader._session.place[1] == rabbit_server.port


def test_publishers_blocked_by_an_alarm(rabbit_server, log, monkeypatch):
    monkeypatch.setattr("rpc_api.log.rabbit_writer.ANSWER_SECONDS", 0.5)
    log.append([b"before"])
    rabbit_server.rabbitmqctl("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        with pytest.raises(errors.LogUnavailable, match="confirmed nothing within .*; append the same bytes again"):
            log.append([b"blocked"])
    finally:
        rabbit_server.rabbitmqctl("set_vm_memory_high_watermark", "0.4")
    wait_until(lambda: append_if_available(log, b"after"), PATIENCE_SECONDS, "no append")
    with log.read_from(0) as reader:
        payloads_read = [record.payload for record in read_until(reader, log.bounds().last)]
    assert payloads_read[0] == b"before" and payloads_read[-1] == b"after"


@pytest.fixture
def tls_url(rabbit_server, url):
    if rabbit_server.tls_port is None:
        pytest.skip("openssl is not installed; install the package openssl")
    return url.replace("rabbit:", "rabbits:").replace(f":{rabbit_server.port}", f":{rabbit_server.tls_port}")


class TestRabbitLogWithTls(EventLogContract):
    @pytest.fixture
    def url(self, rabbit_server, tls_url):
        return f"{tls_url}&ssl_ca_file={rabbit_server.ca_file}"


def test_tls_as_a_transport_url_asks_for_it(rabbit_server, tls_url):
    url = f"{tls_url}&ssl=1&ssl_version=TLSv1_2&ssl_ca_file={rabbit_server.ca_file}".replace("rabbits:", "rabbit:")
    with open_log(url) as log:
        log.append([b"1"])
        assert log._session._amqp.transport.sock.version() == "TLSv1.2"


def test_a_certificate_of_an_unknown_authority_is_refused(tls_url):
    with pytest.raises(errors.LogUnavailable, match="TLS failed .*check the certificates and ssl_ca_file"):
        open_log(tls_url)


def test_connections_have_names_that_operators_know(rabbit_server, log, stream):
    log.append([b"x"])
    with log.read_from(0):
        listed = rabbit_server.rabbitmqctl("list_connections", "client_properties", "timeout")
    names = re.findall(r'"connection_name","(.*?)"', listed)
    assert {f"nova_sched log writer {stream}", f"nova_sched log reader {stream}"} <= set(names)


def test_no_queue_but_the_stream_is_made(rabbit_server, log, stream):
    listed = json.loads(
        rabbit_server.rabbitmqctl("list_queues", "name", "type", "durable", "arguments", "--formatter", "json")
    )
    assert [queue for queue in listed if queue["name"] == stream] == [
        {"name": stream, "type": "stream", "durable": True, "arguments": [["x-queue-type", "longstr", "stream"]]}
    ]


def test_the_password_is_in_no_text_of_a_log(rabbit_server, log):
    assert rabbit_server.password not in f"{log} {log!r} {log.url} {log._address!r}"
    assert ":***@" in log.url


def test_a_message_without_a_body_is_a_record_without_bytes(rabbit_server, log, stream):
    with amqp.Connection(
        f"{rabbit_server.host}:{rabbit_server.port}", rabbit_server.user, rabbit_server.password
    ) as stranger:
        stranger.channel().basic_publish(amqp.Message(b""), stream)
    log.append([b"x"])
    with log.read_from(0) as reader:
        assert bare(read_all(reader, 2)) == [(0, b""), (1, b"x")]


# A stream that was declared a moment ago, and one that does not work


def test_a_record_that_comes_at_the_end_of_the_grace_for_an_empty_stream(log, monkeypatch):
    """One consumer is given it in time, and the other one a moment later: which is no reason to give up."""
    real, waits = rabbit_bounds._wait, []

    def first_wait_ends_early(session, offsets, seconds):
        waits.append(seconds)
        if len(waits) > 1:
            return real(session, offsets, seconds)
        with open_log(log_url(log), create=False) as other:
            other.append([b"at the last moment"])
        while not (offsets["first"] or offsets["last"]):
            assert session.receive(PATIENCE_SECONDS)

    monkeypatch.setattr(rabbit_bounds, "_wait", first_wait_ends_early)
    monkeypatch.setattr(rabbit_bounds, "_synchronize", lambda channel: waits or channel.basic_qos(0, 1, False))
    assert log.bounds() == Bounds(0, 0)
    assert len(waits) == 2, "the second one was not waited for"


def test_streams_that_several_open_at_one_instant(rabbit_server):
    """What RabbitMQ says of a stream that it is still starting may pass."""

    def use(url, number):
        with open_log(url) as log:
            if number % 2:
                log.append([b"x"])
            with log.read_from(0):
                return log.bounds().first

    def tried_again(url, number):
        return until_it_passes("a test", lambda: use(url, number), PATIENCE_SECONDS)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            url = rabbit_server.url(f"log-{next(_names)}")
            assert {one.result() for one in [pool.submit(tried_again, url, number) for number in range(8)]} == {0}


def test_a_stream_whose_writer_is_dead_is_named_with_what_to_type(rabbit_server, log, stream, monkeypatch, caplog):
    """As after a full disk: the broker takes messages, blocks nobody, and confirms nothing."""
    monkeypatch.setattr("rpc_api.log.rabbit_writer.ANSWER_SECONDS", 0.2)
    monkeypatch.setattr("rpc_api.waiting.REMEDY_AFTER", 0.5)
    writer = (
        "[sys:suspend(P) || P <- erlang:processes(), {dictionary, D} <- [erlang:process_info(P, "
        "dictionary)], {'$initial_call', {osiris_writer, init, 1}} <- D]."
    )
    rabbit_server.rabbitmqctl("eval", writer)
    appender = Appender(log, "e", "a test")
    try:
        appender.queue(lambda: codec.encode_events([codec.make_event(events.HostSeen("h"), "conductor/a", 1, 1, 1)]))
        wait_until(lambda: "rabbitmqctl stop_app" in caplog.text, PATIENCE_SECONDS, "it does not say what to type")
    finally:
        rabbit_server.rabbitmqctl("eval", writer.replace("suspend", "resume"))
    assert f"the stream {stream} does not work" in caplog.text
    assert appender.wait(1, PATIENCE_SECONDS) and appender.close()


def test_a_reader_leaves_a_node_that_others_are_ahead_of(rabbit_server, stream, monkeypatch):
    """Two brokers of their own are what a cluster is to a reader one node of which is cut off."""
    monkeypatch.setattr("rpc_api.log.rabbit_reader.SILENCE_SECONDS", 0.2)
    monkeypatch.setattr("rpc_api.log.rabbit_reader.DELIVERY_SECONDS", 0.2)
    ahead = rabbit_server.url(stream)
    with RabbitServer() as cut_off:
        cut_off.rabbitmqctl("add_user", "two", "two")
        cut_off.rabbitmqctl("set_permissions", "two", ".*", ".*", ".*")
        rabbit_server.add_user("two", "two", ".*", ".*", ".*")
        behind = cut_off.url(stream, user="two", password="two")
        for url in (behind, ahead):
            with open_log(url) as log:
                log.append([b"both have it"])
        both = behind.replace(f":{cut_off.port}/", f":{cut_off.port},127.0.0.1:{rabbit_server.port}/")
        with open_log(both, create=False) as log, log.read_from(0) as reader:
            assert reader.read(timeout=PATIENCE_SECONDS)[0].payload == b"both have it"
            assert reader._session.place[1] == cut_off.port
            with open_log(ahead) as other:
                other.append([b"one has it"])
            assert bare(read_through_outage(reader, 1)) == [(1, b"one has it")]
            assert reader._session.place[1] == rabbit_server.port
            # And does not leave one that nobody is ahead of.
            assert reader.read(timeout=1.5) == [] and reader._session.place[1] == rabbit_server.port


@pytest.mark.parametrize("away, is_certain", [(0, True), (1, True), (2, False), (3, False)])
def test_a_loss_is_certain_where_half_of_the_nodes_say_so(rabbit_server, stream, away, is_certain):
    """A reader that reaches only a minority of the nodes, one of which is behind, must not take that node's end for the
    end of the log."""
    up = f"{rabbit_server.host}:{rabbit_server.port}"
    places = [up, *(f"127.0.0.1:{free_port()}" for _ in range(away))]
    with open_log(rabbit_server.url(stream).replace(up, ",".join(places))) as log:
        log.append(payloads(3))
        known = [(position, record_digest(payload)) for position, payload in enumerate(payloads(5))]
        assert proving.lost(log, log.bounds(), known[:3]) is None
        if is_certain:
            assert proving.lost(log, log.bounds(), known) == (2, 2, True)
            return
        with pytest.raises(errors.LogUnavailable, match=f"ends at 2, wanted 4, and 1 of {away + 1} nodes answer"):
            proving.lost(log, log.bounds(), known)


# --- fences ------------------------------------------------------------------------------------------------------


def test_a_fence_after_a_lost_connection_is_put_on_another_one(log, rabbit_server):
    log.append(payloads(2))
    before = log.fence()
    close_connections(rabbit_server)
    assert log.fence() == before + 1


def test_callers_that_wait_share_a_fence(log):
    """16 callers do not cost 16 records each time."""
    log.append(payloads(1))
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: log.fence(), range(320)))
    assert len(set(found)) < len(found) / 2
    assert log.bounds().last == max(found)


def test_no_fence_is_put_into_a_stream_that_was_deleted_and_declared_again(log, channel, stream, url):
    log.append(payloads(2))
    log.fence()
    channel.queue_delete(stream)
    with pytest.raises(errors.LogUnavailable, match="put a fence into"):
        log.fence()
    with open_log(url) as again:
        assert (log.fence(), again.fence()) == (-1, -1)
        assert again.bounds() == Bounds(0, -1)


def test_fences_do_not_fall_behind_a_log_that_grows_fast(log, url):
    log.append(payloads(1))
    log.fence()
    with open_log(url) as other:
        for start in range(0, 20_000, 1000):
            other.append(payloads(1000, start))
            last = other.bounds().last
            assert last < log.fence() <= last + 1
