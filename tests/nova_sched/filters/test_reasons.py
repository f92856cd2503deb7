"""The reasons that filters, request filters and the fold declare are those with which they refuse, by the rows of the
table tests; and each has an explanation."""

import re
from pathlib import Path
from string import Formatter

import pytest

from nova_sched import filters
from nova_sched.filters import Filter, HostView, Reason, Refusal
from nova_sched.filters.explanation import Look
from nova_sched.projection import claim_refusals
from nova_sched.projection.claim_refusals import ClaimRefused
from nova_sched.projection.reason import kind_of, template_of
from nova_sched.projection.write_refusals import WriteRefused
from nova_sched.selection import prefilters
from nova_sched.selection.host_fit import TOGETHER
from nova_sched.selection.policy import Policy
from tests.asked import Asked
from tests.builders import report, request
from tests.nova_sched.filters import test_cheap_filters, test_filters
from tests.nova_sched.fit import test_numa
from tests.nova_sched.selection import test_prefilters

NAMED = {each.name: each for each in (*filters.ALWAYS, *filters.BUILT_IN.values())}
#: (filter, events, facts of the request, options of the policy, text of the reason -> hosts)
ROWS = [
    *((name, said, facts, {}, refused) for name, said, facts, refused in test_filters.ROWS),
    *test_cheap_filters.ROWS,
]
#: These are in other tests: of a closed cell, and of the close look at one host.
ELSEWHERE = {("ComputeFilter", "cell unreachable"), (TOGETHER[0], str(TOGETHER[1]))} | {
    ("NUMATopologyFilter", wanted) for _, _, _, wanted in test_numa.ROWS if isinstance(wanted, str)
}
YIELDED = {(row[0], reason) for row in ROWS for reason in row[-1]} | ELSEWHERE
PROJECTION = Path(claim_refusals.__file__).parent


def pattern(code):
    """The texts of a code: resource classes have capitals, other facts are anything."""
    text = ""
    for literal, word, joint, _ in Formatter().parse(code):
        fact = {None: "", "resource class": "[A-Z0-9_]+", "number": "[0-9]+"}.get(word, ".+")
        text += re.escape(literal) + fact + (f"({re.escape(joint)}{fact})*" if joint else "")
    return re.compile(text)


@pytest.mark.parametrize("name", NAMED)
def test_declared_reasons_are_those_that_occur(name):
    declared, occurring = NAMED[name].reasons, {reason for filter_, reason in YIELDED if filter_ == name}
    undeclared = [text for text in sorted(occurring) if not any(pattern(code).fullmatch(text) for code in declared)]
    assert not undeclared, f"{name} refuses for {undeclared}: add that to the `reasons` of its class"
    unseen = [code for code in declared if not any(pattern(code).fullmatch(text) for text in occurring)]
    assert not unseen, (
        f"{name} declares the reasons {unseen}, for which it refuses in no row: add a row to ROWS of "
        "test_filters.py or test_cheap_filters.py, or remove them from its class"
    )


def test_reasons_of_request_filters_are_those_that_occur():
    occurring = {why[1] for _, _, why in test_prefilters.REFUSED}
    patterns = [pattern(code) for code in prefilters.REASONS]
    assert all(any(each.fullmatch(text) for each in patterns) for text in occurring)
    assert all(any(each.fullmatch(text) for text in occurring) for each in patterns)


def test_reasons_of_the_fold_are_those_that_it_gives():
    text = "".join(
        path.read_text()
        for path in PROJECTION.glob("*.py")
        if path.name not in ("claim_refusals.py", "write_refusals.py", "reason.py")
    )
    constants = re.findall(r"return (HOLDS_ALREADY|OLDER_LEVEL)$", text, re.MULTILINE)
    given = {*re.findall(r"ClaimRefused\.([A-Z_]+)", text), *constants}
    assert given == {*ClaimRefused.__members__}
    assert {*re.findall(r"WriteRefused\.([A-Z_]+)", text)} == {*WriteRefused.__members__}
    assert not re.findall(r"Reason\(f?[\"']", text), "a reason of the fold has its code in ClaimRefused"


# --- explanations ----------------------------------------------------------------------------------------------------

MEANINGS = [
    *((name, code, meaning) for name, each in NAMED.items() for code, meaning in each.reasons.items()),
    *(("request filter", code, meaning) for code, meaning in prefilters.REASONS.items()),
    *(("fold", code.value, code.meaning) for code in (*ClaimRefused, *WriteRefused)),
]


@pytest.mark.parametrize("_, code, meaning", MEANINGS, ids=[f"{owner} {code}" for owner, code, _ in MEANINGS])
def test_each_code_has_an_explanation(_, code, meaning):
    assert len(meaning.split()) > 4 and meaning != code, f"say what {code!r} means, in a sentence for operators"


def explained(name, said, facts, options):
    """(Reason or None, Finding) of each host, by the filter of a name."""
    cloud, asked, policy = Asked(*said), request(**facts), Policy(**options)
    view, scope = HostView(cloud.table, cloud.table.roots()), cloud.scope(asked)
    refusals = list(NAMED[name].refusals(view, asked, policy, scope))
    for place, row in enumerate(view.rows.tolist()):
        reason = next((refusal.reason for refusal in refusals if refusal.hosts[place]), None)
        if refusals:
            look = Look(cloud.table, row, asked, policy, cloud.projections, scope, [])
            yield reason, NAMED[name].explain(look, reason)


@pytest.mark.parametrize("name", NAMED)
def test_a_filter_explains_what_it_compared(name):
    found = [pair for row in ROWS if row[0] == name for pair in explained(*row[:-1])]
    for reason, finding in found:
        assert finding.text and finding.text != str(reason), f"{name} only repeats {reason}"
        assert reason is None or reason.code in NAMED[name].reasons
    for what, passes in (("refuses a host", False), ("lets a host pass", True)):
        assert passes in {reason is None for reason, _ in found} or name in ("AllHostsFilter", "ComputeFilter"), (
            f"in no row {name} {what}: add one to ROWS of test_filters.py or test_cheap_filters.py"
        )


@pytest.mark.parametrize(
    "name, reason",
    [
        TOGETHER,
        ("ComputeFilter", Reason("cell unreachable")),
        ("ResourceFilter", Reason("{resource class:+} on {number} providers", (("VCPU",), 2))),
        ("ResourceFilter", Reason("a code of an older version")),
    ],
)
def test_reasons_that_no_row_has_on_its_host_are_explained(name, reason):
    cloud, asked = Asked(report("a")), request()
    look = Look(cloud.table, 0, asked, Policy(), cloud.projections, cloud.scope(asked), [])
    assert NAMED[name].explain(look, reason).text


# --- the reason itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reason, text, template",
    [
        (Reason("disabled"), "disabled", "disabled"),
        (Reason("trait {trait}", ("CUSTOM_A",)), "trait CUSTOM_A", "trait {trait}"),
        (Reason("trait {trait: or }", (("A", "B", "C"),)), "trait A or B or C", "trait {trait} or {trait}"),
        (
            Reason("{class:+} on {number} of {host}", (("A", "B"), 2, "h")),
            "A+B on 2 of h",
            "{class}+{class} on {number} of {host}",
        ),
        (Reason("{class:+} on one", (("A",),)), "A on one", "{class}+{class} on one"),
        (Reason(ClaimRefused.GROUP_FULL, (2, "h1", 1)), "anti-affinity: 2 of the group in h1, limit 1", None),
    ],
)
def test_a_reason_becomes_a_text(reason, text, template):
    assert str(reason) == f"{reason}" == text and type(str(reason)) is str
    assert template is None or template_of(reason.code) == template


def test_a_plain_text_of_a_deployers_filter_is_a_reason_without_facts():
    refusal = Refusal("{free} is too little", None)
    assert refusal.reason == Reason("{free} is too little") and str(refusal.reason) == "{free} is too little"
    assert refusal._replace(hosts=1).reason is refusal.reason
    assert Refusal(refusal.reason, None).reason is refusal.reason


def test_a_filter_of_a_deployer_is_explained_by_its_own_words():
    class Crowded(Filter):
        reasons = ("crowded",)

        def refusals(self, hosts, request, policy, scope):
            yield Refusal("crowded", hosts.column("num_instances") > 1)

    assert Crowded().explain(None, Reason("crowded")).text == "crowded"
    assert Crowded().explain(None, None).text == "passed"


@pytest.mark.parametrize("code", [*ClaimRefused, *WriteRefused])
def test_a_reason_without_its_facts_has_no_braces(code):
    assert kind_of(code) and not set("{}") & set(kind_of(code))
