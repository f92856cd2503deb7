"""The WSGI application of the Placement API."""

from oslo_config import cfg

from placement_api import auth, middleware
from placement_api.region import Region
from placement_api.router import Router


def make_app(conf: cfg.ConfigOpts, region: Region) -> auth.Application:
    """The routes over a region, inside all middleware. ``conf`` has the options of :mod:`placement_api.config`."""
    return middleware.stack(conf, Router(conf, region), region)
