"""Nova's own functional tests, with our scheduler and our Placement API in the place of Nova's and Placement's."""

import json
import pathlib

import pytest

from tests.against_nova.conftest import peer_python
from tests.against_nova.functional import table
from tests.against_nova.functional.expected import EXPECTED
from tests.against_nova.functional.groups import GROUPS, QUICK
from tests.against_nova.functional.run import FAILED, PASSED

pytestmark = pytest.mark.nova
#: Group -> numbers of the tests that passed, failed and were skipped with Nova's own services, of the groups of which
#: all tests were run with these.
STOCK = json.loads((pathlib.Path(table.__file__).parent / "stock.json").read_text())


def test_a_few_of_them(tmp_path):
    peer_python("nova")
    found = table.run("nova_sched", QUICK, tmp_path / "quick.json")
    assert {name: text for name, (result, _, text) in found.items() if result != PASSED} == {}
    assert len(found) == len(QUICK)


@pytest.mark.long
@pytest.mark.parametrize("group", GROUPS)
def test_a_group(group, tmp_path):
    peer_python("nova")
    found = table.run_twice("nova_sched", group, tmp_path)
    fails, passes = table.differences(found)
    assert {name: found[name][2] for name in fails} == {} and passes == []
    if group in STOCK:
        assert len(found) == sum(STOCK[group].values())


def test_each_difference_has_its_reason_in_the_documents():
    documented = (pathlib.Path(__file__).parents[2] / "docs" / "differences" / "README.md").read_text()
    for name, reason in EXPECTED.items():
        assert reason.endswith(".") and name.rpartition(".")[2] in documented, name
    for group, counts in STOCK.items():
        of_stock = [
            name for name, reason in EXPECTED.items() if "own services" in reason and name.startswith(GROUPS[group])
        ]
        assert counts[FAILED] == len(of_stock)
