"""The reasons that filters declare, for the reference, are those with which they refuse:
by the rows of the table tests."""

import re

import pytest

from nova_sched import filters
from nova_sched.selection.host_fit import TOGETHER
from tests.nova_sched.filters import test_cheap_filters, test_filters
from tests.nova_sched.fit import test_numa

NAMED = {one.name: one for one in (*filters.ALWAYS, *filters.BUILT_IN.values())}
#: What stands in other tests: of a closed cell, and of the close look at one host.
ELSEWHERE = {("ComputeFilter", "cell unreachable"), TOGETHER} | {
    ("NUMATopologyFilter", wanted) for _, _, _, wanted in test_numa.ROWS if isinstance(wanted, str)
}
YIELDED = {(row[0], reason) for row in (*test_filters.ROWS, *test_cheap_filters.ROWS) for reason in row[-1]} | ELSEWHERE


def pattern(template):
    """What a declared reason stands for: resource classes have capitals, other words in braces are anything."""
    parts = re.split(r"(\{[^}]*\})", template)
    return re.compile(
        "".join(
            {"{resource class}": "[A-Z0-9_]+", "{number}": "[0-9]+"}.get(part, ".+")
            if part.startswith("{")
            else re.escape(part)
            for part in parts
        )
    )


@pytest.mark.parametrize("name", NAMED)
def test_declared_reasons_are_those_that_occur(name):
    declared, occurring = NAMED[name].reasons, {reason for one, reason in YIELDED if one == name}
    undeclared = [one for one in sorted(occurring) if not any(pattern(two).fullmatch(one) for two in declared)]
    assert not undeclared, f"{name} refuses for {undeclared}: add that to the `reasons` of its class"
    unseen = [one for one in declared if not any(pattern(one).fullmatch(two) for two in occurring)]
    assert not unseen, (
        f"{name} declares the reasons {unseen}, for which it refuses in no row: add a row to ROWS of "
        "test_filters.py or test_cheap_filters.py, or remove them from its class"
    )
