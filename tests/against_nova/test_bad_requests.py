"""Damaged requests get the status that the real Placement gives them, and 400 where it fails."""

import pytest

from placement_api.region import Region
from tests.against_nova.conftest import running_peer
from tests.placement_api.client import client_of

pytestmark = pytest.mark.nova

UUID = "5662942e-497f-4a54-8257-dcbb3fa3e5f4"
PROVIDERS, PROVIDER, CONSUMER = "/resource_providers", f"/resource_providers/{UUID}", f"/allocations/{UUID}"


def nested(depth):
    return "[" * depth + "]" * depth


#: (Method, path, body, microversion): Placement answers.
SAME = [
    ("GET", "/traits?name=%ff", "", "1.39"),
    ("GET", "/traits?%ff=a", "", "1.39"),
    ("GET", f"{PROVIDERS}?name=%c3%28", "", "1.39"),
    ("GET", f"{PROVIDERS}?nothing=1", "", "1.39"),
    ("GET", f"{PROVIDERS}?uuid=1", "", "1.39"),
    ("GET", f"{PROVIDER}?nothing=1", "", "1.39"),
    ("GET", "/allocation_candidates?resources=VCPU:1&limit=0", "", "1.39"),
    ("GET", "/allocation_candidates?resources=VCPU", "", "1.39"),
    ("GET", "/usages", "", "1.39"),
    ("GET", "/resource_classes/%00", "", "1.39"),
    ("GET", "/resource_classes/%ff", "", "1.39"),
    ("GET", "/allocations/%ff", "", "1.39"),
    ("GET", "/nothing", "", "1.39"),
    ("GET", "//", "", "1.39"),
    ("GET", f"{PROVIDER}/", "", "1.39"),
    ("HEAD", "/traits", "", "1.39"),
    ("PATCH", "/traits", "", "1.39"),
    ("PUT", "/traits/%ff", "", "1.39"),
    ("PUT", "/traits/VCPU", "", "1.39"),
    ("DELETE", "/resource_providers/%ff", "", "1.39"),
    ("DELETE", CONSUMER, "", "1.39"),
    ("GET", "/traits", "", "1.40"),
    ("GET", "/traits", "", "2.0"),
    ("GET", "/traits", "", "x"),
    ("GET", "/traits", "", ""),
    ("GET", "/traits", "", "1." + "9" * 5000),
    ("POST", PROVIDERS, "", "1.39"),
    ("POST", PROVIDERS, "{", "1.39"),
    ("POST", PROVIDERS, "[]", "1.39"),
    ("POST", PROVIDERS, '"x"', "1.39"),
    ("POST", PROVIDERS, '{"name": "\xff"}', "1.39"),
    ("POST", PROVIDERS, '{"name": NaN}', "1.39"),
    ("POST", PROVIDERS, '{"name": 1e999}', "1.39"),
    ("POST", PROVIDERS, '{"name": ' + "9" * 5000 + "}", "1.39"),
    ("POST", PROVIDERS, '{"name": ' + nested(20) + "}", "1.39"),
    ("PUT", PROVIDER, "{}", "1.39"),
    ("PUT", f"{PROVIDER}/inventories", "{", "1.39"),
    ("PUT", "/allocations/x", "{}", "1.39"),
    ("PUT", CONSUMER, '{"allocations": {}}', "1.39"),
    ("POST", "/allocations", "{}", "1.39"),
    ("POST", "/allocations", '{"' + "a" * 36 + '": {}}', "1.39"),
    ("POST", "/reshaper", "{}", "1.39"),
]
#: Placement raises, and its web server answers 500.
BETTER = [
    ("GET", "/usages?project_id=%ff", "", "1.39"),
    ("POST", PROVIDERS, nested(900), "1.39"),
    ("POST", PROVIDERS, "[" * 100_000, "1.39"),
    ("POST", PROVIDERS, '{"name": "\\ud800"}', "1.39"),
]
#: Placement reads what is damaged.
STRICTER = [("GET", "/allocation_candidates?resources=VCPU:1&resources1%0A=MEMORY_MB:1", "", "1.39")]


@pytest.fixture(scope="module")
def theirs():
    """The real Placement."""
    yield from running_peer("placement", "bad_requests.py")


@pytest.fixture(scope="module")
def ours():
    region = Region.in_memory()
    yield client_of(region)
    region.close()


def statuses(theirs, ours, method, path, body, version):
    """Our status, and Placement's."""
    sent = {"OpenStack-API-Version": f"placement {version}"}
    answer = ours.ask(method, path, body.encode("latin-1"), **sent)
    asked = theirs.ask("status", method, path, body, version)
    return answer.status, asked["answer"]


@pytest.mark.parametrize("case", SAME, ids=lambda case: " ".join(case)[:60].encode("unicode_escape").decode())
def test_the_status_is_that_of_placement(theirs, ours, case):
    own, of_placement = statuses(theirs, ours, *case)
    assert own == of_placement


@pytest.mark.parametrize("case", BETTER, ids=lambda case: " ".join(case)[:60])
def test_placement_fails_and_we_answer(theirs, ours, case):
    assert statuses(theirs, ours, *case) == (400, 500)


@pytest.mark.parametrize("case", STRICTER, ids=lambda case: " ".join(case)[:60])
def test_placement_answers_and_we_refuse(theirs, ours, case):
    assert statuses(theirs, ours, *case) == (400, 200)
