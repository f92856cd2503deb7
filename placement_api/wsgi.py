"""``application`` for any WSGI server: ``placement_api.wsgi:application``.

The configuration is that of ``nova-sched-placement``, from the usual files or from those that
``OS_NOVA_SCHED_CONFIG_FILES`` names, separated by ``:``. A process begins to read the logs with its first request,
after the server has made its worker processes: threads do not pass into a new process.
"""

import os
import threading

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
    from oslo_config import cfg

    from nova_sched.process import process
    from placement_api import config
    from placement_api.app import make_app
    from placement_api.starting import region_of

    conf = cfg.ConfigOpts()
    process.register_options(conf, config)
    files = os.environ.get("OS_NOVA_SCHED_CONFIG_FILES", "")
    arguments = [f"--config-file={name}" for name in files.split(":") if name]
    process.parse(conf, "nova-sched-placement", arguments)
    process.set_up_log(conf, "nova-sched-placement")
    region = region_of(conf).start()
    region.wait_ready(conf.cells.catch_up_timeout)
    return make_app(conf, region)
