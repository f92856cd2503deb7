"""A single broker: killed and started again, blocked by its alarms, its queues deleted under their users."""

import pytest

from tests.faults.load import under_load

pytestmark = pytest.mark.rabbit


def test_killed_and_started_again(tmp_path, rabbit):
    with under_load("a single node is killed (SIGKILL) and started again", tmp_path,
                    rabbit.url(), rabbit.url) as (_, load):
        with load.fault():
            rabbit.kill()
            rabbit.start()


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
    with under_load(f"the {alarm} alarm of the broker of logs and RPC blocks all publishers", tmp_path,
                    rabbit.url(), rabbit.url) as (cloud, load):
        with load.fault():
            rabbit.rabbitmqctl(*begin)
            # No request reaches a scheduler, so it has nothing to append; claims that expire are a conductor's.
            cloud.running["conductor-1.cell1"].wait_for(BLOCKED)
            rabbit.rabbitmqctl(*end)


@pytest.mark.long
@pytest.mark.parametrize("alarm", ALARMS)
def test_publishers_of_the_logs_are_blocked(tmp_path, rabbit, rabbit_of_logs, alarm):
    begin, end = ALARMS[alarm]
    with under_load(f"the {alarm} alarm of a broker of the logs alone blocks their publishers", tmp_path,
                    rabbit.url(), rabbit_of_logs.url) as (cloud, load):
        with load.fault():
            rabbit_of_logs.rabbitmqctl(*begin)
            for name in ("scheduler-1", "scheduler-2", "conductor-1.cell1"):
                cloud.running[name].wait_for(BLOCKED)
            cloud.running["scheduler-1"].wait_for("cell cell1 is closed")
            rabbit_of_logs.rabbitmqctl(*end)
            cloud.running["scheduler-1"].wait_for("cell cell1 is open again")
