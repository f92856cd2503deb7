"""Where traces go: OpenTelemetry's provider, as [tracing] configures it. Nothing of it is imported while it is off."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from oslo_config import cfg

from nova_sched.process.version import version
from rpc_api import concurrency, errors

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

LOG = logging.getLogger(__name__)

#: Seconds for the last spans to be sent when a service ends.
FLUSH_SECONDS = 2.0


def provider_of(conf: cfg.ConfigOpts, program: str) -> TracerProvider | None:
    """The provider of this process, which libraries share; None if tracing is off. UsageError if the packages are not
    installed."""
    options = conf.tracing
    if not options.enabled:
        return None
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as missing:
        raise errors.UsageError(
            f"[tracing] enabled is set, and a package for it is not installed ({missing}); install nova_sched[trace], "
            "or switch it off"
        ) from None
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(options.sample_ratio)),
        # It would wait for a collector that is away.
        shutdown_on_exit=False,
        resource=Resource.create({"service.name": program, "service.version": version()}),
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{options.endpoint.rstrip('/')}/v1/traces")))
    # oslo.messaging sends its spans ([oslo_messaging_tracing]) through it too.
    trace.set_tracer_provider(provider)
    LOG.info("traces go to %s", options.endpoint)
    return provider


def flush(provider: TracerProvider | None) -> None:
    """Send the last spans, if there is a collector that takes them."""
    if provider is None:
        return
    # Its own limit of time does not hold while a collector is away.
    flushing = threading.Thread(target=provider.force_flush, name="last spans", daemon=True)
    if concurrency.start_or_report(flushing):
        flushing.join(FLUSH_SECONDS)
