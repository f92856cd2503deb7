"""``[scheduler] placement_endpoint`` of a running scheduler, as a stock conductor sees it over RabbitMQ."""

import json
import signal
import uuid

import pytest
from oslo_config import cfg

from rpc_api.bus import MessagingBus
from rpc_api.contracts.scheduler import TOPIC, VERSION
from tests.builders import CONTEXT, request_spec
from tests.end_to_end.processes import ServiceProcess, config_text, sections_for

pytestmark = pytest.mark.rabbit

SECONDS_MAX = 60


@pytest.fixture
def write(tmp_path, rabbit_server, vhost):
    """Write the configuration file; ``scheduler`` are options of that section."""

    def written(**scheduler):
        path = tmp_path / "nova_sched.conf"
        path.write_text(
            config_text(
                sections_for(tmp_path, DEFAULT={"transport_url": rabbit_server.url(vhost=vhost)}, scheduler=scheduler)
            )
        )
        return path

    return written


@pytest.fixture
def client(rabbit_server, vhost):
    if not cfg.CONF._args:
        cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    bus = MessagingBus(cfg.CONF, rabbit_server.url(vhost=vhost))
    yield bus.client(TOPIC, VERSION)
    bus.close()


def keys(client):
    """The keys of the allocation requests of a selection and its alternates, as nova's conductor asks for them."""
    asked = request_spec(str(uuid.uuid4()))
    (selections,) = client.call(
        CONTEXT,
        "select_destinations",
        timeout=SECONDS_MAX,
        spec_obj=asked,
        instance_uuids=[asked.instance_uuid],
        return_objects=True,
        return_alternates=True,
    )
    assert len(selections) == 3
    (found,) = {tuple(json.loads(selection.allocation_request)) for selection in selections}
    return found


def test_it_changes_with_sighup(tmp_path, write, client):
    config = write()
    with (
        ServiceProcess(tmp_path, "agent", "--config-file", str(config)) as agent,
        ServiceProcess(tmp_path, "scheduler", "--config-file", str(config)) as scheduler,
    ):
        agent.wait_ready()
        scheduler.wait_ready()
        placements, ours = ("allocations", "mappings"), ("allocations", "mappings", "nova_sched")
        assert keys(client) == placements
        for count, (endpoint, wanted) in enumerate((("nova_sched", ours), ("placement", placements)), 1):
            write(placement_endpoint=endpoint)
            scheduler.send(signal.SIGHUP)
            scheduler.wait_for(r"the configuration was reloaded, changed: \[scheduler\] placement_endpoint", count)
            assert keys(client) == wanted
        write(placement_endpoint="nova")
        scheduler.send(signal.SIGHUP)
        scheduler.wait_for(r"ERROR.*the new configuration is not used: .*placement_endpoint")
        assert keys(client) == placements
        assert scheduler.stop() == 0 and agent.stop() == 0
