"""The real Nova's messages from a nova-compute to its conductor, as the bytes that RabbitMQ gets.

Run by the peer's own Python, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project.
"""

import json
import logging

import nova.conf
import nova_steps
from nova import context, objects, rpc
from nova.conductor import rpcapi
from nova.objects import base
from oslo_messaging import transport
from oslo_messaging._drivers import amqp, common

logging.disable(logging.CRITICAL)
objects.register_all()
nova.conf.CONF([], default_config_files=[])


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
    """The bodies of the calls that steps make (:func:`nova_steps.do`)."""
    SENT.bodies = []
    nova_steps.do(steps)
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


ASKS = (bodies, other_calls)
