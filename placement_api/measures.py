"""Requests of the API, counted and timed by route and status, for the metrics."""

import threading
from collections import deque
from collections.abc import Iterator

from nova_sched.process.monitoring.families import Sample
from rpc_api.histogram import Histogram

#: Key of the environment of a request: the path of its route.
ROUTE = "placement_api.route"
#: The route of a request that reached none: its path is unknown, or it has no valid token.
NO_ROUTE = "none"
METHODS = frozenset(("GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS"))
OTHER = "other"


#: Requests that wait to be counted, at most. To count them together costs a third of counting each by itself, because
#: nothing else runs between two of them.
WAITING_MAX = 256


class RequestMeasures:
    """Several threads add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: (Method, route, status, seconds) of requests that are not counted yet.
        self._waiting: deque[tuple[str, str, str, float]] = deque()
        #: (Method, route, status) -> durations.
        self._durations: dict[tuple[str, str, str], Histogram] = {}

    def add(self, method: str, route: str, code: str, seconds: float) -> None:
        """A request was answered."""
        self._waiting.append((method, route, code, seconds))
        if len(self._waiting) >= WAITING_MAX:
            self._count()

    def _count(self) -> None:
        """Count what waits."""
        with self._lock:
            for _ in range(len(self._waiting)):
                method, route, code, seconds = self._waiting.popleft()
                # A client may send any word as a method.
                key = method if method in METHODS else OTHER, route, code
                found = self._durations.get(key)
                if found is None:
                    found = self._durations[key] = Histogram()
                found.add(seconds)

    def samples(self) -> Iterator[Sample]:
        """Samples for the metrics."""
        self._count()
        with self._lock:
            known = list(self._durations.items())
        of_routes: dict[tuple[str, str], Histogram] = {}
        for (method, route, code), durations in known:
            yield Sample("nova_sched_placement_requests_total", sum(durations.counts), (method, route, code))
            of_routes.setdefault((method, route), Histogram()).include(durations)
        for labels, durations in of_routes.items():
            yield Sample("nova_sched_placement_request_duration_seconds", durations, labels)
