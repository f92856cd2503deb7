"""The API as a service process, with a web server of its own."""

import logging

from nova_sched.process.service import Remaining, Service
from nova_sched.process.web.serving import serve, stop
from placement_api import config
from placement_api.app import make_app
from placement_api.shown import ShownRegion
from placement_api.starting import ServedPort, region_of, state_dir_of
from rpc_api import concurrency, errors

LOG = logging.getLogger(__name__)

#: What --help says about the service.
DESCRIPTION = "Serve Placement's API from the logs of the cells."

#: Section of the configuration that has the options of the web server.
SECTION = "placement_api"

register = config.register


class PlacementService(Service):
    """The API over the logs that ``[placement_api]`` names."""

    def __init__(self, conf):
        self._conf = conf
        self.region = region_of(conf)
        self._shown = ShownRegion(self.region)
        self._server = self._port = None

    def start(self):
        options = self._conf.placement_api
        self._port = ServedPort(state_dir_of(self._conf), options.bind_port, self.region.logs)
        self.region.start().wait_ready(self._conf.cells.catch_up_timeout)
        self._server = RunningServer(make_app(self._conf, self.region), options, options.bind_host, options.bind_port)

    def serves(self):
        providers = sum(len(projection.trees) for projection in self.region.projections())
        urls, cells = " and ".join(self._server.urls), ", ".join(self.region.logs)
        return f"{self.region.name} answers {urls} for the logs of {cells} with {providers} providers"

    def drain(self, timeout):
        time = Remaining(timeout)
        drained = True
        if self._server is not None:
            drained = self._server.stop(time.left)
        return self.region.close(time.left) and drained

    def report(self):
        return self._shown.report()

    MONITORING_PORT = 9778

    def monitoring_port(self, configured):
        return super().monitoring_port(configured) + self.region.worker.number

    def pulses(self):
        return self._shown.pulses()

    def followed(self):
        return self._shown.followed()

    def samples(self):
        return self._shown.samples()

    def why_not_ready(self):
        return self._shown.why_not_ready()

    @property
    def fault(self):
        return self.region.fault


class RunningServer:
    """A WebServer in a thread of its own; UsageError if it cannot listen. ``options`` are those of [placement_api]; see
    :func:`serve` for the rest."""

    def __init__(self, app, options, host: str, port: int, is_alone: bool = False):
        limits = (options.threads, options.connections, options.max_body_bytes)
        try:
            self._server = serve(app, host, port, *limits, SECTION, is_alone)
        except OSError as fault:
            raise errors.UsageError(
                f"the Placement API cannot listen on {host}:{port} ({fault.strerror or fault}); choose another port or "
                f"address{'' if is_alone else ' ([placement_api] bind_host and bind_port)'}"
            ) from None
        self._thread = concurrency.vital_thread(self._server.run, "web server")
        self._thread.start()

    @property
    def urls(self) -> list[str]:
        """The URL of each address on which it listens."""
        return [f"http://{host}:{port}" for host, port in self._server.addresses]

    def stop(self, timeout: float) -> bool:
        """Take no more requests, and finish those in hand; returns whether all were finished."""
        return stop(self._server, self._thread, timeout)


service = PlacementService
