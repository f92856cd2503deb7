"""Traces: the spans of a request, in memory."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from nova_sched.scheduler.asks import Ask
from nova_sched.scheduler.trace import Tracing
from rpc_api import errors
from rpc_api.objects.context import RequestContext
from tests.builders import AT_NS, group, request, uuid_of
from tests.engines import TinyCloud

TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331


class TracedCloud(TinyCloud):
    """A cloud whose requests are traced; ``spans()`` are those that have ended, by name."""

    def __init__(self, sampler=ALWAYS_ON):
        super().__init__()
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=ParentBased(sampler))
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._tracing = Tracing(provider, self.clock)

    def ask_with(self, engine, context=None, vcpus=2, name="vm"):
        """An Ask that begins its trace, as Scheduler.select does."""
        asked = request(group(VCPU=vcpus), request_id=f"req-{name}")
        ask = Ask(asked, [uuid_of(name)], 0, self.clock.monotonic(), context)
        ask.trace = self._tracing.begin(ask)
        self.clock.seconds += 0.5
        engine.on_ask(ask)
        return ask

    def spans(self):
        found = {}
        for span in self._exporter.get_finished_spans():
            found.setdefault(span.name, []).append(span)
        return found


def context_of(flags):
    values = {"request_id": "req-x", "traceparent": f"00-{TRACE:032x}-{SPAN:016x}-{flags}", "tracestate": "a=b"}
    return RequestContext.from_dict(values)


def test_a_request_has_a_span_for_each_step():
    cloud = TracedCloud()
    cloud.host("a")
    engine = cloud.engine("one")
    began = cloud.clock.seconds
    cloud.ask_with(engine)
    cloud.clock.seconds += 2.0
    cloud.settle()
    spans = cloud.spans()
    assert {name: len(found) for name, found in spans.items()} == dict.fromkeys(
        ("select_destinations", "queue", "decide", "read_back", "answer"), 1
    )
    (root,) = spans["select_destinations"]
    assert root.kind is SpanKind.SERVER and root.parent is None and root.status.status_code is StatusCode.UNSET
    assert dict(root.attributes) == {
        "rpc.method": "select_destinations",
        "openstack.request_id": "req-vm",
        "nova_sched.instances": 1,
        "nova_sched.outcome": "placed",
    }
    for name, begin, end in (
        ("select_destinations", 0.0, 2.5),
        ("queue", 0.0, 0.5),
        ("decide", 0.5, 0.5),
        ("read_back", 0.5, 2.5),
        ("answer", 2.5, 2.5),
    ):
        (span,) = spans[name]
        # (Each reading of the wall clock is a nanosecond later.)
        for at, wanted in ((span.start_time, begin), (span.end_time, end)):
            assert abs(at - AT_NS - (began + wanted) * 1e9) < 1000, name
        assert name == "select_destinations" or span.parent.span_id == root.context.span_id
    assert spans["decide"][0].attributes["nova_sched.hosts"] == 1
    assert spans["read_back"][0].attributes["nova_sched.host"] == "a"
    assert "nova_sched.refused" not in spans["read_back"][0].attributes


def test_a_claim_that_is_refused_and_a_request_that_fails():
    cloud = TracedCloud()
    cloud.host("a", vcpus=2)
    one, two = cloud.engine("one"), cloud.engine("two")
    cloud.ask(one, "vm1")
    ask = cloud.ask_with(two)
    cloud.settle()
    assert isinstance(ask.future.exception(0), errors.NoHostFound)
    spans = cloud.spans()
    assert [span.attributes["nova_sched.attempt"] for span in spans["decide"]] == [0, 1]
    assert spans["read_back"][0].attributes["nova_sched.refused"] == "VCPU"
    (root,) = spans["select_destinations"]
    assert root.attributes["nova_sched.outcome"] == "no_valid_host"
    assert root.status.status_code is StatusCode.ERROR


def test_the_trace_of_the_caller_is_continued():
    cloud = TracedCloud(ALWAYS_OFF)
    cloud.host("a")
    engine = cloud.engine("one")
    cloud.ask_with(engine, context_of("01"))
    cloud.settle()
    spans = cloud.spans()
    (root,) = spans["select_destinations"]
    assert (root.context.trace_id, root.parent.span_id, root.parent.is_remote) == (TRACE, SPAN, True)
    assert all(span.context.trace_id == TRACE for found in spans.values() for span in found)


@pytest.mark.parametrize(
    "sampler, context", [(ALWAYS_OFF, None), (ALWAYS_ON, context_of("00"))], ids=["by-share", "by-caller"]
)
def test_a_request_that_is_not_sampled_keeps_nothing(sampler, context):
    cloud = TracedCloud(sampler)
    cloud.host("a")
    engine = cloud.engine("one")
    ask = cloud.ask_with(engine, context)
    cloud.settle()
    assert ask.trace is None and ask.future.done() and not cloud.spans()


@pytest.mark.parametrize("value", ["nonsense", "", 17, None])
def test_a_context_that_cannot_be_read_begins_a_new_trace(value):
    cloud = TracedCloud()
    cloud.host("a")
    engine = cloud.engine("one")
    cloud.ask_with(engine, RequestContext.from_dict({"request_id": "req-x", "traceparent": value}))
    cloud.settle()
    (root,) = cloud.spans()["select_destinations"]
    assert root.parent is None


def test_a_context_is_passed_on():
    context = context_of("01")
    assert RequestContext.from_dict(context.to_dict()).traceparent == context.traceparent
    assert "traceparent" not in RequestContext.from_dict({"request_id": "req-x"}).to_dict()
