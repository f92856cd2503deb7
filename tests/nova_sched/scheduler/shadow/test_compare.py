"""The verdict of each case, by the place of Nova's host among those that pass here."""

import pytest

from nova_sched.filters.compute import DISABLED
from nova_sched.projection.claim_refusals import ClaimRefused
from nova_sched.projection.reason import Reason
from nova_sched.scheduler.shadow.compare import VERDICTS, Ours, compare, without_choice
from nova_sched.selection.claim_rules import CLAIM_RULES
from nova_sched.selection.judge import Judged, Standing

OURS = Ours(("a", "b"), "3/4 hosts")
NONE = Ours((), "0/4 hosts: 4 VCPU")
LACKS = Reason("{resource class}", ("VCPU",))


def refused(name, reason=LACKS):
    return Judged((name, reason), "asked 4, free 2", None)


def stands(rank, best="a"):
    """A host of a rank, whose RAMWeigher and DiskWeigher differ from those of the best host unless it is one."""
    scores = [("RAMWeigher", 512.0, 1.0 / rank), ("CPUWeigher", 4.0, 0.5), ("DiskWeigher", 1.0, 0.2 / rank)]
    best_scores = [("RAMWeigher", 1024.0, 1.0), ("CPUWeigher", 4.0, 0.5), ("DiskWeigher", 2.0, 0.2)]
    return Judged(None, "", Standing(rank, 4, 1.7 / rank, scores, best, 1.7, best_scores))


ROWS = {
    "the same host": (OURS, "a", stands(1), {}, ("same", "", "")),
    "the same host, which cannot be judged": (OURS, "a", None, {}, ("same", "", "")),
    "an equal score": (OURS, "c", stands(1), {}, ("tie", "", "")),
    "one of the best two": (OURS, "c", stands(2), {"subset_size": 2}, ("tie", "", "")),
    "not one of the best two": (OURS, "c", stands(3), {"subset_size": 2}, ("different", "weight", "RAMWeigher")),
    "a lower score": (OURS, "c", stands(2), {}, ("different", "weight", "RAMWeigher")),
    "the best by now": (OURS, "c", stands(1, "c"), {}, ("moved", "", "")),
    "neither is the best by now": (OURS, "c", stands(2, "d"), {}, ("different", "weight", "RAMWeigher")),
    "a filter": (OURS, "c", refused("NUMATopologyFilter"), {}, ("different", "filter", "NUMATopologyFilter")),
    "no room": (OURS, "c", refused("ResourceFilter"), {}, ("different", "state", "ResourceFilter")),
    "disabled": (OURS, "c", refused("ComputeFilter", DISABLED), {}, ("different", "state", "ComputeFilter")),
    "the log would refuse it": (OURS, "c", refused(CLAIM_RULES), {}, ("different", "state", CLAIM_RULES)),
    "the rule of its group": (
        OURS,
        "c",
        refused(CLAIM_RULES, Reason(ClaimRefused.GROUP_ELSEWHERE, ("b",))),
        {},
        ("different", "filter", CLAIM_RULES),
    ),
    "an unknown host": (OURS, "c", None, {}, ("different", "unknown-host", "")),
    "too late": (OURS, "c", None, {"is_late": True}, ("late", "", "")),
    "too late, the same host": (OURS, "a", None, {"is_late": True}, ("same", "", "")),
    "none here, a filter": (NONE, "c", refused("JsonFilter"), {}, ("only-nova", "filter", "JsonFilter")),
    "none here, no room": (NONE, "c", refused("ResourceFilter"), {}, ("only-nova", "state", "ResourceFilter")),
    "none here, it passes by now": (NONE, "c", stands(1, "c"), {}, ("moved", "", "")),
    "none here, it passes by now and is not the best": (
        NONE,
        "c",
        stands(2, "d"),
        {},
        ("only-nova", "weight", "RAMWeigher"),
    ),
    "none here, unknown": (NONE, "c", None, {}, ("only-nova", "unknown-host", "")),
}


@pytest.mark.parametrize("ours, nova_host, judged, more, wanted", ROWS.values(), ids=ROWS)
def test_each_case(ours, nova_host, judged, more, wanted):
    found = compare(ours, nova_host, judged, **more)
    assert found[:3] == wanted
    assert nova_host in found.text


@pytest.mark.parametrize(
    "ours, is_blind, verdict",
    [(OURS, False, "only-ours"), (NONE, False, "neither"), (OURS, True, "unseen"), (NONE, True, "unseen")],
)
def test_without_a_choice(ours, is_blind, verdict):
    assert without_choice(ours, 60.0, is_blind).verdict == verdict


def test_every_verdict_has_a_row():
    found = {row[-1][0] for row in ROWS.values()} | {"only-ours", "neither", "unseen"}
    assert found == set(VERDICTS)


def test_a_refusal_has_what_was_compared():
    found = compare(OURS, "c", refused("NUMATopologyFilter"))
    assert found.text == "Nova's host c is refused here by NUMATopologyFilter (VCPU): asked 4, free 2"


def test_a_lower_score_names_the_weighers_that_differ_the_greatest_first():
    found = compare(OURS, "b", stands(2))
    assert found.text == (
        "b has the score +0.850 (rank 2 of 4, alternate 1 here), a has +1.700: RAMWeigher +0.500 (512) against +1.000 "
        "(1024), DiskWeigher +0.100 (1) against +0.200 (2)"
    )
