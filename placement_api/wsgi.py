"""``application`` for any WSGI server: ``placement_api.wsgi:application``.

The configuration is that of ``nova-sched-placement``, from the usual files or from those that
``OS_NOVA_SCHED_CONFIG_FILES`` names, separated by ``:``. A process begins to read the logs with its first request,
after the server has made its worker processes: threads do not pass into a new process. From then on it also has its own
port for metrics and health, if [monitoring] is enabled.
"""

import functools
import logging
import os
import threading

from placement_api.error_answers import answer
from placement_api.http_errors import Unavailable
from rpc_api import errors

LOG = logging.getLogger(__name__)
PROGRAM = "nova-sched-placement"

#: Seconds that the first request waits for the logs. Later ones get 503 until a log is read.
FIRST_WAIT = 5.0

_lock = threading.Lock()
_applications: dict[int, object] = {}
#: Process -> what answers for its metrics and health.
_monitors: dict[int, object] = {}


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

    from nova_sched.process import log_setup, process, unread_options
    from nova_sched.process.monitoring.monitor import Monitor
    from placement_api import config
    from placement_api.app import make_app
    from placement_api.service import PlacementService
    from placement_api.shown import ShownRegion
    from placement_api.starting import region_of

    conf = cfg.ConfigOpts()
    process.register_options(conf, config)
    files = os.environ.get("OS_NOVA_SCHED_CONFIG_FILES", "")
    arguments = [f"--config-file={name}" for name in files.split(":") if name]
    process.parse(conf, PROGRAM, arguments)
    log_setup.set_up(conf, PROGRAM)
    region = region_of(conf)
    made = make_app(conf, region)
    unread_options.warn(conf)
    monitor = Monitor(PROGRAM, conf, ShownRegion(region), lambda: region.fault)
    port = conf.monitoring.port or PlacementService.MONITORING_PORT
    _monitors[os.getpid()] = monitor.serve(port + region.worker.number)
    region.start()
    try:
        region.wait_ready(min(FIRST_WAIT, conf.cells.catch_up_timeout))
    except errors.LogUnavailable as fault:
        LOG.warning("the Placement API begins before its logs are read: %s", fault)
    monitor.is_started = True
    LOG.info("%s answers for the logs of %s", region.name, ", ".join(region.logs))
    return made
