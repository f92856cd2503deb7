"""The text of /metrics, made from samples. Everything is read when it is asked for."""

import logging
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

from nova_sched.process.monitoring.families import FAMILIES, HISTOGRAM, Sample
from rpc_api.clock import SYSTEM, Clock
from rpc_api.histogram import BOUNDS, Histogram

LOG = logging.getLogger(__name__)

#: Seconds for which an answer is used again: several scrapers, or one that asks again and again, cost as much as one.
KEPT_SECONDS = 1.0

_KINDS = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
_BUCKETS = (*(floatToGoString(bound) for bound in BOUNDS), "+Inf")


class SampleCollector:
    """A collector for a registry of prometheus-client; ``samples()`` yields a Sample for each series."""

    def __init__(self, samples: Callable[[], Iterable[Sample]]) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Any]:
        """Yield the families that have samples."""
        found: dict[str, Any] = {}
        for name, value, labels in self._samples():
            if name not in found:
                family = FAMILIES[name]
                found[name] = _KINDS[family.kind](name, family.help, labels=family.labels)
            if FAMILIES[name].kind == HISTOGRAM:
                _add_histogram(found[name], labels, value)
            else:
                found[name].add_metric(labels, value)
        return [found[name] for name in FAMILIES if name in found]


def _add_histogram(family: Any, labels: tuple[str, ...], value: Histogram) -> None:
    counts = list(zip(_BUCKETS, accumulate(list(value.counts)), strict=True))
    family.add_metric(labels, counts, value.total_s)


class Exposition:
    """The metrics of a process: ``samples()``, and those of the process itself, such as memory and CPU seconds."""

    def __init__(self, samples: Callable[[], Iterable[Sample]], clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._registry = CollectorRegistry()
        self._registry.register(SampleCollector(samples))  # type: ignore[arg-type]  # its class is a protocol in effect
        ProcessCollector(registry=self._registry)
        #: Accept header -> (when it was made, text, its type).
        self._kept: dict[str, tuple[float, bytes, str]] = {}

    def text(self, accept: str) -> tuple[bytes, str]:
        """(The text, its content type) for an Accept header."""
        now = self._clock.monotonic()
        made_at, text, kind = self._kept.get(accept, (float("-inf"), b"", ""))
        if now - made_at >= KEPT_SECONDS:
            encode, kind = choose_encoder(accept)
            text = encode(self._registry)
            # One entry: a client may send any header.
            self._kept = {accept: (now, text, kind)}
        return text, kind
