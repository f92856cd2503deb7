"""``application`` for any WSGI server: ``placement_api.wsgi:application``.

The configuration is that of ``nova-sched-placement``, from the usual files or from those that
``OS_NOVA_SCHED_CONFIG_FILES`` names, separated by ``:``. A process begins to read the logs with its first request,
after the server has made its worker processes: threads do not pass into a new process.
"""

import functools
import logging
import os
import threading

from placement_api.error_answers import answer
from placement_api.http_errors import Unavailable
from rpc_api import errors

LOG = logging.getLogger(__name__)

#: Seconds that the first request waits for the logs. Later ones get 503 until a log is read.
FIRST_WAIT = 5.0

_lock = threading.Lock()
_applications: dict[int, object] = {}


def application(environ, start_response):
    """Answer a request."""
    made = _applications.get(os.getpid())
    if made is None:
        with _lock:
            made = _applications.get(os.getpid())
            if made is None:
                made = _applications[os.getpid()] = _make()
    return made(environ, start_response)


def _make():
    from rpc_api import concurrency

    concurrency.setup()
    try:
        return _made()
    except errors.NovaSchedError as fault:
        # A web server has no exit code for it: the fault is in the log, and each request gets an error.
        LOG.error("the Placement API cannot start: %s", fault)
        error = Unavailable("The Placement API cannot start. The log of the service has the reason.")
        return functools.partial(answer, error)


def _made():
    from oslo_config import cfg

    from nova_sched.process import process, unread_options
    from placement_api import config
    from placement_api.app import make_app
    from placement_api.starting import region_of

    conf = cfg.ConfigOpts()
    process.register_options(conf, config)
    files = os.environ.get("OS_NOVA_SCHED_CONFIG_FILES", "")
    arguments = [f"--config-file={name}" for name in files.split(":") if name]
    process.parse(conf, "nova-sched-placement", arguments)
    process.set_up_log(conf, "nova-sched-placement")
    region = region_of(conf)
    made = make_app(conf, region)
    unread_options.warn(conf)
    region.start()
    try:
        region.wait_ready(min(FIRST_WAIT, conf.cells.catch_up_timeout))
    except errors.LogUnavailable as fault:
        LOG.warning("the Placement API begins before its logs are read: %s", fault)
    LOG.info("%s answers for the logs of %s", region.name, ", ".join(region.logs))
    return made
