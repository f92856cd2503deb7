"""/healthz and /readyz, as oslo.middleware's healthcheck answers.

200 and OK, or 503 and the reasons, one per line; JSON with ``Accept: application/json``; HEAD without a body. The
options of [healthcheck] count here too, for example a file that takes the service out of a load balancer.
"""

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from oslo_config import cfg
from oslo_middleware import healthcheck
from oslo_middleware.healthcheck.pluginbase import HealthcheckResult

OK = "OK"


class Check:
    """A backend of a health check: ``faults()`` gives a sentence for each reason why it fails."""

    def __init__(self, faults: Callable[[], Iterable[str]]) -> None:
        self._faults = faults

    def healthcheck(self, server_port: int) -> HealthcheckResult:
        """What is found now."""
        found = list(self._faults())
        return HealthcheckResult(available=not found, reason="\n".join(found) or OK)


class Health(healthcheck.Healthcheck):
    """Oslo's health check with a check of ours, beside the configured ones unless ``is_alone``. ``application`` gets
    the requests from addresses that may not ask."""

    def __init__(
        self, conf: cfg.ConfigOpts, faults: Callable[[], Iterable[str]], application: Any = None, is_alone: bool = False
    ) -> None:
        super().__init__(application, conf)
        # Oslo loads its backends by name, and a named one cannot know of which service it is.
        ours: list[Any] = [SimpleNamespace(obj=Check(faults))]
        configured: list[Any] = [] if is_alone else list(self._backends)
        self._backends: Any = [*ours, *configured]
