"""What a process shows of itself: metrics, health, and the reasons why it is not ready."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from oslo_config import cfg

from nova_sched.process.monitoring.exposition import Exposition
from nova_sched.process.monitoring.families import Sample, one_or_zero
from nova_sched.process.monitoring.followed import Ends, FollowedLog, samples_of
from nova_sched.process.monitoring.health import Health
from nova_sched.process.monitoring.listener import Listener
from nova_sched.process.monitoring.pulse import Pulse
from nova_sched.process.version import version
from rpc_api import concurrency
from rpc_api.clock import SYSTEM, Clock

LOG = logging.getLogger(__name__)

METRICS, HEALTH, READY = "/metrics", "/healthz", "/readyz"
IS_STARTING = "it is starting: see its log for what it waits for"
TEXT = "text/plain; charset=utf-8"


class Shown(Protocol):
    """What a service shows. Each method may be called at any time, from any thread; only the last
    one waits."""

    def pulses(self) -> Iterable[Pulse]:
        """The loops without which it does nothing."""

    def followed(self) -> Iterable[FollowedLog]:
        """The logs that it folds."""

    def samples(self) -> Iterable[Sample]:
        """Samples of its own."""

    def why_not_ready(self) -> Iterable[str]:
        """A sentence for each reason why it cannot do its work now."""

    def look(self) -> None:
        """Ask for what cannot be known without waiting. This may wait: it is called in a thread of its own, from time
        to time, if metrics and health are enabled."""


class Monitor:
    """Answers for a service: the process ``program`` has started, has a ``fault()`` because of which it will end, and
    ``service`` is a Shown."""

    def __init__(
        self,
        program: str,
        conf: cfg.ConfigOpts,
        service: Shown,
        fault: Callable[[], Exception | str | None],
        clock: Clock = SYSTEM,
    ) -> None:
        self._program = program
        self._conf = conf
        self._service = service
        self._fault = fault
        self._clock = clock
        #: Whether the start has ended, and the end has not begun.
        self.is_started = False
        self.ends = Ends(self._service.followed, self._service.look, clock)
        self._exposition = Exposition(self.samples, clock)
        self._listener: Listener | None = None

    def serve(self, port: int) -> "Monitor":
        """Answer on the configured address, if that is enabled; ``port`` is the one of this kind of service. UsageError
        if that is not possible."""
        options = self._conf.monitoring
        if not options.enabled:
            return self
        answers = {
            METRICS: self._metrics,
            # A file that takes a service out of a load balancer does not make it ill.
            HEALTH: Health(self._conf, self.why_ill, _not_found, is_alone=True),
            READY: Health(self._conf, self.why_not_ready, _not_found),
        }

        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            chosen: Callable[..., Any] = answers.get(environ.get("PATH_INFO", ""), _not_found)
            return chosen(environ, start_response)

        self._listener = Listener(application, options.host, port)
        self.ends.start()
        LOG.info("metrics and health are at %s", " and ".join(self._listener.urls))
        return self

    @property
    def urls(self) -> list[str]:
        """Where it answers; nothing if it does not."""
        return [] if self._listener is None else self._listener.urls

    def close(self) -> None:
        """Answer nothing more."""
        if self._listener is not None:
            self._listener.close()
            self.ends.close()

    # --- health ------------------------------------------------------------------------------------------------------

    def why_ill(self) -> list[str]:
        """A sentence for each reason why this process must be started again."""
        faults = [self._fault(), concurrency.death(), *(pulse.why_stuck() for pulse in self._service.pulses())]
        return [str(fault) for fault in faults if fault is not None]

    def why_not_ready(self) -> list[str]:
        """A sentence for each reason why this service cannot do its work now."""
        found = self.why_ill()
        if not found and not self.is_started:
            found = [IS_STARTING]
        return found or list(self._service.why_not_ready())

    # --- metrics -----------------------------------------------------------------------------------------------------

    def samples(self) -> Iterator[Sample]:
        """The samples of the service."""
        yield Sample("nova_sched_build_info", 1, (self._program, version()))
        yield Sample("nova_sched_ready", one_or_zero(not self.why_not_ready()))
        for pulse in self._service.pulses():
            yield Sample("nova_sched_loop_age_seconds", pulse.age(), (pulse.name,))
        for followed in self._service.followed():
            yield from samples_of(followed, self.ends, self._clock)
        yield from self._service.samples()

    def _metrics(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Content-Type", TEXT), ("Allow", "GET, HEAD")])
            return [b"GET it\n"]
        try:
            text, kind = self._exposition.text(environ.get("HTTP_ACCEPT", ""))
        except Exception as fault:
            LOG.warning("the metrics cannot be made: %r", fault)
            LOG.debug("the fault of the metrics", exc_info=True)
            start_response("500 Internal Server Error", [("Content-Type", TEXT)])
            return [b"the metrics cannot be made; the log of the service has the reason\n"]
        start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(text)))])
        return [text if environ["REQUEST_METHOD"] == "GET" else b""]


def _not_found(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("404 Not Found", [("Content-Type", TEXT)])
    return [f"not found; there are {METRICS}, {HEALTH} and {READY}\n".encode()]
