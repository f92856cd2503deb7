"""Tokens and passwords stay where they are: no log, answer, error, report or event has a byte of them.

Each secret that is planted holds the same mark, so that a piece of one is found too, quoted or not.
"""

import itertools
import json
import logging
import traceback
import uuid

import pytest
from oslo_config import cfg

from conductor.shown import facts_of_cell
from nova_sched.cli.main import main
from nova_sched.process.snapshot_store import FileStore, open_store
from nova_sched.scheduler.endpoint import SchedulerEndpoint
from nova_sched.scheduler.report import scheduler_facts
from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
from nova_sched.selection.policy import Policy
from rpc_api import errors
from rpc_api.bus import MessagingBus
from rpc_api.contracts import scheduler as scheduler_rpc
from rpc_api.log import open_log
from rpc_api.objects.cell_mapping import CellMapping
from rpc_api.objects.context import RequestContext
from rpc_api.objects.destination import Destination
from rpc_api.serializer import RpcSerializer
from tests.builders import request_spec, uuid_of
from tests.end_to_end.test_recovery import SECONDS_MAX, Site, knows
from tests.servers import wait_until

MARK = "s3cr3t"
#: With what has to be quoted in a URL, behind the mark.
PASSWORD = f"{MARK}-/@:#?é"
CONTEXT = RequestContext.from_dict(
    {
        "request_id": "req-22222222-aaaa-4aaa-8aaa-000000000001",
        "project_id": "p",
        "user_id": "u",
        "is_admin": True,
        "auth_token": f"{MARK}-token",
        "service_token": f"{MARK}-service",
        "roles": ["admin"],
        "service_catalog": [{"type": "volume", "endpoints": [{"adminURL": f"https://u:{MARK}-catalog@h/"}]}],
    }
)
_NUMBER = itertools.count()


def mapping(**fields):
    """A CellMapping as nova sends it."""
    return CellMapping(
        **{
            "id": 1,
            "uuid": uuid_of("cell1"),
            "name": "cell1",
            "disabled": False,
            "transport_url": f"rabbit://u:{MARK}-transport@h/",
            "database_connection": f"mysql://u:{MARK}-database@h/nova",
            **fields,
        }
    )


def secret_spec(name):
    """A request whose destination carries the mapping of its cell."""
    made = request_spec(uuid_of(name))
    made.requested_destination = Destination(cell=mapping())
    return made


@pytest.fixture
def said():
    """Every line that any logger says, as it would be formatted, with its traceback."""
    lines = []

    class Keep(logging.Handler):
        def emit(self, record):
            lines.append(f"{record.name}: {self.format(record)} {record.args!r}")

    handler, root = Keep(logging.DEBUG), logging.getLogger()
    before = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    level, disabled = root.level, logging.root.manager.disable
    logging.disable(logging.NOTSET)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for name in before:
        logging.getLogger(name).setLevel(logging.NOTSET)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)
    logging.disable(disabled)
    for name, was in before.items():
        logging.getLogger(name).setLevel(was)


def assert_none(*places):
    """No place (text, bytes or anything with a representation) has the mark."""
    for place in places:
        text = place if isinstance(place, str) else place.decode("latin-1") if isinstance(place, bytes) else repr(place)
        at = text.find(MARK)
        assert at < 0, text[max(0, at - 200) : at + 100]


def told(fault) -> str:
    """All that an exception may show: its text, its form, its causes with their tracebacks."""
    return f"{fault} {fault!r} " + "".join(traceback.format_exception(fault))


def raw(url):
    """All bytes of a log."""
    with open_log(url, create=False) as log:
        bounds = log.bounds()
        with log.read_from(bounds.first) as reader:
            payloads = []
            while reader.position <= bounds.last:
                payloads += [record.payload for record in reader.read(1000, SECONDS_MAX)]
    return payloads


@pytest.fixture
def rabbit(rabbit_server):
    """The broker with a user whose password is a secret."""

    class Broker:
        def __init__(self):
            self.user = f"user{next(_NUMBER)}"

        def url(self, stream):
            return rabbit_server.url(stream, user=self.user, password=PASSWORD)

    broker = Broker()
    rabbit_server.add_user(broker.user, PASSWORD, ".*", ".*", ".*")
    return broker


def go_through(site, said, capsys):
    """Requests that are built, refused and malformed, and every way to look at them."""
    conductor = site.conductor()
    site.agent()
    scheduler = site.scheduler()
    wait_until(lambda: knows(scheduler, ("h1", "h2"), 0), SECONDS_MAX, "the hosts are not known")
    api = site.serve(scheduler)
    answers = [api.schedule_and_build_instances(CONTEXT, secret_spec("vm"), [uuid_of("vm")]).result(SECONDS_MAX)]
    large = secret_spec("large")
    large.flavor.vcpus = 1000
    answers += [api.schedule_and_build_instances(CONTEXT, large, [uuid_of("large")]).result(SECONDS_MAX)]
    assert [one.outcome for answer in answers for one in answer] == ["built", "no_valid_host"], answers
    client = site.bus.client(scheduler_rpc.TOPIC, scheduler_rpc.VERSION)
    malformed = [
        {"spec_obj": mapping()},
        {"spec_obj": secret_spec("x"), "instance_uuids": [7]},
        {"spec_obj": None},
        {"request_spec": secret_spec("x")},
    ]
    for arguments in malformed:
        fault = client.call_async(CONTEXT, "select_destinations", **arguments).exception(SECONDS_MAX)
        assert fault is not None
        answers.append(told(fault))
    answers += [scheduler_facts(scheduler), facts_of_cell(conductor)]
    named = [part for cell, url in site.urls.items() for part in ("--log", f"{cell}={url}")]
    for command in (
        ["replay", "tail", *named],
        ["replay", "tail", *named, "-o", "json"],
        ["replay", "quarantine", *named, "--raw"],
        ["explain", CONTEXT.request_id, *named],
        ["explain", CONTEXT.request_id, *named, "-o", "json"],
        ["replay", *named],
        ["--debug", "explain", "req-none", *named],
    ):
        main(command)
        shown = capsys.readouterr()
        assert shown.out or shown.err
        answers += [shown.out, shown.err]
    assert_none(*answers, *(payload for url in site.urls.values() for payload in raw(url)))
    assert any("no valid host" in line.lower() for line in said) and len(said) > 20


@pytest.mark.parametrize("kind", ["memory", "sqlite", pytest.param("rabbit", marks=pytest.mark.rabbit)])
def test_a_request_end_to_end(tmp_path, kind, said, capsys, request):
    broker = request.getfixturevalue("rabbit") if kind == "rabbit" else None
    with Site(tmp_path, kind, store=FileStore(str(tmp_path / "snapshots")), rabbit=broker) as site:
        go_through(site, said, capsys)
    assert_none(*said)
    assert_none(*(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()))


def test_over_oslo_messaging(said):
    """The same context over a bus that writes messages."""
    if not cfg.CONF._args:
        cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    number = next(_NUMBER)
    bus = MessagingBus(cfg.CONF, "fake://", f"secrets{number}")
    scheduler = Scheduler(
        "s",
        cell0_of(f"memory://secrets{number}-cell0"),
        [Cell("cell1", uuid_of("cell1"), f"memory://secrets{number}-cell1")],
        Policy(),
    )
    server = None
    try:
        with open_log(f"memory://secrets{number}-cell1"):
            scheduler.start().wait_ready(SECONDS_MAX)
            server = bus.serve(scheduler_rpc.TOPIC, "s", [SchedulerEndpoint(scheduler)], scheduler_rpc.VERSION)
            client = bus.client(scheduler_rpc.TOPIC, scheduler_rpc.VERSION)
            for arguments in (
                {"spec_obj": secret_spec("vm"), "instance_uuids": [uuid_of("vm")]},
                {"spec_obj": mapping()},
            ):
                with pytest.raises(Exception) as refused:
                    client.call(CONTEXT, "select_destinations", timeout=SECONDS_MAX, **arguments)
                assert_none(told(refused.value))
    finally:
        if server is not None:
            server.stop()
        scheduler.stop()
        bus.close()
    assert_none(*said)


#: URLs that are wrong in every way, and ones of servers that are not there or refuse us; PW is replaced by the secret.
URLS = [
    "{0}://u:PW@127.0.0.1:1/v",
    "{0}://u:PW@h:port/v",
    "{0}://u:PW/x@h:1/v",
    "{0}://u:PW#@h/v",
    "{0}://u:PW?@h/v",
    "{0}://u:PW@[h/v",
    "{0}://u:PW@h:99999/v",
    "u:PW@h",
    "{0}:u:PW@h",
    "nonsense://u:PW@h/v",
    "file://u:PW@h/v",
    "{0}://u:PW@h:1,u:PW@h:x/v",
]
LOG_URLS = [url + end for url in URLS for end in ("", "?stream=s", "?stream=s&password=PW", "?stream=s#PW")] + [
    "memory://u:PW@name",
    "sqlite://u:PW@h/x",
    "sqlite:///nowhere/at/all.db?password=PW",
    "sqlite://u:PW@[h/x",
    "memory://u:PW@[h",
]


def _open_bus(url):
    if not cfg.CONF._args:
        cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    bus = MessagingBus(cfg.CONF, url)
    try:
        bus.check(1.0)
    finally:
        bus.close()


OPENINGS = [
    *((lambda url: open_log(url).close(), url.format("rabbit")) for url in LOG_URLS),
    *((lambda url: open_log(url, create=False).close(), url.format("rabbit")) for url in LOG_URLS[:2]),
    *((lambda url: open_store(url).load("cell1"), url.format("redis")) for url in URLS),
    *((_open_bus, url.format("rabbit")) for url in URLS if "99999" not in url and "#" not in url),
]


@pytest.mark.parametrize("number", range(len(OPENINGS)))
def test_a_url_that_cannot_be_used(number, said):
    """One error of the project, without the password."""
    opening, url = OPENINGS[number]
    with pytest.raises(errors.NovaSchedError) as refused:
        opening(url.replace("PW", f"{MARK}-pw"))
    assert_none(told(refused.value), *said)


@pytest.mark.rabbit
@pytest.mark.parametrize("what", ["log", "transport"])
def test_a_broker_that_refuses_the_password(rabbit_server, said, what):
    url = rabbit_server.url("" if what == "transport" else f"s{uuid.uuid4().hex}", password=PASSWORD)
    with pytest.raises(errors.LogUnavailable) as refused:
        _open_bus(url) if what == "transport" else open_log(url)
    assert_none(told(refused.value), *said)


@pytest.mark.parametrize(
    "damaged",
    [
        {"transport_url": {"a": f"{MARK}-x"}},
        {"database_connection": [f"{MARK}-x"]},
        {"id": {"x": f"{MARK}-x"}},
        {"disabled": {"x": f"{MARK}-x"}},
    ],
    ids=lambda damaged: next(iter(damaged)),
)
def test_a_mapping_that_cannot_be_read(damaged, said):
    primitive = json.loads(json.dumps(Destination(cell=mapping()).obj_to_primitive()))
    primitive["nova_object.data"]["cell"]["nova_object.data"].update(damaged)
    try:
        entity = RpcSerializer().deserialize_entity({}, primitive)
    except errors.NovaSchedError as fault:
        assert_none(f"{fault} {fault!r}")
    else:
        assert_none(repr(entity.cell), str(entity.cell))
    assert_none(*said)


@pytest.mark.parametrize(
    "context", [[f"{MARK}-x"], f"{MARK}-x", {"roles": f"{MARK}", "auth_token": [f"{MARK}-x"]}, None], ids=range(4)
)
def test_a_context_that_cannot_be_read(context, said):
    try:
        made = RpcSerializer().deserialize_context(context)
    except errors.NovaSchedError as fault:
        assert_none(f"{fault} {fault!r}")
    else:
        assert_none(repr(made), str(made))
    assert_none(*said)


def test_the_search_finds_what_is_planted(said):
    """These tests can fail: each place that they look at."""
    logging.getLogger("nova_sched.x").debug("a token: %s", f"{MARK}-token")
    for place in (said[-1], told(ValueError(f"{MARK}")), f"x{MARK}".encode(), {"a": [MARK]}):
        with pytest.raises(AssertionError):
            assert_none(place)
