"""The world of a what-if: groups keep their rules in it, and nothing is given away twice, whatever was changed."""

import pytest

from nova_sched.replay.decisions.policies import PolicyBook
from nova_sched.replay.state.history import History
from nova_sched.replay.verify.decisions import spooled
from nova_sched.replay.verify.spool import Spool
from nova_sched.replay.what_if.changes import Changes, copy_of
from nova_sched.replay.what_if.run import Run
from nova_sched.replay.what_if.traffic import as_recorded, traffic_of
from rpc_api import errors, events
from rpc_api.levels import LEVEL
from tests import invariants
from tests.builders import Voice, inventory_of, record_of, report, rule, server_group, started, tree, uuid_of
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
        (Changes(options={"weighers": "x"}), 'the option weighers is "x", wanted'),
        (Changes(options={"max_attempts": "x"}), 'the option max_attempts is "x", wanted'),
        (Changes(options={"enabled_filters": ["Nobody"]}), "there is no filter 'Nobody'"),
    ],
)
def test_options_that_there_are_not(changes, told):
    from nova_sched.selection.policy import Policy

    with pytest.raises(errors.UsageError, match=told):
        changes.policy_for(Policy())


# --- logs above level 1 ---------------------------------------------------------------------------------------------

SPLIT = dict(group=server_group("affinity", members=("m1", "m2"), hosts=("a", "b")))


def pinned_cloud(ratio=None):
    """A cloud that was pinned before its hosts reported; they have a class with a ratio, if one is given."""
    cloud = TinyCloud()
    cloud.pin(2)
    more = () if ratio is None else (inventory_of("CUSTOM_GOLD", 4, ratio=ratio),)
    for host in "abc":
        inventory = tree(host, inventories=(inventory_of("VCPU", 8), *more))
        cloud.append("cell1", f"compute_agent/{host}", report(host, inventory=inventory))
    return cloud


def asked(cloud, engine, first=0, end=4, **fields):
    for number in range(first, end):
        cloud.ask(engine, f"vm-{number}", vcpus=1, **fields)
        cloud.settle()


def plain():
    cloud = pinned_cloud()
    asked(cloud, deciding(cloud))
    return cloud


def class_that_offers_nothing():
    cloud = pinned_cloud(ratio=0.0)
    asked(cloud, deciding(cloud))
    return cloud


def split_group():
    cloud = pinned_cloud()
    engine = deciding(cloud)
    for host, name in (("a", "m1"), ("b", "m2")):
        of_group = rule("group", "together", host, uuid_of(name), 0)
        cloud.append("cell1", f"compute_agent/{host}", started(name, host, rule=of_group))
    cloud.settle()
    asked(cloud, engine, **SPLIT)
    return cloud


def pinned_under_way():
    """A claim is under way when the log is pinned: it is refused, and decided again."""
    cloud = TinyCloud()
    for host in "abc":
        cloud.host(host)
    engine = deciding(cloud)
    cloud.append("cell1", "operator/o", events.LevelPinned(2))
    cloud.ask(engine, "early", vcpus=1)
    cloud.levels["cell1"] = 2
    cloud.settle()
    asked(cloud, engine)
    return cloud


def watched():
    cloud = pinned_cloud()
    asked(cloud, deciding(cloud))
    cloud.append("cell1", "conductor/c", events.ClaimsWatched(0, 60_000, ()))
    return cloud


def records_of_another_level():
    """An agent that does not know the pin yet, and a report above the level of the log: it does not count."""
    cloud = TinyCloud()
    cloud.host("a")
    agent = Voice("compute_agent/b")
    too_high = report("b", inventory=tree("b", inventories=(inventory_of("VCPU", 64),)))
    cloud.logs["cell1"].append(record_of(agent.say(too_high), level=2))
    engine = deciding(cloud)
    asked(cloud, engine, 0, 2)
    cloud.pin(2)
    low = report("c", inventory=tree("c", inventories=(inventory_of("VCPU", 4),)))
    cloud.logs["cell1"].append(record_of(Voice("compute_agent/c").say(low), level=1))
    cloud.settle()
    asked(cloud, engine, 2)
    return cloud


@pytest.mark.parametrize(
    "made", [plain, class_that_offers_nothing, split_group, pinned_under_way, watched, records_of_another_level]
)
def test_without_changes_a_pinned_log_gives_what_happened(made):
    with Logs(made()) as logs, logs.source() as source:
        run, tally = run_of(source, Changes())
        real = as_recorded(source.logs, run.traffic)
        state = History(source.logs).world_at({cell: log.bounds().last for cell, log in source.logs.items()})
    assert tally.placed == real.placed and tally.asked == real.asked > 0
    assert (tally.refused, tally.conflicts, tally.missing) == (real.refused, real.conflicts, {})
    assert real.conflicts == (made is pinned_under_way)
    for cell, projection in state.projections.items():
        for world in (run.truth, *(scheduler.world for scheduler in run._schedulers.values())):
            found = world.projections[cell]
            assert (found.level, found.watched_ms, sorted(found.hosts)) == (
                projection.level,
                projection.watched_ms,
                sorted(projection.hosts),
            )
            assert not found.quarantine


def test_claims_of_another_cell_wait_at_the_level_of_their_own():
    """With the host of the real claims gone, all go to a cell that only an agent without the pin writes to."""
    cloud = TinyCloud(cells=("cell1", "cell2"))
    cloud.pin(2)
    cloud.host("a", "cell1", vcpus=32)
    cloud.host("b", "cell2", vcpus=4)
    engine = deciding(cloud)
    for number in range(3):
        cloud.ask(engine, f"vm-{number}", vcpus=1)
        cloud.settle()
        late = report("b", inventory=tree("b", inventories=(inventory_of("VCPU", 4),)), failed_builds=number)
        voice = cloud.voices["cell2", "compute_agent/b"]
        cloud.logs["cell2"].append(record_of(voice.say(late), level=1))
        cloud.settle()
    with Logs(cloud) as logs, logs.source() as source:
        _, tally = run_of(source, Changes(dropped=frozenset({"a"})))
    assert set(tally.placed.values()) == {"b"} and len(tally.placed) == 3 and not tally.conflicts


def test_a_place_is_given_back_by_an_agent_that_does_not_know_the_pin():
    cloud = pinned_cloud()
    asked(cloud, deciding(cloud), 0, 1)
    real = cloud.events("cell1", "ClaimProposed")[0].host
    cloud.append("cell1", f"compute_agent/{real}", started("vm-0", real))
    cloud.levels["cell1"] = 1
    cloud.append("cell1", f"compute_agent/{real}", events.InstanceDeleted(real, uuid_of("vm-0")))
    with Logs(cloud) as logs, logs.source() as source:
        run, tally = run_of(source, Changes(dropped=frozenset({real})))
    assert len(tally.placed) == 1 and run.truth.projections["cell1"].consumers == {}


def test_a_log_of_an_unknown_level_ends_there():
    """What is claimed after the pin counts in neither world."""
    cloud = TinyCloud()
    cloud.host("a")
    engine = deciding(cloud)
    asked(cloud, engine, 0, 2)
    cloud.append("cell1", "operator/o", events.LevelPinned(LEVEL + 1))
    cloud.host("b")
    with Logs(cloud) as logs, logs.source() as source:
        run, tally = run_of(source, Changes())
    assert run.truth.projections["cell1"].is_too_new and sorted(run.truth.projections["cell1"].hosts) == ["a"]
    assert len(tally.placed) == 2
