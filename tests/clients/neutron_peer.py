"""neutron-lib's client of Placement, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project."""

import keystone_options
from neutron_lib.placement import client
from oslo_config import cfg

_client = []


def configure(facts):
    """Take how to reach the cloud, as neutron.conf says it."""
    conf = cfg.ConfigOpts()
    conf.register_opts([cfg.StrOpt("region_name"), cfg.StrOpt("endpoint_type", default="public")], "placement")
    conf([], default_config_files=[])
    keystone_options.set_password(conf, "placement", facts)
    _client[:] = [client.PlacementAPIClient(conf)]


def methods():
    """The methods that the client has for its users."""
    return sorted(name for name in vars(client.PlacementAPIClient) if not name.startswith("_"))


def call(method, named):
    """What a method returns, if it is not the answer of HTTP itself."""
    found = getattr(_client[0], method)(**named)
    return found if isinstance(found, dict | list) else None


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (configure, methods, call)
