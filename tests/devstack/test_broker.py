"""What the plugin does to RabbitMQ, against a real broker of this module's own."""

import json
import os
import shlex

import amqp
import pytest

from tests.devstack.cloud import Cloud
from tests.servers import RabbitServer, ServerMissing

pytestmark = pytest.mark.rabbit

VHOSTS = ("/", "nova_cell1")
OURS = {
    "queues": ["nova_sched.cell1", "nova_sched_conductor.my-host"],
    "exchanges": ["nova_sched", "nova_sched_fanout"],
}
NOVAS = {"queues": ["scheduler"], "exchanges": ["nova", "scheduler_fanout"]}


@pytest.fixture(scope="module")
def server():
    try:
        server = RabbitServer()
    except ServerMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    with server:
        server.add_vhost("nova_cell1")
        yield server


@pytest.fixture
def cloud(tmp_path, server):
    """A host whose rabbitmqctl is the real one."""
    cloud = Cloud(tmp_path / "host")
    exports = "".join(
        f"export {name}={shlex.quote(value)}\n"
        for name, value in server._env.items()
        if name.startswith(("RABBITMQ_", "ERL_")) or name == "HOME"
    )
    (cloud.dir / "bin/rabbitmqctl").write_text(
        f'#!/bin/bash\n{exports}exec {server._scripts}/rabbitmqctl -n {server.node} "$@"\n'
    )
    return cloud


def declare(server, vhost: str, names: dict) -> None:
    """Declare these queues and exchanges; a queue named ``nova_sched.`` and more is a log."""
    with amqp.Connection(
        f"{server.host}:{server.port}", server.user, server.password, virtual_host=vhost
    ) as connection:
        channel = connection.channel()
        for exchange in names["exchanges"]:
            channel.exchange_declare(exchange, "topic", durable=True, auto_delete=False)
        for queue in names["queues"]:
            kind = "stream" if queue.startswith("nova_sched.") else "classic"
            channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-queue-type": kind})


def names(server, vhost: str, kind: str) -> set[str]:
    listed = server.rabbitmqctl("-s", f"list_{kind}", "-p", vhost, "name").splitlines()
    return {name for name in listed if name and not name.startswith("amq.")}


def definition(age: str) -> dict:
    return {"max-age": age, "max-length-bytes": 2_000_000_000, "stream-max-segment-size-bytes": 200_000_000}


def retention(server, vhost: str) -> dict[str, dict]:
    """The definition of the policy that the broker applies to each queue, where it applies one."""
    policies = [row.split("\t") for row in server.rabbitmqctl("-s", "list_policies", "-p", vhost).splitlines()]
    definitions = {policy[1]: json.loads(policy[4]) for policy in policies if len(policy) > 1}
    listed = server.rabbitmqctl("-s", "list_queues", "-p", vhost, "name", "policy").splitlines()
    return {queue: definitions[policy] for queue, policy in (row.split("\t") for row in listed) if policy}


def test_from_stack_to_clean(server, cloud):
    for vhost in VHOSTS:
        declare(server, vhost, NOVAS)
        declare(server, vhost, {"queues": ["nova_sched.of_the_cloud_before"], "exchanges": []})
    cloud.run("stack", "post-config")
    for vhost in VHOSTS:
        assert names(server, vhost, "queues") == set(NOVAS["queues"])
        declare(server, vhost, OURS)
        assert retention(server, vhost) == {"nova_sched.cell1": definition("7D")}

    cloud.run("clean")
    for vhost in VHOSTS:
        for kind in ("queues", "exchanges"):
            assert names(server, vhost, kind) == set(NOVAS[kind])
        assert server.rabbitmqctl("-s", "list_policies", "-p", vhost).strip() == ""


def test_retention_is_changed_on_a_log_that_is_there(server, cloud):
    declare(server, "nova_cell1", {"queues": ["nova_sched.cell1"], "exchanges": []})
    cloud.set_localrc("NOVA_SCHED_LOG_MAX_AGE=12h\nNOVA_SCHED_RECREATE_LOGS=False")
    cloud.run("stack", "post-config")
    assert retention(server, "nova_cell1") == {"nova_sched.cell1": definition("12h")}
