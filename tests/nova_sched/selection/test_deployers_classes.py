"""Filters and weighers in nova's manner, among the built-in ones: what they are asked, what they say, how they fail."""

import pytest

from nova_sched.filters import Filter, Refusal
from nova_sched.filters.nova_style import NovaStyleFilter
from nova_sched.selection.catalogue import BUILT_IN, Catalogue
from nova_sched.selection.policy import Policy
from nova_sched.weighers.nova_style import NovaStyleWeigher
from rpc_api import errors
from tests.asked import Asked, texts_of
from tests.builders import claim, consumer, group, inventory_of, of, report, request, tree

HOSTS = [
    report(
        f"h{number}",
        *[consumer(f"vm-{number}-{one}", of(f"h{number}", 1)) for one in range(number)],
        inventory=tree(
            f"h{number}", inventories=(inventory_of("VCPU", 8), inventory_of("MEMORY_MB", 1024 * (number + 1)))
        ),
        disabled=number == 3,
    )
    for number in range(5)
]


def policy_of(filters=(), weighers=(), enabled=None, **options):
    """A policy that has classes in nova's manner beside the built-in ones."""
    made = {
        type(one).__name__: one if isinstance(one, Filter) else NovaStyleFilter(type(one).__name__, one)
        for one in filters
    }
    weighing = {type(weigher).__name__: NovaStyleWeigher(type(weigher).__name__, weigher) for weigher in weighers}
    return Policy(
        catalogue=Catalogue(BUILT_IN.filters | made, BUILT_IN.weighers | weighing),
        enabled_filters=tuple(enabled if enabled is not None else ("ComputeFilter", *made)),
        weighers=tuple((name, 1.0) for name in weighing),
        **options,
    )


def cloud_of(*filters, weighers=(), enabled=None, said=HOSTS, **options):
    return Asked(*said, policy=policy_of(filters, weighers, enabled, **options))


class Few:
    """Passes hosts with less than ``most`` instances."""

    def __init__(self, most=2):
        self.most = most
        self.asked = []

    def host_passes(self, host_state, spec_obj):
        self.asked.append((host_state.host, spec_obj.instance_uuid))
        return host_state.num_instances < self.most


class Even:
    """Gives what it passes as nova's base class does, one by one."""

    def filter_all(self, filter_obj_list, spec_obj):
        for one in filter_obj_list:
            if one.num_instances % 2 == 0:
                yield one


class Nothing:
    def filter_all(self, filter_obj_list, spec_obj):
        return None


def test_a_filter_refuses_under_the_name_of_its_class():
    filtered = cloud_of(Few()).run(request())
    assert texts_of(filtered.refusals) == [("ComputeStatusFilter", "disabled", 1), ("Few", "Few", 2)]
    assert len(filtered.rows) == 2


def test_it_is_asked_only_of_hosts_that_are_left():
    few = Few()
    cloud_of(few).run(request())
    assert sorted(host for host, _ in few.asked) == ["h0", "h1", "h2", "h4"]
    few = Few()
    cloud_of(Even(), few).run(request())
    assert sorted(host for host, _ in few.asked) == ["h0", "h2", "h4"]


def test_filters_of_all_hosts():
    assert cloud_of(Even()).survivors(request()) == ["h0", "h2", "h4"]
    assert cloud_of(Even(), Few()).survivors(request()) == ["h0"]
    assert cloud_of(Nothing()).survivors(request()) == []


def test_claims_in_flight_are_seen():
    cloud = cloud_of(Few())
    assert cloud.survivors(request(group(VCPU=8))) == ["h0"]
    cloud.in_flight.add(claim("vm-new", "h0", of("h0", 8)))
    assert cloud.survivors(request(group(VCPU=8))) == []


class Columns(Filter):
    """A filter of a deployer as those of this project are."""

    name = "Columns"

    def refusals(self, hosts, request, policy, scope):
        yield Refusal("crowded", hosts.column("num_instances") > 1)


def test_both_kinds_are_mixed():
    cloud = cloud_of(Columns(), Even(), enabled=("Even", "Columns", "ComputeFilter"))
    assert cloud.refusals(request()) == [
        ("ComputeStatusFilter", "disabled", 1),
        ("Columns", "crowded", 2),
        ("Even", "Even", 1),
    ]


class OnRebuild(Few):
    RUN_ON_REBUILD = True


@pytest.mark.parametrize(
    "facts, asked",
    [({}, {"Few", "OnRebuild"}), ({"check_only": True}, {"OnRebuild"}), ({"force_hosts": ("h0",)}, set())],
)
def test_rebuilds_and_forced_hosts(facts, asked):
    cloud = cloud_of(Few(), OnRebuild())
    cloud.run(request(**facts))
    assert {
        name
        for name, one in cloud.policy.catalogue.filters.items()
        if getattr(getattr(one, "_theirs", None), "asked", 0)
    } == asked


# --- weighers ----------------------------------------------------------------------------------------------------


class Free:
    """More memory is better; double where the host says so."""

    def __init__(self, minval=None, maxval=None):
        self.minval, self.maxval = minval, maxval

    def weight_multiplier(self, host_state):
        return 3.0 if host_state.host == "h0" else 2.0

    def _weigh_object(self, host_state, weight_properties):
        assert weight_properties.flavor.name in ("m1", "small")
        return host_state.total_usable_ram_mb


class Position:
    """Looks at all hosts at once, and has no multiplier."""

    def weigh_objects(self, weighed_obj_list, weight_properties):
        return [-number for number, _ in enumerate(weighed_obj_list)]


class Constant(Free):
    weight_multiplier = 0.5


#: weigher, scores of h0, h1, h2, h4 (1024, 2048, 3072, 5120 MB).
SCORES = [
    (Free(), [0.0, 2 * 0.25, 2 * 0.5, 2.0]),
    (Free(minval=2048), [0.0, 0.0, 2 / 3, 2.0]),
    (Free(maxval=3072), [0.0, 1.0, 2.0, 2.0]),
    (Free(minval=0, maxval=10240), [0.3, 0.4, 0.6, 1.0]),
    (Free(minval=1, maxval=1), [0.0] * 4),
    (Position(), [1.0, 2 / 3, 1 / 3, 0.0]),
    (Constant(), [0.0, 0.125, 0.25, 0.5]),
]


@pytest.mark.parametrize("weigher, scores", SCORES)
def test_scores(weigher, scores):
    cloud = cloud_of(weighers=(weigher,))
    decision = cloud.decide(request(vcpus=1), alternates=9)
    assert {score.host: score.score for score in decision.scores} == pytest.approx(
        dict(sorted(zip(("h0", "h1", "h2", "h4"), scores, strict=True), key=lambda item: -item[1]))
    )


def test_weighers_add_up_and_decide():
    policy = policy_of(weighers=(Free(), Position()))
    cloud = Asked(
        *HOSTS,
        policy=Policy(catalogue=policy.catalogue, weighers=(("RAMWeigher", 1.0), ("Position", 4.0), ("Free", 1.0))),
    )
    decision = cloud.decide(request())
    assert decision.candidates[0].host == "h0" and [weigher.weigher for weigher in decision.scores[0].weighers] == [
        "RAMWeigher",
        "Position",
        "Free",
    ]
    assert decision.scores[0].score == pytest.approx(4.2)


# --- failures ----------------------------------------------------------------------------------------------------


class Broken:
    def __init__(self, fault):
        self.fault = fault

    def host_passes(self, host_state, spec_obj):
        raise self.fault

    def _weigh_object(self, host_state, weight_properties):
        raise self.fault


class Writes:
    def host_passes(self, host_state, spec_obj):
        host_state.limits["vcpu"] = 1


class Strangers:
    def filter_all(self, filter_obj_list, spec_obj):
        return ["h0"]


class TooFew:
    def weigh_objects(self, weighed_obj_list, weight_properties):
        return [1.0]


class NoNumber:
    def _weigh_object(self, host_state, weight_properties):
        return float("nan")


class NoText:
    def weight_multiplier(self, host_state):
        return "high"

    def _weigh_object(self, host_state, weight_properties):
        return 1.0


FAULTS = [
    (
        {"filters": [Broken(ValueError("no\nsuch thing"))]},
        "the filter Broken raised an error for request req-1 (ValueError: no "
        "such thing); fix its package, or take it out of the configuration",
    ),
    ({"filters": [Broken(SystemExit())]}, "the filter Broken raised an error for request req-1 (SystemExit); "),
    (
        {"filters": [Writes()]},
        "the filter Writes raised an error for request req-1 (TypeError: a value of a host or a request is read-only",
    ),
    (
        {"filters": [Strangers()]},
        "the filter Strangers raised an error for request req-1 (ValueError: filter_all gave what was not among",
    ),
    ({"weighers": [Broken(KeyError("x"))]}, "the weigher Broken raised an error for request req-1 (KeyError: 'x')"),
    (
        {"weighers": [TooFew()]},
        "the weigher TooFew raised an error for request req-1 (ValueError: it gave 1 numbers for 4 hosts)",
    ),
    (
        {"weighers": [NoNumber()]},
        "the weigher NoNumber raised an error for request req-1 (ValueError: it gave nan for a host)",
    ),
    (
        {"weighers": [NoText()]},
        "the weigher NoText raised an error for request req-1 (ValueError: could not convert string",
    ),
]


@pytest.mark.parametrize("classes, text", FAULTS)
def test_what_it_raises_is_an_error_that_names_it(classes, text):
    cloud = Asked(*HOSTS, policy=policy_of(**classes))
    with pytest.raises(errors.PluginFault) as met:
        cloud.decide(request())
    assert str(met.value).startswith(text) and met.value.__cause__ is not None


def test_an_interrupt_is_nobodys_fault():
    with pytest.raises(KeyboardInterrupt):
        cloud_of(Broken(KeyboardInterrupt())).decide(request())


# --- policies ----------------------------------------------------------------------------------------------------


def test_a_policy_is_recorded_by_names_and_read_by_those_who_know_them():
    policy = policy_of([Few()], [Free()])
    assert Policy.from_json(policy.to_json(), policy.catalogue) == policy
    assert Policy.from_json(policy.to_json(), policy.catalogue).digest == policy.digest
    with pytest.raises(errors.UsageError, match="there is no filter 'Few', wanted one of"):
        Policy.from_json(policy.to_json())
    with pytest.raises(errors.InvalidEvent):
        Policy.from_json('{"catalogue": null}')


def test_what_is_built_in_has_the_digest_that_it_had():
    assert policy_of(enabled=Policy().enabled_filters).digest == Policy(weighers=()).digest
