"""The notifications that decisions begin and end, through oslo.messaging's own driver for tests."""

import threading

import pytest
from oslo_config import cfg
from oslo_messaging.notify import _impl_test as emitted

from nova_sched.scheduler import config
from nova_sched.scheduler import notifications as module
from nova_sched.scheduler.endpoint import SchedulerEndpoint
from nova_sched.scheduler.notifications import Silent, notifications_of
from nova_sched.scheduler.service import Cell, Scheduler, cell0_of
from nova_sched.selection.policy import Policy
from rpc_api import codec, events
from rpc_api.log import open_log
from rpc_api.nova_exception import NoValidHost
from rpc_api.objects.context import RequestContext
from tests.builders import EPOCH, request_spec, uuid_of
from tests.engines import TinyCloud
from tests.servers import wait_until

TOKEN = "gAAAA-secret"
CONTEXT = RequestContext.from_dict({"request_id": "req-1", "user_id": "u", "project_id": "p", "auth_token": TOKEN})
START, END = "scheduler.select_destinations.start", "scheduler.select_destinations.end"


@pytest.fixture(scope="module")
def scheduler():
    tiny = TinyCloud(("cell1",))
    tiny.host("a", "cell1", 8)
    for name, log in tiny.logs.items():
        opened = codec.make_event(events.LogOpened(name, EPOCH), "operator/test", 1, 1, 0)
        open_log(f"memory://notifications-{name}").append([codec.encode_record(EPOCH, [opened]), *log])
    scheduler = Scheduler(
        "s",
        cell0_of("memory://notifications-cell0"),
        [Cell("cell1", uuid_of("cell1"), "memory://notifications-cell1")],
        Policy(),
    )
    scheduler.start().wait_ready()
    yield scheduler
    scheduler.stop()


def configured(*drivers, **options):
    conf = cfg.ConfigOpts()
    config.register(conf)
    conf([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    conf.set_override("name", "s1", "scheduler")
    for name, value in options.items():
        conf.set_override(name, value, "notifications")
    import oslo_messaging

    oslo_messaging.get_notification_transport(conf).cleanup()
    conf.set_override("driver", list(drivers), "oslo_messaging_notifications")
    return conf


@pytest.fixture
def heard():
    """(event, publisher, payload, context) of all notifications, once there are as many as wanted."""
    emitted.reset()

    def all_of(count):
        wait_until(lambda: len(emitted.NOTIFICATIONS) >= count, 20.0, "too few notifications")
        return [
            (message["event_type"], message["publisher_id"], message["payload"], context)
            for context, message, _, _ in emitted.NOTIFICATIONS
        ]

    yield all_of
    emitted.reset()


def ask(scheduler, notifications, instance, vcpus):
    spec = request_spec(uuid_of(instance), vcpus=vcpus, memory_mb=0, disk_gb=0)
    endpoint = SchedulerEndpoint(scheduler, notifications=notifications)
    answer = endpoint.select_destinations(
        CONTEXT, spec_obj=spec, instance_uuids=[uuid_of(instance)], return_objects=True
    )
    return answer.result(20)


@pytest.mark.parametrize(
    "form, publishers",
    [
        ("unversioned", ["scheduler.s1"]),
        ("versioned", ["nova-scheduler:s1"]),
        ("both", ["scheduler.s1", "nova-scheduler:s1"]),
    ],
)
def test_each_form(scheduler, heard, form, publishers):
    notifications = notifications_of(configured("test", notification_format=form))
    ask(scheduler, notifications, f"vm {form}", 1)
    found = heard(2 * len(publishers))
    notifications.close()
    assert [(event, publisher) for event, publisher, _, _ in found] == [
        (event, publisher) for event in (START, END) for publisher in publishers
    ]
    for _, publisher, payload, context in found:
        spec = payload["nova_object.data"] if publisher[-3] == ":" else payload["request_spec"]["instance_properties"]
        assert uuid_of(f"vm {form}") in (spec.get("instance_uuid"), spec.get("uuid"))
        assert context["request_id"] == "req-1" and TOKEN not in str(context)


def test_a_request_without_a_host_has_no_end(scheduler, heard):
    notifications = notifications_of(configured("test", notification_format="versioned"))
    with pytest.raises(NoValidHost):
        ask(scheduler, notifications, "vm too large", 1000)
    notifications.close()
    assert [event for event, *_ in heard(1)] == [START]


@pytest.mark.parametrize("drivers", [(), ("noop",)])
def test_nothing_is_emitted_without_a_driver(drivers):
    assert isinstance(notifications_of(configured(*drivers)), Silent)


class Broker:
    """A notifier whose messages go out one by one, when ``let`` allows it."""

    def __init__(self):
        self.sent = 0
        self._allowed = threading.Semaphore(0)

    def info(self, context, event, payload):
        self._allowed.acquire()
        self.sent += 1

    def let(self, count):
        wanted = self.sent + count
        for _ in range(count):
            self._allowed.release()
        wait_until(lambda: self.sent == wanted, 20.0, "nothing is sent")

    def cleanup(self):
        pass


def test_an_outage_is_logged_once_and_its_end_once(monkeypatch, caplog):
    """A broker that is too slow takes one now and then: that is not the end, and no new outage either."""
    monkeypatch.setattr(module, "WAITING_MAX", 2)
    broker = Broker()
    notifications = module.Notifications([(lambda spec: {}, broker)], broker)

    def lines():
        return [record.getMessage() for record in caplog.records if record.name == module.LOG.name]

    for _ in range(4):
        notifications.start(CONTEXT, None)
    for _ in range(3):
        broker.let(1)
        wait_until(lambda: notifications._waiting == 1, 20.0, "it still waits")
        for _ in range(3):
            notifications.start(CONTEXT, None)
    dropped = "notifications cannot be sent, and are dropped: 2 of them wait for the broker; check it"
    assert lines() == [dropped]
    broker.let(2)
    wait_until(lambda: len(lines()) == 2, 20.0, "its end is not logged")
    notifications.close()
    assert lines()[0] == dropped and lines()[1].startswith("notifications can be sent again, after ")
