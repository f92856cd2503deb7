"""A nova-compute's calls over a real RabbitMQ, and a conductor that answers them: Nova's own objects, RPC client and
RPC server, over oslo.messaging. The conductor keeps no database.

Run by the peer's own Python, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project.
"""

import nova_steps
import nova_tap
import oslo_messaging
from nova import rpc
from nova.conductor import rpcapi
from nova.objects import base

RECEIVED = []


class Conductor:
    """Answers as Nova's conductor does, with an object that did not change by its save."""

    target = oslo_messaging.Target(version="3.0")

    def object_action(self, context, objinst, objmethod, args, kwargs):
        RECEIVED.append(f"{objinst.obj_name()} {objmethod}")
        return {}, None


def start(url):
    """Connect to a broker, and answer topic conductor there."""
    oslo_messaging.TransportURL(nova_tap.nova.conf.CONF)  # registers transport_url
    nova_tap.nova.conf.CONF.set_override("transport_url", url)
    rpc.set_defaults("nova")
    rpc.init(nova_tap.nova.conf.CONF)
    target = oslo_messaging.Target(topic="conductor", server="peer")
    rpc.get_server(target, [Conductor()], base.NovaObjectSerializer()).start()
    base.NovaObject.indirection_api = rpcapi.ConductorAPI()


def call(steps):
    """Do steps, as :func:`nova_steps.do`; each is answered. Returns what the conductor received."""
    del RECEIVED[:]
    nova_steps.do(steps)
    return list(RECEIVED)


ASKS = (start, call)
