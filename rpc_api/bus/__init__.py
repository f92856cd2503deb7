"""RPC between the services, over oslo.messaging or, inside one process, directly.

A bus has clients and servers. A topic is the name of a service with one or more servers. ``call`` waits for the answer
of one server of the topic, ``cast`` does not wait, ``fanout`` reaches all of them.

* :class:`MessagingBus`: ``rabbit://`` in production, ``fake://`` in one process.
* :class:`LocalBus`: calls the endpoint in the caller's thread. Arguments and answers still go through the serializer,
  so that both sides never share an object.

An endpoint is any object. Its attribute ``RPC_METHODS`` names the methods that may be called (the default is all public
methods), ``RPC_AT_ONCE`` those that do not wait for long calls. A method may answer with a Future, or with an
Answer, to learn if it is not delivered. An exception arrives
as the same class if it is one of ``EXPECTED``, else as a NovaSchedError: the text is sent, a traceback never is.
"""

from rpc_api.bus.local import LocalBus
from rpc_api.bus.messaging import MessagingBus
from rpc_api.bus.port import BY_NAME, DEFAULT_EXCHANGE, EXPECTED, Answer, expected

__all__ = ["BY_NAME", "DEFAULT_EXCHANGE", "EXPECTED", "Answer", "LocalBus", "MessagingBus", "expected"]
