"""The process nova-sched-conductor with a tap: its options, its report, a wrong account, and a stop in good order."""

import contextlib
import re

import pytest

from nova_sched.projection.projection import Projection
from rpc_api import codec, errors
from rpc_api.log import open_log
from tests.conductor.tap.test_rabbit import RIGHTS, Nova, TappedCell
from tests.end_to_end.processes import COMMANDS, ServiceProcess, config_text, run, sections_for
from tests.servers import wait_until

pytestmark = pytest.mark.rabbit
SECONDS_MAX = 60.0
MESSAGES = ("heartbeat", "node saved", "instance built")


def folded(url):
    """The state of a log."""
    projection = Projection("cell1")
    with contextlib.closing(open_log(url)) as log, log.read_from(log.bounds().first) as reader:
        while records := reader.read(1000):
            projection.fold([(record.position, codec.decode_record(record.payload)) for record in records])
    return projection


@pytest.fixture
def nova(rabbit_server, vhost):
    nova = Nova(rabbit_server, vhost)
    rabbit_server.add_user("tap", "secret", *RIGHTS, vhost=vhost)
    yield nova
    nova.close()


@pytest.fixture
def log(tmp_path):
    """The URL of a log at level 3 that has the provider of host1."""
    url = f"sqlite:///{tmp_path}/cell1.db"
    cell = TappedCell(None, url=url)
    cell.add_provider("host1")
    cell._appender.close()
    cell.log.close()
    return url


def config(tmp_path, server, vhost, **tap):
    """The path of a configuration whose tap has an account of its own."""
    options = {"enabled": "true", "url": server.url(vhost=vhost, user="tap", password="secret")} | tap
    path = tmp_path / "nova_sched.conf"
    path.write_text(config_text(sections_for(tmp_path, conductor={"service_down_time": 3}, tap=options)))
    return str(path)


def test_a_conductor_taps_and_finds_lost_hosts(tmp_path, rabbit_server, vhost, nova, log):
    path = config(tmp_path, rabbit_server, vhost)
    with ServiceProcess(tmp_path, *COMMANDS["cell"], "--config-file", path) as conductor:
        conductor.wait_ready().wait_for("the tap of cell1 reads rabbit://tap:")
        nova.publish(*MESSAGES)
        wait_until(lambda: "host1" in folded(log).hosts, SECONDS_MAX, "the host is not in the log")
        conductor.wait_for("1 host of cell1 is lost: host1")
        report = conductor.guru_report()
        assert re.search(r"tap:? .*reads, rabbit://tap:\*\*\*@", report) and "secret" not in report
        assert "secret" not in conductor.stderr
        nova.publish("heartbeat")
        conductor.wait_for("1 host of cell1 is seen again")
        assert conductor.stop() == 0
    assert len(nova.read()) == len(MESSAGES) + 1


def test_a_conductor_goes_on_without_rights(tmp_path, rabbit_server, vhost, nova, log):
    """It says what is missing, and goes on with its other duties; the tap starts when the rights are there."""
    rabbit_server.add_user("tap", "secret", "", "", "", vhost=vhost)
    path = config(tmp_path, rabbit_server, vhost)
    with ServiceProcess(tmp_path, *COMMANDS["cell"], "--config-file", path) as conductor:
        conductor.wait_ready().wait_for("give the user 'tap' the rights of the tap")
        rabbit_server.add_user("tap", "secret", *RIGHTS, vhost=vhost)
        conductor.wait_for("the tap of cell1 reads again")
        assert conductor.stop() == 0


def test_a_wrong_url_ends_the_start(tmp_path, rabbit_server, vhost, log):
    path = config(tmp_path, rabbit_server, vhost, url="fake://")
    done = run(*COMMANDS["cell"], "--config-file", path)
    assert done.returncode == errors.EXIT_USAGE and "[tap] needs RabbitMQ" in done.stderr
