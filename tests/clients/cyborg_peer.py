"""Cyborg's client of Placement, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project."""

import keystone_options
from cyborg import conf, context
from cyborg.common import placement_client

_client = []
_context = context.RequestContext()


def configure(facts):
    """Take how to reach the cloud, as cyborg.conf says it."""
    conf.CONF([], project="cyborg", default_config_files=[])
    keystone_options.set_password(conf.CONF, "placement", facts)
    _client[:] = [placement_client.PlacementClient()]


def call(method, *arguments):
    """What a method returns."""
    return getattr(_client[0], method)(*arguments)


def call_with_context(method, *arguments):
    """The same for a method that wants a context."""
    return getattr(_client[0], method)(_context, *arguments)


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (configure, call, call_with_context)
