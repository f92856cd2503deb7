"""The notification driver in a process with the real Nova 34, loaded as nova-compute loads it, over a real RabbitMQ."""

import contextlib
import json
import tomllib
from pathlib import Path

import pytest

from conductor.tap.decode import Change, Lost, decode
from nova_sched.nova_objects.names import FIELDS
from rpc_api import errors
from rpc_api.bus.copies import CopyQueue
from rpc_api.log.rabbit_address import parse_address
from tests.against_nova.conftest import running_peer
from tests.builders import uuid_of
from tests.conductor.tap.messages import DEVICE, INSTANCE, NAMES, RESOURCES, SERVICE, STEPS, VM, recorded
from tests.conductor.tap.test_rabbit import TappedCell, read_all
from tests.servers import wait_until

pytestmark = [pytest.mark.nova, pytest.mark.rabbit]
ROOT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 60.0
EXCHANGE = "nova_sched"
STARTED = Lost("host1", 0)
HEARTBEAT = STEPS["heartbeat"]
CONFIG = """\
[DEFAULT]
host = host1
state_path = {path}
transport_url = {transport_url}
[oslo_messaging_notifications]
driver = nova_sched
[nova_sched]
{options}
"""


@pytest.fixture(scope="module")
def python_path(tmp_path_factory):
    """A PYTHONPATH with this checkout, and the entry points that pyproject.toml has now."""
    place = tmp_path_factory.mktemp("installed")
    info = place / "nova_sched-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nova_sched\nVersion: 0.1.0\n")
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    lines = (
        f"[{group}]\n" + "\n".join(f"{name} = {of}" for name, of in all_of.items()) for group, all_of in groups.items()
    )
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return f"{place}:{ROOT}"


@contextlib.contextmanager
def starting(place, python_path):
    """A function that starts a peer whose transport_url is ``url``, with further options of [nova_sched]."""
    with contextlib.ExitStack() as running:

        def start(url, mode="threading", options=""):
            path = place / "nova.conf"
            path.write_text(CONFIG.format(path=place, transport_url=url, options=options))
            env = {"PYTHONPATH": python_path}
            return running.enter_context(
                contextlib.contextmanager(running_peer)("nova", "nova_notifier.py", mode, str(path), env=env)
            )

        yield start


@pytest.fixture
def nova_compute(tmp_path, python_path):
    with starting(tmp_path, python_path) as start:
        yield start


def queue_of(server, vhost):
    address = parse_address(server.url("nova_sched.tap.cell1", vhost))
    return CopyQueue(address, EXCHANGE, "conductor", 2**24, 60.0)


@pytest.fixture
def queue(rabbit_server, vhost):
    with contextlib.closing(queue_of(rabbit_server, vhost)) as queue:
        yield queue


def opened(nova, queue):
    """Open the queue, as soon as the driver has declared the exchange."""

    def is_open():
        # With eventlet the driver runs only while the peer does something.
        answered(nova, "let_run")
        try:
            queue.open()
        except errors.ServiceUnavailable:
            return False
        return True

    wait_until(is_open, SECONDS_MAX, "the exchange is not there")


def answered(nova, name, *arguments):
    answer = nova.ask(name, *arguments)
    assert "error" not in answer, answer
    return answer["answer"]


@pytest.fixture(scope="module", params=["threading", "eventlet"])
def tapped(request, rabbit_server, tmp_path_factory, python_path):
    """A nova-compute whose first message was read, and the queue of the tap."""
    vhost = f"notifier-{request.param}"
    rabbit_server.add_vhost(vhost)
    with (
        contextlib.closing(queue_of(rabbit_server, vhost)) as queue,
        starting(tmp_path_factory.mktemp(request.param), python_path) as start,
    ):
        nova = start(rabbit_server.url(vhost=vhost), request.param)
        answered(nova, "call", [HEARTBEAT])
        opened(nova, queue)
        assert answered(nova, "wait_published") == 0
        assert [decode(body) for body in read_all(queue, 2)] == [STARTED, decode(recorded()["heartbeat"])]
        yield nova, queue


def published(nova, queue, count):
    """The messages that nova-compute has published since they were read last."""
    assert answered(nova, "wait_published") == 0
    bodies = read_all(queue, count)
    assert queue.read(0.2) == [] and len(bodies) == count
    return bodies


def test_each_call_is_published_as_the_wire_has_it(tapped):
    nova, queue = tapped
    for name, step in STEPS.items():
        assert answered(nova, "call", [step]) == [f"{step[0]} {step[2]}"]
        (body,) = published(nova, queue, 1)
        assert decode(body) == decode(recorded()[name]), name


@pytest.mark.parametrize(
    "step, updates, wanted",
    [
        (STEPS["node created"], {"id": 7}, {"id": 7}),
        (HEARTBEAT, {"disabled": True, "disabled_reason": "x"}, {"disabled": True, "disabled_reason": "x"}),
        (STEPS["instance built"], {"host": "host3"}, {"host": "host3"}),
    ],
    ids=["the id of a new node", "the status of the database", "what the database has"],
)
def test_what_the_conductor_answers_is_published(tapped, step, updates, wanted):
    nova, queue = tapped
    nova, queue = tapped
    answered(nova, "call", [step], updates)
    (body,) = published(nova, queue, 1)
    fields = decode(body).fields
    assert {name: fields[name] for name in wanted} == wanted


def test_what_is_not_published(tapped):
    """Calls that fail, calls of a process with a database, notifications, and objects that are only made."""
    nova, queue = tapped
    steps = list(STEPS.values())
    assert answered(nova, "call_refused", steps) == len(steps)
    assert answered(nova, "call_with_a_database", steps) == len(steps)
    assert answered(nova, "notify") == "available"
    answered(nova, "call", [HEARTBEAT])
    (body,) = published(nova, queue, 1)
    assert decode(body).name == "Service"


def test_nothing_secret_is_published(tapped):
    nova, queue = tapped
    secrets = {"user_data": "c2VjcmV0", "key_data": "secret", "access_ip_v4": None, "locked": False}
    metadata = {"password_0": "secret", "boot_roles": "secret", "image_os": "linux"}
    step = ["Instance", VM | secrets | {"system_metadata": metadata}, "save", {"vm_state": "active"}]
    answered(nova, "call", [step, STEPS["node saved"], HEARTBEAT, STEPS["device taken"]])
    bodies = published(nova, queue, 4)
    for body in bodies:
        assert not any(text in body for text in (b"secret", b"c2VjcmV0", b"_context", b"token"))
        primitive = json.loads(json.loads(body)["oslo.message"])["args"]["objinst"]
        assert set(primitive["nova_object.data"]) <= set(FIELDS[primitive["nova_object.name"]])
    assert decode(bodies[0]).fields["system_metadata"] == {"os": "linux"}


def test_nova_compute_loads_nothing_that_has_the_names_of_its_objects(tapped):
    modules = answered(tapped[0], "ours")
    assert "compute_agent.nova_notifier.driver" in modules
    assert [name for name in modules if not name.startswith("compute_agent")] == [
        "nova_sched",
        "nova_sched.nova_objects",
        "nova_sched.nova_objects.names",
        "rpc_api",
        "rpc_api.clock",
        "rpc_api.errors",
        "rpc_api.faults",
        "rpc_api.waiting",
    ]


def test_what_nobody_can_read_yet_waits_for_the_tap(nova_compute, rabbit_server, vhost, queue):
    """Also a tap whose queue is gone, as after a restart of a broker: it gets the newest state of each object."""
    nova = nova_compute(rabbit_server.url(vhost=vhost))
    answered(nova, "call", [STEPS["node created"], HEARTBEAT, HEARTBEAT])
    lines = answered(nova, "wait_logged", "has no queue")
    assert any("start nova_sched's conductor of the cell with [tap] exchange = nova_sched" in line for line in lines)
    saved = [STEPS["node saved"], STEPS["instance built"], STEPS["instance moved"]]
    answered(nova, "call", [*saved, HEARTBEAT])
    opened(nova, queue)
    answered(nova, "wait_logged", "gets the objects of this nova-compute again")
    assert answered(nova, "wait_published") == 0
    started, instance, service, node = [decode(body) for body in read_all(queue, 4)]
    assert started == STARTED
    assert (instance.name, instance.fields["host"]) == ("Instance", "host2")
    assert service.name == "Service"
    assert (node.name, node.method, node.fields["stats"]["failed_builds"]) == ("ComputeNode", "create", "2")


def test_the_broker_is_away(nova_compute, rabbit):
    """Calls go on while the broker is down, and while it hangs; what they saved arrives later."""
    with contextlib.closing(queue_of(rabbit, "/")) as queue:
        nova = nova_compute(rabbit.url(vhost="/"), options="exchange = nova_sched")
        answered(nova, "call", [STEPS["node created"], HEARTBEAT])
        opened(nova, queue)
        assert answered(nova, "wait_published") == 0
        queue.close()
        rabbit.kill()
        answered(nova, "call", [STEPS["node saved"], HEARTBEAT, STEPS["instance built"]])
        answered(nova, "wait_logged", "does not get the objects of this nova-compute")
        rabbit.start()
        opened(nova, queue)
        assert answered(nova, "wait_published") == 0
        found = [decode(body) for body in read_all(queue, 3)]
        assert {change.name for change in found} == {"ComputeNode", "Service", "Instance"}
        rabbit.freeze()
        answered(nova, "call", [STEPS["instance moved"]] * 3 + [HEARTBEAT])
        rabbit.thaw()
        found = []
        wait_until(
            lambda: found.extend(arrived(queue)) or ("Instance", "host2") in map(_place, found),
            SECONDS_MAX,
            "the instance is not published",
        )


def arrived(queue):
    """What has arrived, decoded."""
    return [decode(copy.body) for copy in queue.read(0.2)]


def _place(change):
    return change.name, change.fields.get("host")


def test_a_broker_that_refuses_the_account_is_named_without_the_password(nova_compute, rabbit_server, vhost):
    url = rabbit_server.url(vhost=vhost, user="nobody", password="wrong-password")
    nova = nova_compute(rabbit_server.url(vhost=vhost), options=f"url = {url}")
    answered(nova, "call", [HEARTBEAT])
    lines = answered(nova, "wait_logged", "check the broker, and [nova_sched] url")
    assert not any("wrong-password" in line for line in lines)


def test_a_url_that_cannot_be_used_does_not_stop_nova_compute(nova_compute, rabbit_server, vhost):
    nova = nova_compute(rabbit_server.url(vhost=vhost), options="url = nothing://x")
    assert answered(nova, "call", [HEARTBEAT]) == ["Service save"]
    lines = answered(nova, "wait_logged", "check the broker, and [nova_sched] url")
    assert "INFO nova_sched's tap is to get the objects of this nova-compute" in lines


def test_the_tap_learns_of_a_full_buffer(nova_compute, rabbit_server, vhost, queue):
    nova = nova_compute(rabbit_server.url(vhost=vhost))
    answered(nova, "limit", 3)
    instances = [
        ["Instance", VM | {"uuid": uuid_of(f"vm{number}")}, "save", {"vm_state": "active"}] for number in range(5)
    ]
    answered(nova, "call", [STEPS["node created"], HEARTBEAT, *instances])
    assert answered(nova, "waiting") == 3
    opened(nova, queue)
    answered(nova, "wait_logged", "gets the objects of this nova-compute again")
    answered(nova, "call", [HEARTBEAT])
    assert answered(nova, "wait_published") == 0
    found = []
    wait_until(
        lambda: found.extend(arrived(queue)) or {"ComputeNode", "Service"} <= {_name(item) for item in found},
        SECONDS_MAX,
        "the node and the service are not published again",
    )
    dropped = max(item.dropped for item in found if isinstance(item, Lost))
    assert dropped >= 4
    assert {item.fields["uuid"] for item in found if _name(item) == "Instance"} <= {
        uuid_of(f"vm{number}") for number in range(2, 5)
    }


def _name(item):
    return item.name if isinstance(item, Change) else ""


def test_a_host_comes_into_the_log(nova_compute, rabbit_server, vhost):
    """The tap of a conductor reads the driver's exchange, with nothing but its options changed."""
    nova = nova_compute(rabbit_server.url(vhost=vhost))
    with (
        contextlib.closing(queue_of(rabbit_server, vhost)) as source,
        TappedCell(source, url="memory://notifier") as cell,
    ):
        cell.add_provider("host1")
        steps = [STEPS[name] for name in ("node created", "heartbeat", "node saved", "instance built", "disabled")]
        answered(nova, "call", steps)
        cell.wait(
            lambda projection: (
                "host1" in projection.hosts
                and projection.hosts["host1"].status.disabled
                and projection.hosts["host1"].status.failed_builds == 2
            ),
            "the host is not in the log as Nova has it",
        )
        cell.wait(lambda projection: projection.tracked.get(INSTANCE), "the instance is not in the log")
        wait_until(lambda: not cell.tap.model.unsure, SECONDS_MAX, "the host is unsure")
        answered(
            nova, "call", [["Instance", VM, "destroy", {}], ["PciDevice", DEVICE, "save", {"status": "allocated"}]]
        )
        cell.wait(lambda projection: not projection.tracked.get(INSTANCE), "the instance is in the log")
        answered(
            nova,
            "call",
            [["ComputeNode", {"id": 1} | NAMES | RESOURCES, "destroy", {}], ["Service", SERVICE, "save", {}]],
        )
        cell.wait(lambda projection: not projection.hosts, "the host is still in the log")
        assert not cell.tap.unread
