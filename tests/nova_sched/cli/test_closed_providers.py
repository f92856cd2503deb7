"""The tools on a host that has a provider with values that the schema does not accept."""

import math

import pytest

from nova_sched.replay.what_if.changes import Changes
from tests.builders import inventory_of, provider, report, tree
from tests.engines import TinyCloud
from tests.nova_sched.replay.test_what_if import run_of
from tests.nova_sched.replay.tiny import Logs, deciding

FAULT = "CUSTOM_X of kid cannot be read, wanted Inventory.allocation_ratio: a finite number"


def cloud_of(level):
    """One host with a closed provider, and then with a good one; an instance runs on it."""
    cloud = TinyCloud()
    if level > 1:
        cloud.pin(level)
    for ratio in (1.0, math.nan):
        kid = provider("kid", inventory_of("CUSTOM_X", 8, ratio=ratio), parent=0)
        said = report("a", inventory=tree("a", kid)._replace(host_ip="10.1.2.3"))
        cloud.append("cell1", "compute_agent/a", said)
    engine = deciding(cloud)
    cloud.ask(engine, "vm", vcpus=1)
    cloud.settle()
    return cloud


@pytest.mark.parametrize(
    "command, code, says",
    [
        (["state", "a"], 0, FAULT),
        (["check"], 4, FAULT),
        (["diff", "cell1:1", "cell1:2"], 0, FAULT),
        (["tail"], 0, "a report of which a part cannot be read"),
        (["replay", "--verify"], 0, "0 laws broken"),
        (["what-if", "--ratio", "VCPU=2", "--add-host", "1=a"], 0, "re-run"),
    ],
)
def test_commands(capsys, command, code, says):
    with Logs(cloud_of(2)) as logs:
        found = logs.run(*command)
    shown = capsys.readouterr()
    assert (found, says in shown.out) == (code, True), shown


@pytest.mark.parametrize("level", [1, 2])
def test_changed_reports_are_judged_as_the_real_ones(level):
    with Logs(cloud_of(level)) as logs, logs.source() as source:
        run, _ = run_of(source, Changes(ratios={"VCPU": 2.0}, added={"a": 1}))
    projection = run.truth.projections["cell1"]
    assert sorted(projection.hosts) == ["a", "a+1"]
    assert len(projection.quarantine) == (2 if level == 1 else 0)
