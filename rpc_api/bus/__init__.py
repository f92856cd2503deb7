"""RPC between the services, over oslo.messaging or, inside one process, directly.

A bus has clients and servers. A topic names a kind of service, a server one
of them. ``call`` waits for the answer of one server of the topic, ``cast``
does not wait, ``fanout`` reaches all of them.

* :class:`MessagingBus`: ``rabbit://`` in production, ``fake://`` in one process.
* :class:`LocalBus`: calls the endpoint in the caller's thread. What is passed still goes through the serializer, so
  that both sides never share an object.

An endpoint is any object; its attribute ``RPC_METHODS``, if it has one, names the methods that may be called, else
all of its public ones may; those in ``RPC_AT_ONCE`` do not wait behind calls that last. A method may answer with a
Future. What it raises arrives as the same class if it is one of ``EXPECTED``, else as a NovaSchedError: the text
travels, a traceback never does.
"""

from rpc_api.bus.local import LocalBus
from rpc_api.bus.messaging import MessagingBus
from rpc_api.bus.port import BY_NAME, DEFAULT_EXCHANGE, EXPECTED, expected

__all__ = ["BY_NAME", "DEFAULT_EXCHANGE", "EXPECTED", "LocalBus", "MessagingBus", "expected"]
