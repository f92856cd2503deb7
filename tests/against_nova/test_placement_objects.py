"""Placement's own tests of its objects, with our ledger and our API beside its database: one test for each module.

What these tests write with Placement's objects must have the same outcome and leave the same state on our log, and what
they ask for allocation candidates must have the same answer from our API (``object_peer.py``). The tests of migrations
are about its tables only.
"""

import pytest

from tests.against_nova.conftest import running_peer

pytestmark = pytest.mark.nova

#: What Placement's functional tests import.
MODULES = "placement, oslotest, testtools, fixtures"
#: Module -> how many tests it has.
TESTS = {
    "test_allocation": 14,
    "test_allocation_candidates": 40,
    "test_attribute_cache": 5,
    "test_consumer": 5,
    "test_consumer_type": 4,
    "test_project": 2,
    "test_reshape": 2,
    "test_resource_class": 18,
    "test_resource_provider": 46,
    "test_trait": 19,
    "test_usage": 9,
    "test_user": 2,
}
#: The modules that take most of the time -> the writes and questions that come to both sides, at least.
LARGE = {"test_allocation_candidates": 800, "test_resource_class": 20, "test_resource_provider": 220, "test_trait": 30}
#: Test -> why our outcome is another one. A test that passes must not be here.
DIFFERENT = {
    "TestAllocationListCreateDelete.test_create_and_clear": (
        "two objects for one class of one provider in one write; a body of the API has each class once"
    ),
    "TestAllocationListCreateDelete.test_set_allocations_retry": (
        "its database is made to report a conflict each time; here nothing is retried, as no other write is in the way"
    ),
    "TestEnsureAggregateRetry.test_retry_failsover": (
        "its database is made to report a duplicate each time; here an aggregate has no row of its own"
    ),
    "ResourceClassTestCase.test_create_duplicate_id_retry_failing": (
        "its database is made to find no free number for a class; here classes have no numbers"
    ),
    "ResourceClassListTestCase.test_get_all_with_custom": "writes classes into the table with SQL",
    "ResourceProviderTestCase.test_set_inventory_unknown_resource_class": (
        "the handler of the API refuses a class that OpenStack does not have (400), before there is an event"
    ),
    "TraitTestCase.test_trait_create_with_id_set": "gives the object a number of the table; no trait has a number here",
}


@pytest.fixture(scope="module")
def peer():
    """Placement's tests, with ours beside them."""
    yield from running_peer(MODULES, "object_peer.py")


def answered(asked):
    assert "answer" in asked, asked
    return asked["answer"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "modules, shared_least",
    [
        pytest.param([name for name in TESTS if name not in LARGE], 130, id="the others"),
        *(pytest.param([name], least, id=name, marks=pytest.mark.long) for name, least in LARGE.items()),
    ],
)
def test_outcomes_and_states_are_the_same(peer, modules, shared_least):
    assert answered(peer.ask("files")) == list(TESTS)
    wrong, shared = [], 0
    for module in modules:
        results = answered(peer.ask("run", module))
        assert len(results) == TESTS[module], module
        for name, failed, in_both in results:
            shared += in_both
            if failed is not None and name not in DIFFERENT:
                wrong.append(f"{name}: {failed}")
            if failed is None and name in DIFFERENT:
                wrong.append(f"{name}: passes, and is in the list of differences")
    assert not wrong, "\n\n".join(wrong)
    assert shared >= shared_least
