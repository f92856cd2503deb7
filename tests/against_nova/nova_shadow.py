"""The calls of the real Nova's conductor to the scheduler and to compute hosts: as the bytes that RabbitMQ gets, or
over a real RabbitMQ, where Nova's own RPC servers answer.

Run by the peer's own Python, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project.
"""

import json
import logging

import nova.conf
import oslo_messaging
from nova import context, objects, rpc
from nova.compute import rpcapi as compute_rpcapi
from nova.objects import base
from nova.scheduler import rpcapi as scheduler_rpcapi
from oslo_messaging import transport
from oslo_messaging._drivers import amqp, common

logging.disable(logging.CRITICAL)
objects.register_all()
nova.conf.CONF([], default_config_files=[])
RECEIVED = []


class _Sent(transport.RPCTransport):
    """A transport that keeps what the RabbitMQ driver would send, with its routing key."""

    def __init__(self):
        self.conf = nova.conf.CONF
        self.messages = []

    def _require_driver_features(self, requeue=False):
        pass

    def _send(self, target, ctxt, message, wait_for_reply=None, **options):
        assert target.exchange is None and not target.fanout
        if wait_for_reply:
            message.update(_msg_id="0" * 32, _reply_q="reply_0", _timeout=60)
        amqp._add_unique_id(message)
        amqp.pack_context(message, ctxt)
        key = f"{target.topic}.{target.server}" if target.server else target.topic
        self.messages.append([key, json.dumps(common.serialize_msg(message))])
        return {}


SENT = _Sent()
rpc.TRANSPORT = SENT
rpc.NOTIFIER = object()


def _context(request_id):
    return context.RequestContext("u", "p", is_admin=True, request_id=request_id, auth_token="a secret token")


def _flavor(vcpus, memory_mb):
    return objects.Flavor(
        id=1,
        flavorid="f",
        name="m1",
        vcpus=vcpus,
        memory_mb=memory_mb,
        root_gb=0,
        ephemeral_gb=0,
        swap=0,
        rxtx_factor=1.0,
        vcpu_weight=0,
        disabled=False,
        is_public=True,
        extra_specs={},
    )


def _spec(uuid, vcpus=1, memory_mb=256, instances=1, **fields):
    values = {
        "instance_uuid": uuid,
        "project_id": "p",
        "user_id": "u",
        "flavor": _flavor(vcpus, memory_mb),
        "image": objects.ImageMeta(properties=objects.ImageMetaProps()),
        "num_instances": instances,
        "availability_zone": None,
        "numa_topology": None,
        "pci_requests": objects.InstancePCIRequests(requests=[], instance_uuid=uuid),
        "ignore_hosts": None,
        "force_hosts": None,
        "force_nodes": None,
        "retry": None,
        "limits": objects.SchedulerLimits(),
        "scheduler_hints": {},
        "is_bfv": False,
        "instance_group": None,
        "requested_resources": [],
        "request_level_params": objects.RequestLevelParams(),
    }
    return objects.RequestSpec(**(values | fields))


def _instance(uuid):
    instance = objects.Instance(
        id=1, uuid=uuid, host="source", node="source", system_metadata={}, flavor=_flavor(1, 256), vm_state="building"
    )
    instance.obj_reset_changes()
    return instance


def select(request_id, uuids, fields):
    """A request for instances, as the conductor makes it; ``fields`` are those of its RequestSpec."""
    scheduler_rpcapi.SchedulerAPI().select_destinations(
        _context(request_id), _spec(uuids[0], instances=len(uuids), **fields), uuids, True, True
    )


def build(request_id, uuid, host):
    """The build of an instance; with a password, which nobody may log."""
    compute_rpcapi.ComputeAPI().build_and_run_instance(
        _context(request_id),
        _instance(uuid),
        host,
        {},
        _spec(uuid),
        {},
        admin_password="a secret password",
        injected_files=[],
        requested_networks=None,
        security_groups=[],
        block_device_mapping=objects.BlockDeviceMappingList(objects=[]),
        node=host,
        limits={},
        host_list=[],
        accel_uuids=[],
    )


def resize(request_id, uuid, host):
    """A resize or a cold migration, on its destination."""
    compute_rpcapi.ComputeAPI().prep_resize(
        _context(request_id),
        _instance(uuid),
        objects.ImageMeta(properties=objects.ImageMetaProps()),
        _flavor(1, 256),
        host,
        objects.Migration(id=1, uuid=uuid),
        _spec(uuid),
        {},
        host,
        True,
        [],
    )


def migrate_live(request_id, uuid, host):
    """The check of the destination of a live migration."""
    compute_rpcapi.ComputeAPI().check_can_live_migrate_destination(
        _context(request_id), _instance(uuid), host, False, False, objects.Migration(id=1, uuid=uuid), None
    )


def resize_across(request_id, uuid, host):
    """A resize to another cell, on its destination."""
    compute_rpcapi.ComputeAPI().prep_snapshot_based_resize_at_dest(
        _context(request_id),
        _instance(uuid),
        _flavor(1, 256),
        host,
        objects.Migration(id=1, uuid=uuid),
        None,
        None,
        host,
    )


def unshelve(request_id, uuid, host):
    """The unshelving of an instance."""
    compute_rpcapi.ComputeAPI().unshelve_instance(
        _context(request_id), _instance(uuid), host, _spec(uuid), {}, {}, host, []
    )


def rebuild(request_id, uuid, host):
    """A rebuild or an evacuation."""
    compute_rpcapi.ComputeAPI().rebuild_instance(
        _context(request_id),
        instance=_instance(uuid),
        new_pass="a secret password",
        injected_files=[],
        image_ref="",
        orig_image_ref="",
        orig_sys_metadata={},
        bdms=objects.BlockDeviceMappingList(objects=[]),
        recreate=True,
        on_shared_storage=False,
        host=host,
        node=host,
        preserve_ephemeral=False,
        migration=None,
        limits={},
        request_spec=_spec(uuid),
        accel_uuids=[],
        reimage_boot_volume=False,
        target_state=None,
    )


def terminate(request_id, uuid, host):
    """The end of an instance."""
    instance = _instance(uuid)
    instance.host = host
    compute_rpcapi.ComputeAPI().terminate_instance(
        _context(request_id), instance, objects.BlockDeviceMappingList(objects=[])
    )


def pause(request_id, uuid, host):
    """A call that says nothing of a choice."""
    instance = _instance(uuid)
    instance.host = host
    compute_rpcapi.ComputeAPI().pause_instance(_context(request_id), instance)


STEPS = {
    step.__name__: step
    for step in (select, build, resize, migrate_live, resize_across, unshelve, rebuild, terminate, pause)
}


def messages(steps):
    """[routing key, body] of the message of each step; a step is its name and its arguments."""
    SENT.messages = []
    for name, *arguments in steps:
        STEPS[name](*arguments)
    return SENT.messages


class _Answering:
    """Answers as nova-scheduler and nova-compute do, and keeps what was asked."""

    target = oslo_messaging.Target(version="6.4")

    def __getattr__(self, name):
        if name.startswith("_") or name not in ("build_and_run_instance", "terminate_instance", "prep_resize"):
            raise AttributeError(name)
        return lambda ctxt, **named: RECEIVED.append(name)


class _Scheduler:
    target = oslo_messaging.Target(version="4.5")

    def select_destinations(self, ctxt, **named):
        RECEIVED.append("select_destinations")
        return []


def start(url, hosts):
    """Connect to a broker, and answer topic scheduler and those of compute hosts there."""
    oslo_messaging.TransportURL(nova.conf.CONF)  # registers transport_url
    nova.conf.CONF.set_override("transport_url", url)
    rpc.set_defaults("nova")
    rpc.init(nova.conf.CONF)
    compute_rpcapi._ROUTER = None
    serializer = base.NovaObjectSerializer()
    for target, endpoint in (
        (oslo_messaging.Target(topic="scheduler", server="peer"), _Scheduler()),
        *((oslo_messaging.Target(topic="compute", server=host), _Answering()) for host in hosts),
    ):
        rpc.get_server(target, [endpoint], serializer).start()


def received():
    """The methods that were called since the last question."""
    found = list(RECEIVED)
    del RECEIVED[:]
    return found


def send(steps):
    """Do steps, as :func:`messages`, over the broker."""
    for name, *arguments in steps:
        STEPS[name](*arguments)


ASKS = (messages, start, send, received)
