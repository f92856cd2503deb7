"""A single broker that is killed and comes back with its data, under load."""

import pytest

from tests.faults.load import Cloud, Load, audit
from tests.servers import RabbitServer

pytestmark = pytest.mark.rabbit


@pytest.fixture
def rabbit():
    with RabbitServer() as server:
        yield server


def test_killed_and_started_again(tmp_path, rabbit):
    with Cloud(tmp_path, rabbit.url(), rabbit.url) as cloud, Load(cloud) as load:
        load.wait_selected(100)
        with load.fault():
            rabbit.kill()
            rabbit.start()
        load.wait_selected(100)
        load.stop()
        findings = audit(cloud, load)
    print(findings.row("a single node is killed (SIGKILL) and started again"))
    findings.check()
