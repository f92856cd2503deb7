"""Blazar's client of Placement, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project."""

from urllib import parse

from blazar.utils.openstack import keystone as keystone_options
from blazar.utils.openstack import placement
from oslo_config import cfg

# An option that the client reads is here.
assert keystone_options.keystone_opts
_client = []


def configure(facts):
    """Take how to reach the cloud, as blazar.conf says it."""
    url = parse.urlsplit(facts["auth_url"])
    conf = cfg.CONF
    conf([], project="blazar", default_config_files=[])
    for name, value in (
        ("os_auth_protocol", url.scheme),
        ("os_auth_host", url.hostname),
        ("os_auth_port", url.port),
        ("os_auth_prefix", ""),
        ("os_auth_version", "v3"),
        ("os_admin_username", "placement"),
        ("os_admin_password", facts["password"]),
        ("os_admin_project_name", "service"),
        ("os_region_name", facts["region"]),
    ):
        conf.set_override(name, value)
    _client[:] = [placement.BlazarPlacementClient()]


def methods():
    """The methods that the client has for its users."""
    return sorted(name for name in vars(placement.BlazarPlacementClient) if not name.startswith("_"))


def call(method, *arguments):
    """What a method returns."""
    return getattr(_client[0], method)(*arguments)


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (configure, methods, call)
