"""The real Nova's messages from a nova-compute to its conductor, as the bytes that RabbitMQ gets.

Run by the peer's own Python, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project.
"""

import json
import logging

import nova.conf
from nova import context, objects, rpc
from nova.conductor import rpcapi
from nova.objects import base
from oslo_messaging import transport
from oslo_messaging._drivers import amqp, common

logging.disable(logging.CRITICAL)
objects.register_all()
nova.conf.CONF([], default_config_files=[])
NUMA_PAGES = {"size_kb": 4, "total": 1000, "used": 10, "reserved": 5}


class _Sent(transport.RPCTransport):
    """A transport that keeps what the RabbitMQ driver would send."""

    def __init__(self):
        self.conf = nova.conf.CONF
        self.bodies = []

    def _require_driver_features(self, requeue=False):
        pass

    def _send(self, target, ctxt, message, wait_for_reply=None, **options):
        assert (target.exchange, target.topic, wait_for_reply) == (None, "conductor", True)
        message.update(_msg_id="0" * 32, _reply_q="reply_0", _timeout=60)
        amqp._add_unique_id(message)
        amqp.pack_context(message, ctxt)
        self.bodies.append(json.dumps(common.serialize_msg(message)))
        return {}, None


SENT = _Sent()
rpc.TRANSPORT = SENT
rpc.NOTIFIER = object()
CONDUCTOR = base.NovaObject.indirection_api = rpcapi.ConductorAPI()


def bodies(steps):
    """The bodies of the calls that steps make. A step is [object, its fields, method, fields that are set before it];
    the object counts as saved with its fields, unless it is created."""
    SENT.bodies = []
    for name, fields, method, changes in steps:
        made = MAKERS[name](fields)
        made._context = context.get_admin_context()
        if method != "create":
            made.obj_reset_changes(recursive=True)
        for field, value in changes.items():
            setattr(made, field, _value(field, value))
        getattr(made, method)()
    return SENT.bodies


def other_calls():
    """The bodies of calls that are not of an object, or that change nothing."""
    SENT.bodies = []
    ctxt = context.get_admin_context()
    objects.Service.get_by_compute_host(ctxt, "host1")
    objects.ComputeNodeList.get_all_by_host(ctxt, "host1")
    objects.InstanceList.get_by_host_and_node(ctxt, "host1", "host1")
    event = objects.InstanceActionEvent(ctxt, event="x")
    CONDUCTOR.object_backport_versions(ctxt, event, {"InstanceActionEvent": "1.0"})
    return SENT.bodies


def _value(field, value):
    return _SPECIAL[field](value) if field in _SPECIAL else value


def _numa(cells):
    topology = objects.NUMATopology(
        cells=[
            objects.NUMACell(
                id=cell["id"],
                cpuset=set(cell["shared"]),
                pcpuset=set(cell["dedicated"]),
                memory=cell["memory_mb"],
                cpu_usage=1,
                memory_usage=256,
                pinned_cpus=set(cell["dedicated"][:1]),
                siblings=[set(core) for core in cell["siblings"]],
                mempages=[objects.NUMAPagesTopology(**NUMA_PAGES)],
                network_metadata=objects.NetworkMetadata(physnets=set(cell["physnets"]), tunneled=True),
                socket=0,
            )
            for cell in cells
        ]
    )
    return topology._to_json()


def _pools(pools):
    return objects.PciDevicePoolList(objects=[objects.PciDevicePool(**pool) for pool in pools])


_SPECIAL = {
    "numa_topology": lambda cells: cells and _numa(cells),
    "pci_device_pools": _pools,
    "supported_hv_specs": lambda specs: [objects.HVSpec.from_list(spec) for spec in specs],
}


def _node(fields):
    return objects.ComputeNode(**{name: _value(name, value) for name, value in fields.items()})


def _service(fields):
    return objects.Service(**fields)


def _instance(fields):
    instance = objects.Instance(**fields)
    instance.obj_reset_changes()
    return instance


def _device(fields):
    return objects.PciDevice(**fields)


MAKERS = {"ComputeNode": _node, "Service": _service, "Instance": _instance, "PciDevice": _device}


ASKS = (bodies, other_calls)
