"""What a scheduler counts and times: outcomes, steps, refusals by filters and by logs."""

import pytest

from nova_sched.projection.reason import Reason
from nova_sched.scheduler.asks import Ask
from nova_sched.scheduler.measures import GROUP, KEYS_MAX, OTHER, OUTCOMES, PLACED, STEPS, Measures, outcome_of
from nova_sched.scheduler.shown import samples_of
from rpc_api import errors
from rpc_api.histogram import BOUNDS, Histogram
from tests.builders import group, request, uuid_of
from tests.engines import TinyCloud, hosts_of

#: Error -> outcome of its request.
FAILED = [
    (errors.NoHostFound("none"), "no_valid_host"),
    (errors.CellsUnreachable("away"), "cells_unreachable"),
    (errors.ClaimTimeout("late"), "claim_timeout"),
    (errors.PluginFault("theirs"), "plugin_fault"),
    (errors.ServiceUnavailable("neutron"), "service_unavailable"),
    (errors.UsageError("wrong"), "refused"),
    (errors.LogClosed("stops"), "log_unavailable"),
    (errors.LogGap("gap"), "log_unavailable"),
    (errors.NovaSchedError("ours"), "fault"),
    (ValueError("ours"), "fault"),
]


@pytest.mark.parametrize("fault, outcome", FAILED, ids=[type(row[0]).__name__ for row in FAILED])
def test_the_outcome_of_an_error(fault, outcome):
    assert outcome_of(fault) == outcome


def test_each_outcome_has_an_error():
    assert {name for _, name in OUTCOMES} == {name for _, name in FAILED}


def counted(measures):
    """Outcome -> requests, of those that there were."""
    return {outcome: number for outcome, number in measures.requests.items() if number}


def times_of(measures):
    """Step -> (how often, seconds in all)."""
    return {step: (sum(times.counts), times.total_s) for step, times in measures.steps.items()}


def test_a_request_that_is_placed():
    cloud = TinyCloud()
    cloud.host("a", vcpus=4)
    cloud.host("full", vcpus=1)
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "vm1", "vm2")
    cloud.clock.seconds += 3.0
    cloud.settle()
    measures = engine.measures
    assert hosts_of(ask) == ["a", "a"] and counted(measures) == {PLACED: 1}
    assert times_of(measures) == {"queue": (1, 0.0), "decide": (2, 0.0), "read_back": (2, 6.0), "answer": (1, 0.0)}
    assert (sum(measures.duration.counts), measures.duration.total_s) == (1, 3.0)
    assert measures.hosts_refused == {("ResourceFilter", "{resource class}"): 2}


def test_a_request_that_waited_for_its_turn():
    cloud = TinyCloud()
    cloud.host("a")
    engine = cloud.engine("one")
    ask = Ask(request(group(VCPU=1)), [uuid_of("vm")], 0, cloud.clock.monotonic())
    cloud.clock.seconds += 0.25
    engine.on_ask(ask)
    assert times_of(engine.measures)["queue"] == (1, 0.25)


def test_two_schedulers_and_one_host():
    cloud = TinyCloud()
    cloud.host("a", vcpus=2)
    one, two = cloud.engine("one"), cloud.engine("two")
    cloud.ask(one, "vm1")
    second = cloud.ask(two, "vm2")
    cloud.settle()
    assert isinstance(second.future.exception(0), errors.NoHostFound)
    assert counted(one.measures) == {PLACED: 1} and counted(two.measures) == {"no_valid_host": 1}
    assert +two.measures.claims_refused == {"{resource class}": 1} and not +one.measures.claims_refused
    assert times_of(two.measures)["decide"][0] == 2 and times_of(two.measures)["read_back"][0] == 1


def test_a_request_that_the_engine_never_got():
    engine = TinyCloud().engine("one")
    engine.on_not_readable("req-1", [], "it cannot be read")
    assert counted(engine.measures) == {"not_readable": 1}


def test_reasons_of_a_deployment_are_bounded():
    measures = Measures()
    measures.refused_by_filters([("theirs", Reason(f"reason {number}"), 1) for number in range(2 * KEYS_MAX)])
    assert len(measures.hosts_refused) == KEYS_MAX + 1
    assert measures.hosts_refused[OTHER, OTHER] == KEYS_MAX
    measures.refused_by_filters([("theirs", Reason("reason 0"), 5)])
    assert measures.hosts_refused["theirs", "reason 0"] == 6
    for number in range(2 * KEYS_MAX):
        measures.refused_by_log(Reason(f"reason {number}"))
    assert len(measures.claims_refused) == KEYS_MAX + 1 and measures.claims_refused[OTHER] > KEYS_MAX
    measures.refused_by_log(None)
    assert measures.claims_refused[GROUP] == 1


class Shown:
    """As much of a Scheduler as its samples need."""

    def __init__(self, engine):
        self.engine = engine


def test_reasons_are_shown_as_in_the_reference():
    cloud = TinyCloud()
    engine = cloud.engine("one")
    engine.measures.refused_by_filters([("a", Reason("trait {trait: or }", (("X", "Y"),)), 2), ("b", Reason("{"), 1)])
    shown = {sample.labels: sample.value for sample in samples_of(Shown(engine)) if "hosts_refused" in sample.family}
    assert shown == {("a", "trait {trait} or {trait}"): 2, ("b", "{"): 1}


@pytest.mark.parametrize("seconds, bucket", [(0.0, 0), (BOUNDS[0], 0), (0.0002, 1), (30.0, 16), (31.0, 17)])
def test_the_bucket_of_a_duration(seconds, bucket):
    histogram = Histogram()
    histogram.add(seconds)
    assert histogram.counts.index(1) == bucket and len(histogram.counts) == len(BOUNDS) + 1


def test_histograms_add_up():
    first, second = Histogram(), Histogram()
    first.add(1.0)
    second.add(1.0)
    second.add(99.0)
    first.include(second)
    assert (sum(first.counts), first.total_s) == (3, 101.0)


def test_each_step_is_in_the_help():
    from nova_sched.process.monitoring.families import FAMILIES

    text = FAMILIES["nova_sched_scheduler_step_duration_seconds"].help
    assert all(f"{step} (" in text for step in STEPS)
