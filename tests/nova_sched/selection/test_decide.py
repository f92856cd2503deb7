"""The decision: ranking, draws, subset, alternates, what it says of itself."""

from collections import Counter

import numpy as np
import pytest

from nova_sched.selection.decide import ROUNDS, ranked, summarize
from nova_sched.selection.draw import FEW, draw, drawn, key_of, seed_of
from nova_sched.selection.policy import Policy
from rpc_api import errors, events
from tests.asked import Asked, texts_of
from tests.builders import claim, group, inventory_of, of, provider, report, request, server_group, tree, uuid_of


def host(name, vcpus=8, **facts):
    return report(name, inventory=tree(name, inventories=(inventory_of("VCPU", vcpus),)), **facts)


def hosts_of(decision):
    return [candidate.host for candidate in decision.candidates]


SUMMARIES = [
    (
        0,
        1710,
        [("F", "disabled", 110), ("R", "VCPU", 1200), ("S", "anti-affinity", 400)],
        "0/1710 hosts: 1200 VCPU, 400 anti-affinity, 110 disabled",
    ),
    (5, 5, [], "5/5 hosts"),
    (0, 0, [], "0/0 hosts"),
    (0, 4, [("F", "b", 1), ("F", "a", 1), ("G", "b", 1), ("G", "c", 1)], "0/4 hosts: 2 b, 1 a, 1 c"),
]


@pytest.mark.parametrize("survivors, total, refusals, line", SUMMARIES)
def test_summary(survivors, total, refusals, line):
    assert summarize(survivors, total, refusals) == line


def test_the_best_host_wins_and_the_next_are_alternates():
    cloud = Asked(host("a", 4), host("b", 9), host("c", 7), host("d", 8), host("e", 1))
    decision = cloud.decide(request(group(VCPU=2)), alternates=2)
    assert hosts_of(decision) == ["b", "d", "c"]
    assert (decision.survivors, decision.hosts_total, decision.equals) == (4, 5, 1)
    assert texts_of(decision.refusals) == [("ResourceFilter", "VCPU", 1)] and decision.summary == "4/5 hosts: 1 VCPU"
    assert [(score.host, score.score) for score in decision.scores] == [
        ("b", 1.0),
        ("d", 8 / 9),
        ("c", 7 / 9),
        ("a", 4 / 9),
    ]
    assert decision.scores[1].weighers == (events.WeigherScore("CPUWeigher", 8.0, 8 / 9),)
    assert decision.candidates[0].assignment.allocations == (of("b", 2),)


@pytest.mark.parametrize("alternates, wanted", [(0, 1), (1, 2), (2, 3), (9, 5)])
def test_alternates_are_distinct_and_as_many_as_asked_for(alternates, wanted):
    cloud = Asked(*(host(f"h{number}", number + 1) for number in range(5)))
    assert len(set(hosts_of(cloud.decide(request(), alternates=alternates)))) == wanted


def test_alternates_are_of_the_same_cell():
    said = {"cell1": [host("a1", 9), host("a2", 3)], "cell2": [host("b1", 8), host("b2", 7), host("b3", 1)]}
    cloud = Asked(cells=said)
    assert hosts_of(cloud.decide(request(), alternates=2)) == ["a1", "a2"]
    assert hosts_of(cloud.decide(request(ignore_hosts=("a1",)), alternates=2)) == ["b1", "b2", "b3"]


def test_alternates_are_of_the_same_cell_whichever_of_the_best_few_is_chosen():
    said = {"cell1": [host("a1", 9), host("a2", 7), host("a3", 1)], "cell2": [host("b1", 8), host("b2", 6)]}
    cloud = Asked(cells=said, policy=Policy(host_subset_size=4))
    answers = {tuple(hosts_of(cloud.decide(request(), seed=seed, alternates=3))) for seed in range(60)}
    assert answers == {("a1", "a2", "a3"), ("a2", "a1", "a3"), ("b1", "b2"), ("b2", "b1")}


def test_no_host():
    for cloud in (Asked(), Asked(host("a", 1))):
        decision = cloud.decide(request(group(VCPU=2)), alternates=2)
        assert (decision.candidates, decision.survivors, decision.equals, decision.scores) == ((), 0, 0, ())
        assert decision.hosts_total == len(cloud.table.roots()) == sum(count for *_, count in decision.refusals)


def test_hosts_that_groups_do_not_fit_together_are_passed_over_and_counted():
    def numa(name, *vcpus):
        return report(
            name,
            inventory=tree(
                name,
                *(
                    provider(f"{name}/{number}", inventory_of("VCPU", amount), parent=0)
                    for number, amount in enumerate(vcpus)
                ),
                inventories=(),
            ),
        )

    asked = request(group("1", VCPU=5), group("2", VCPU=4), group_policy="isolate")
    cloud = Asked(numa("a", 9, 3), numa("b", 5, 4), numa("c", 4, 8), numa("d", 12, 1))
    decision = cloud.decide(asked, alternates=3)
    assert hosts_of(decision) == ["c", "b"]
    assert texts_of(decision.refusals) == [("ResourceFilter", "request groups together", 2)]
    assert decision.summary == "2/4 hosts: 2 request groups together"
    nowhere = Asked(numa("a", 9, 3)).decide(asked)
    assert (nowhere.summary, nowhere.candidates, nowhere.survivors) == ("0/1 hosts: 1 request groups together", (), 0)


# --- draws -------------------------------------------------------------------------------------------------------


def test_equal_hosts_are_drawn_evenly_and_by_the_seed_alone():
    cloud = Asked(*(host(f"h{number}") for number in range(10)), host("small", 4))
    chosen = Counter(cloud.decide(request(), seed=seed).candidates[0].host for seed in range(1000))
    assert len(chosen) == 10 and min(chosen.values()) > 60 and "small" not in chosen
    assert cloud.decide(request(), seed=5) == cloud.decide(request(), seed=5)
    assert len({cloud.decide(request(), seed=5, attempt=attempt).candidates[0].host for attempt in range(20)}) > 5
    assert cloud.decide(request()).equals == 10


def test_the_draw_does_not_depend_on_the_order_in_which_hosts_became_known():
    """A replay reads the logs of several cells in another order, and a snapshot is loaded in another one."""
    names = [f"h{number}" for number in range(40)]
    one, other = Asked(*map(host, names)), Asked(*map(host, reversed(names)))
    other.cell.say(events.HostRemoved("h7", "gone"))
    other.cell.say(host("h7"))
    for seed in range(50):
        assert hosts_of(one.decide(request(), seed=seed, alternates=4)) == hosts_of(
            other.decide(request(), seed=seed, alternates=4)
        )


@pytest.mark.parametrize(
    "scores",
    [
        [1.0],
        [1.0, 1.0],
        [3.0, 1.0, 2.0, 3.0, 2.0],
        list(range(50)),
        [number % 7 for number in range(300)],
        [number // 40 for number in range(400)],
        [-5.0] * 20 + [0.0],
        [number % 3 for number in range(100)] + list(range(3, 30)),
    ],
)
def test_ranked_is_a_sort_by_score(scores):
    scores = np.array(scores, float)
    before = scores.copy()
    keys = np.arange(len(scores), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    orders = []
    for seed in (1, 2):
        best = np.flatnonzero(scores == scores.max())
        orders.append(list(ranked(scores, best, lambda tied: keys[tied], seed, 0)))
        assert sorted(orders[-1]) == list(range(len(scores)))
        assert scores[orders[-1]].tolist() == sorted(scores.tolist(), reverse=True)
    assert np.array_equal(scores, before), "they are kept for the next request"
    assert (orders[0] == orders[1]) == (len(set(scores.tolist())) == len(scores)) or len(scores) < 20


def test_there_are_more_scores_than_rounds_in_a_row_above():
    assert ROUNDS < 50 and 2 * FEW < 20


@pytest.mark.parametrize("count", [1, 2, FEW, 2 * FEW, 2 * FEW + 1, 500])
def test_drawn_is_a_permutation(count):
    keys = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    order = list(drawn(keys, 7, 0))
    assert sorted(order) == list(range(count))
    assert count < 8 or order != list(drawn(keys, 8, 0))
    assert keys[0] == 0x9E3779B97F4A7C15, "the keys are not written to"


def test_draw_is_known():
    """The numbers are part of the log's meaning: a new version must draw them, too."""
    assert seed_of("req-1", uuid_of("vm")) == seed_of("req-1", uuid_of("vm")) < 2**52
    assert [draw(1, attempt, 1000) for attempt in range(4)] == [465, 519, 590, 235]
    assert key_of("00000000-0000-0000-0000-000000000001") == 5406961667139790696
    assert {draw(seed, 0, 3) for seed in range(50)} == {0, 1, 2}


@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_the_host_is_one_of_the_best_few(size):
    cloud = Asked(*(host(f"h{number}", 20 - number) for number in range(6)), policy=Policy(host_subset_size=size))
    decisions = [cloud.decide(request(), seed=seed, alternates=2) for seed in range(200)]
    assert {decision.candidates[0].host for decision in decisions} == {f"h{number}" for number in range(min(size, 6))}
    for decision in decisions:
        best = [name for name in ("h0", "h1", "h2", "h3") if name != decision.candidates[0].host]
        assert hosts_of(decision)[1:] == best[:2]
        assert (
            decision.scores[0].host == decision.candidates[0].host
            and len({score.host for score in decision.scores}) == 4
        )


# --- groups, rebuilds --------------------------------------------------------------------------------------------


def test_the_rule_of_a_claim():
    cloud = Asked(host("a"), events.AggregateUpdated(uuid_of("rack-1"), "rack-1", ("a",), {"domain": "rack"}))
    rows = [
        (None, None),
        (server_group("anti-affinity", 2), ("spread", "a", uuid_of("vm-new"), 2)),
        (server_group("affinity", 1), ("together", "a", uuid_of("vm-new"), 0)),
        (server_group("soft-affinity"), ("member", "a", uuid_of("vm-new"), 0)),
        (server_group("soft-anti-affinity"), ("member", "a", uuid_of("vm-new"), 0)),
        (server_group("fault-domain", 3, "rack", "p1"), ("spread", uuid_of("rack-1"), "p1", 3)),
        (server_group("fault-domain", 3, "rack"), ("spread", uuid_of("rack-1"), uuid_of("vm-new"), 3)),
    ]
    for asked_group, wanted in rows:
        asked = request(server_group=asked_group)
        (candidate,) = cloud.decide(asked).candidates
        (forced,) = cloud.decide(asked._replace(force_hosts=("a",))).candidates
        assert forced.rule == (wanted and events.GroupRule(uuid_of("group"), "member", *wanted[1:3], 0))
        assert candidate.rule == (wanted and events.GroupRule(uuid_of("group"), *wanted))


def test_decisions_of_a_group_see_those_in_flight():
    cloud = Asked(*(host(f"h{number}") for number in range(3)))
    asked, chosen = request(server_group=server_group("anti-affinity")), []
    for number in range(4):
        decision = cloud.decide(asked, instance=f"vm-{number}", seed=number)
        if decision.candidates:
            chosen.append(decision.candidates[0].host)
            cloud.in_flight.add(claim(f"vm-{number}", chosen[-1], rule=decision.candidates[0].rule))
    assert sorted(chosen) == ["h0", "h1", "h2"] and decision.summary == "0/3 hosts: 3 anti-affinity"


def test_a_rebuild_takes_nothing_and_stays_on_a_full_and_disabled_host():
    cloud = Asked(host("a", 2, disabled=True), claim("vm", "a", of("a", 2), forced=True))
    asked = request(group(VCPU=2), check_only=True, force_hosts=("a",), root_required=("CUSTOM_NO",))
    (candidate,) = cloud.decide(asked).candidates
    assert (candidate.host, candidate.assignment.allocations) == ("a", ())
    refused = cloud.decide(asked._replace(image_properties={"hw_architecture": "aarch64"}))
    assert refused.summary == "0/1 hosts: 1 image properties"


def test_a_policy_that_names_what_is_not_there_is_refused():
    for options in ({"enabled_filters": ("NoFilter",)}, {"weighers": (("NoWeigher", 1.0),)}):
        with pytest.raises(errors.UsageError, match="there is no (filter|weigher) 'No"):
            Policy(**options)
