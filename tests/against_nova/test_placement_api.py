"""Placement's own API tests, on our Placement API: one test for each of their files.

The files are read from the installed package of Placement. What a fixture of them prepares with Placement's objects is
repeated on our log (``gabbi_tee.py``).
"""

import pytest

from tests.against_nova.conftest import running_peer

pytestmark = pytest.mark.nova

#: What Placement's functional tests import.
MODULES = "placement, gabbi, wsgi_intercept, oslotest"
#: The tests in all files.
TESTS = 1316
FILES = (
    "aggregate",
    "aggregate-legacy-rbac",
    "aggregate-policy",
    "aggregate-secure-rbac",
    "allocation-bad-class",
    "allocation-candidates",
    "allocation-candidates-any-traits",
    "allocation-candidates-any-traits-groups",
    "allocation-candidates-bug-1792503",
    "allocation-candidates-legacy-rbac",
    "allocation-candidates-mappings-numa",
    "allocation-candidates-mappings-sharing",
    "allocation-candidates-member-of",
    "allocation-candidates-policy",
    "allocation-candidates-root-required",
    "allocation-candidates-secure-rbac",
    "allocations",
    "allocations-1-12",
    "allocations-1-8",
    "allocations-1.28",
    "allocations-bug-1714072",
    "allocations-bug-1778591",
    "allocations-bug-1778743",
    "allocations-bug-1779717",
    "allocations-legacy-rbac",
    "allocations-mappings",
    "allocations-policy",
    "allocations-post",
    "allocations-secure-rbac",
    "basic-http",
    "bug-1674694",
    "confirm-auth",
    "consumer-types-1.38",
    "consumer-types-bug-story-2009167",
    "cors",
    "ensure-consumer",
    "granular",
    "granular-same-subtree",
    "inventory",
    "inventory-legacy-rbac",
    "inventory-policy",
    "inventory-secure-rbac",
    "microversion",
    "microversion-bug-1724065",
    "non-cors",
    "reshaper",
    "reshaper-legacy-rbac",
    "reshaper-policy",
    "reshaper-secure-rbac",
    "resource-class-in-use",
    "resource-classes",
    "resource-classes-1-6",
    "resource-classes-1-7",
    "resource-classes-last-modified",
    "resource-classes-legacy-rbac",
    "resource-classes-policy",
    "resource-classes-secure-rbac",
    "resource-provider",
    "resource-provider-aggregates",
    "resource-provider-any-traits",
    "resource-provider-bug-1779818",
    "resource-provider-duplication",
    "resource-provider-legacy-rbac",
    "resource-provider-links",
    "resource-provider-policy",
    "resource-provider-resources-query",
    "resource-provider-secure-rbac",
    "same-subtree-deep",
    "shared-resources",
    "traits",
    "traits-legacy-rbac",
    "traits-policy",
    "traits-secure-rbac",
    "unicode",
    "usage",
    "usage-legacy-rbac",
    "usage-policy",
    "usage-secure-rbac",
    "with-allocations",
)
#: Fixtures that prepare providers and consumers, and one of our own that writes in every way that is repeated.
PREPARED = (
    "AllWrites",
    "AllocationFixture",
    "SharedStorageFixture",
    "NUMAAggregateFixture",
    "NUMANetworkFixture",
    "DeepNUMANetworkFixture",
    "NonSharedStorageFixture",
    "GranularFixture",
    "NeutronQoSMultiSegmentFixture",
)
#: File -> test -> why our answer is not the one that Placement's test wants. A test that passes must not be here.
DIFFERENT: dict[str, dict[str, str]] = {}


@pytest.fixture(scope="module")
def ours():
    """Placement's tests, which ask our application."""
    yield from running_peer(MODULES, "gabbi_peer.py", "nova_sched")


@pytest.fixture(scope="module")
def theirs():
    """Placement's tests, which ask the real Placement."""
    yield from running_peer(MODULES, "gabbi_peer.py", "placement")


@pytest.fixture(scope="module")
def prepared():
    """What the fixtures of Placement's tests prepare, on both sides."""
    yield from running_peer(MODULES, "gabbi_prepared.py")


def answered(asked):
    assert "answer" in asked, asked
    return asked["answer"]


@pytest.mark.parametrize("name", FILES)
def test_our_answers_are_those_that_placement_wants(ours, name):
    failed = {test: text for test, text in answered(ours.ask("run", name)) if text is not None}
    different = DIFFERENT.get(name, {})
    wrong = [f"{test}: {text}" for test, text in failed.items() if test not in different]
    equal = [f"{test}: passes, and is in the list of differences" for test in different if test not in failed]
    assert not wrong + equal, "\n\n".join(wrong + equal)


@pytest.mark.parametrize("fixture", PREPARED)
def test_what_a_fixture_prepares_is_the_same_on_both_sides(prepared, fixture):
    placement, our_fold = answered(prepared.ask("states", fixture))
    assert placement == our_fold
    assert placement["providers"]


def test_the_files_are_those_of_the_installed_placement(theirs):
    assert tuple(answered(theirs.ask("files"))) == FILES
    assert set(DIFFERENT) <= set(FILES)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_real_placement_passes_all_of_them(theirs):
    """The tests are run as Placement runs them: each passes there."""
    results = [(name, *result) for name in FILES for result in answered(theirs.ask("run", name))]
    assert [result for result in results if result[2] is not None] == []
    assert len(results) == TESTS
