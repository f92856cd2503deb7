"""Traces of requests: a span for each ``select_destinations``, and one for each of its steps.

The engine only notes when steps began and ended. The spans are made when the request is answered.
"""

from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from rpc_api.clock import SYSTEM

#: Keys of W3C's trace context among those of a RequestContext.
CARRIED = ("traceparent", "tracestate")


class Tracing:
    """Makes traces with a TracerProvider of OpenTelemetry."""

    def __init__(self, provider, clock=SYSTEM):
        self._tracer = provider.get_tracer("nova_sched.scheduler")
        self._clock = clock

    def begin(self, ask) -> "RequestTrace | None":
        """The trace of an Ask, which continues that of its caller if there is one; None if it is not sampled."""
        offset_ns = self._clock.now_ns() - int(self._clock.monotonic() * 1e9)
        root = self._tracer.start_span(
            "select_destinations",
            context=_parent_of(ask.context),
            kind=SpanKind.SERVER,
            start_time=offset_ns + int(ask.arrived_at * 1e9),
            attributes={
                "rpc.method": "select_destinations",
                "openstack.request_id": ask.request.request_id,
                "nova_sched.instances": len(ask.instances),
            },
        )
        return RequestTrace(self._tracer, root, offset_ns) if root.is_recording() else None


class RequestTrace:
    """The trace of one request. Times are in seconds (monotonic), and ``offset_ns`` leads from there to the wall
    clock."""

    def __init__(self, tracer, root, offset_ns: int):
        self._tracer = tracer
        self._root = root
        self._offset_ns = offset_ns
        self._steps: list[tuple[str, float, float, Any, dict]] = []

    def step(self, name, began, ended, instance, facts) -> None:
        """A step is done; of the whole request if ``instance`` is None."""
        self._steps.append((name, began, ended, instance, facts))

    def end(self, now, outcome, fault) -> None:
        """The request is answered, with an error if there is a ``fault``."""
        context = trace.set_span_in_context(self._root)
        for name, began, ended, instance, facts in self._steps:
            attributes = {f"nova_sched.{fact}": value for fact, value in facts.items() if value is not None}
            if instance is not None:
                attributes["nova_sched.instance_uuid"] = instance.uuid
            span = self._tracer.start_span(name, context, start_time=self._wall(began), attributes=attributes)
            span.end(self._wall(ended))
        self._root.set_attribute("nova_sched.outcome", outcome)
        if fault is not None:
            self._root.set_status(Status(StatusCode.ERROR, str(fault)))
        self._root.end(self._wall(now))

    def _wall(self, at):
        return self._offset_ns + int(at * 1e9)


def _parent_of(context):
    """The span that the caller is in: the one of oslo.messaging for this message, or else the one that the message
    names; None for a new trace."""
    if trace.get_current_span().get_span_context().is_valid:
        return None
    carried = {key: value for key in CARRIED if (value := getattr(context, key, None))}
    return propagate.extract(carried) if carried else None
