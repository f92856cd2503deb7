"""The world of a what-if: groups keep their rules in it, and nothing is given away twice, whatever was changed."""

import pytest

from nova_sched.replay.decisions.policies import PolicyBook
from nova_sched.replay.verify.decisions import spooled
from nova_sched.replay.verify.spool import Spool
from nova_sched.replay.what_if.changes import Changes, copy_of
from nova_sched.replay.what_if.run import Run
from nova_sched.replay.what_if.traffic import traffic_of
from rpc_api import errors
from tests import invariants
from tests.builders import server_group, uuid_of
from tests.engines import TinyCloud
from tests.nova_sched.replay.tiny import Logs, deciding

CHANGES = {
    "nothing": Changes(),
    "ratios": Changes(ratios={"VCPU": 1.5}),
    "a host less": Changes(dropped=frozenset({"host-0"})),
    "hosts more": Changes(added={"host-1": 2}),
    "spread": Changes(weighers={"CPUWeigher": -1.0}, options={"host_subset_size": 3}),
}


@pytest.fixture
def busy():
    """Two schedulers over two cells, which decide for members of the same groups at once."""
    cloud = TinyCloud(cells=("cell1", "cell2"))
    for number in range(6):
        cloud.host(f"host-{number}", f"cell{number % 2 + 1}", vcpus=8)
    engines = [deciding(cloud, name) for name in ("one", "two")]
    for number in range(8):
        policy = ("affinity", "anti-affinity")[number % 2]
        for member in range(3):
            cloud.ask(
                engines[member % 2],
                f"vm-{number}-{member}",
                vcpus=1,
                group=server_group(policy, name=f"group-{number}"),
            )
        cloud.settle()
    return cloud


def run_of(source, changes):
    policies = PolicyBook()
    with Spool() as spool:
        spooled(source.logs, spool, policies)
        run = Run(source.logs, policies, spool, traffic_of(spool), changes)
        return run, run.run()


@pytest.mark.parametrize("name", CHANGES)
def test_groups_keep_their_rules_and_nobody_gets_too_much(busy, name):
    with Logs(busy) as logs, logs.source() as source:
        run, tally = run_of(source, CHANGES[name])
    for projection in run.truth.projections.values():
        invariants.check(projection)
        assert not projection.quarantine
    table = run.truth.table
    assert (table.used[:, : table.count] <= table.capacity[:, : table.count]).all()
    assert tally.asked == 24 == len(tally.placed) + sum(tally.refused.values()) and not tally.missing
    for number in range(8):
        hosts = [
            tally.placed[uuid]
            for uuid in (uuid_of(f"vm-{number}-{member}") for member in range(3))
            if uuid in tally.placed
        ]
        assert len(set(hosts)) == (min(1, len(hosts)) if number % 2 == 0 else len(hosts)), (number, hosts)


@pytest.mark.parametrize("name", CHANGES)
def test_all_schedulers_end_in_the_same_world(busy, name):
    """Each scheduler's world is folded to the end, holds nothing in flight, and is that of the log."""
    from nova_sched.projection.digest import state_digest

    with Logs(busy) as logs, logs.source() as source:
        run, _ = run_of(source, CHANGES[name])
    digests = {cell: state_digest(projection) for cell, projection in run.truth.projections.items()}
    for scheduler in run._schedulers.values():
        assert {cell: state_digest(one) for cell, one in scheduler.world.projections.items()} == digests
        assert (
            not scheduler.claims.unfinished()
            and not scheduler.world.in_flight.claims
            and not scheduler.world.table.held.any()
        )


def test_hosts_that_are_not_there_or_added(busy):
    with Logs(busy) as logs, logs.source() as source:
        run, tally = run_of(source, Changes(dropped=frozenset({"host-0"}), added={"host-1": 1}))
    assert "host-0" not in run.truth.table.row_of_host and copy_of("host-1", 1) in run.truth.table.row_of_host
    assert "host-0" not in tally.placed.values() and copy_of("host-1", 1) in tally.placed.values()


def test_a_log_is_not_kept_in_memory(busy):
    """Of records that every scheduler has read few are kept."""
    for _ in range(40):
        busy.host("host-0", vcpus=8)
        for number in range(10):
            busy.host(f"new-{number}", vcpus=1)
    busy.settle()
    deciding(busy, "late")
    with Logs(busy) as logs, logs.source() as source:
        run, _ = run_of(source, Changes())
    assert run._tapes["cell1"].base > 300 and len(run._tapes["cell1"]._records) <= 101


@pytest.mark.parametrize(
    "changes, told",
    [
        (Changes(options={"nothing": 1}), "a policy has no option 'nothing'"),
        (Changes(options={"weighers": "x"}), "the policy cannot be used"),
        (Changes(options={"max_attempts": "x"}), "max_attempts is of another kind"),
        (Changes(options={"enabled_filters": ["Nobody"]}), "there is no filter 'Nobody'"),
    ],
)
def test_options_that_there_are_not(changes, told):
    from nova_sched.selection.policy import Policy

    with pytest.raises(errors.UsageError, match=told):
        changes.policy_for(Policy())
