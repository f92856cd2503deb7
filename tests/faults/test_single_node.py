"""A single broker: killed and started again, blocked by its alarms, its queues deleted under their users."""

import signal

import pytest

from rpc_api import errors
from tests.faults.load import Cloud, Load, audit, under_load

pytestmark = pytest.mark.rabbit


def test_killed_and_started_again(tmp_path, rabbit_server, vhost):
    with under_load(
        "a single node is killed (SIGKILL) and started again",
        tmp_path,
        rabbit_server.url(vhost=vhost),
        lambda name: rabbit_server.url(name, vhost),
    ) as (_, load):
        with load.fault():
            rabbit_server.kill()
            rabbit_server.start()
    assert load.wrong == []


@pytest.mark.long
def test_a_cell_fails_alone(tmp_path, rabbit, rabbit_of_logs):
    """The logs of two cells are on different brokers: the other cell does not notice that one's broker is away."""
    with under_load(
        "the broker of one of two cells' logs is killed and, after 200 selections, started again",
        tmp_path,
        rabbit.url(),
        lambda name: (rabbit_of_logs if name == "cell2" else rabbit).url(name),
        cells=("cell1", "cell2"),
    ) as (cloud, load):
        with load.fault():
            rabbit_of_logs.kill()
            load.wait_selected(200)
            rabbit_of_logs.start()
            for name in ("scheduler-1", "scheduler-2"):
                cloud.running[name].wait_for("cell cell2 is open again")
    assert load.wrong == []


BLOCKED = "cannot append, and keeps trying: .*blocked publishers"
#: What is done, and what ends it.
ALARMS = {
    "memory": (("set_vm_memory_high_watermark", "0.0001"), ("set_vm_memory_high_watermark", "0.4")),
    "disk": (("set_disk_free_limit", "100000GB"), ("set_disk_free_limit", "50MB")),
}


@pytest.mark.long
@pytest.mark.parametrize("alarm", ALARMS)
def test_publishers_are_blocked(tmp_path, rabbit, alarm):
    begin, end = ALARMS[alarm]
    with under_load(
        f"the {alarm} alarm of the broker of logs and RPC blocks all publishers", tmp_path, rabbit.url(), rabbit.url
    ) as (cloud, load):
        with load.fault():
            rabbit.rabbitmqctl(*begin)
            # No request reaches a scheduler, so it has nothing to append; claims that expire are a conductor's.
            cloud.running["conductor-1.cell1"].wait_for(BLOCKED)
            rabbit.rabbitmqctl(*end)
    assert load.wrong == []


@pytest.mark.long
@pytest.mark.parametrize("alarm", ALARMS)
def test_publishers_of_the_logs_are_blocked(tmp_path, rabbit, rabbit_of_logs, alarm):
    begin, end = ALARMS[alarm]
    with under_load(
        f"the {alarm} alarm of a broker of the logs alone blocks their publishers",
        tmp_path,
        rabbit.url(),
        rabbit_of_logs.url,
    ) as (cloud, load):
        with load.fault():
            rabbit_of_logs.rabbitmqctl(*begin)
            for name in ("scheduler-1", "scheduler-2", "conductor-1.cell1"):
                cloud.running[name].wait_for(BLOCKED)
            cloud.running["scheduler-1"].wait_for("cell cell1 is closed")
            rabbit_of_logs.rabbitmqctl(*end)
            cloud.running["scheduler-1"].wait_for("cell cell1 is open again")
    assert load.wrong == []


@pytest.mark.long
def test_services_that_are_stopped_while_publishers_are_blocked_end_in_time(tmp_path, rabbit):
    begin, end = ALARMS["memory"]
    with (
        Cloud(tmp_path, rabbit.url(), rabbit.url, DEFAULT={"graceful_shutdown_timeout": 5}) as cloud,
        Load(cloud) as load,
    ):
        load.wait_selected(20)
        rabbit.rabbitmqctl(*begin)
        load.wait_asked(20)
        for process in cloud.running.values():
            process.send(signal.SIGTERM)
        for name, process in cloud.running.items():
            assert process.process.wait(60) in (errors.EXIT_OK, errors.EXIT_NEGATIVE), f"{name}: {process.stderr}"
        rabbit.rabbitmqctl(*end)
        load.stop()


@pytest.mark.long
def test_services_that_are_started_while_publishers_are_blocked_serve_when_they_are_not(tmp_path, rabbit):
    begin, end = ALARMS["memory"]
    with Cloud(tmp_path, rabbit.url(), rabbit.url) as cloud, Load(cloud) as load:
        load.wait_selected(20)
        for name in list(cloud.running):
            cloud.kill(name)
        rabbit.rabbitmqctl(*begin)
        cloud.begin(*cloud.names)
        load.wait_asked(100)
        rabbit.rabbitmqctl(*end)
        cloud.wait_ready()
        load.wait_selected(100)
        load.stop()
        assert audit(cloud, load).wrong() == []


@pytest.mark.long
def test_a_log_that_is_deleted_under_load_is_begun_anew(tmp_path, rabbit):
    """What was answered before is lost with the log; every answer after it was recreated, or rebased, holds."""
    with Cloud(tmp_path, rabbit.url(), rabbit.url) as cloud:
        with Load(cloud) as load:
            load.wait_selected(150)
            with load.fault():
                rabbit.rabbitmqctl("delete_queue", "cell1")
                for name in cloud.folders():
                    cloud.running[name].wait_for("the log of cell1 can be read again")
            load.wait_selected(150)
            load.stop()
            print(audit(cloud, load).row("the stream of a cell's log is deleted: what was answered before is lost"))
        with Load(cloud) as load:
            load.wait_selected(150)
            load.stop()
            assert audit(cloud, load).wrong() == []
