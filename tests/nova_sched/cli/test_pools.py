"""why-not, show, explain and capacity of hosts that share a pool: which pool lacks what, and who took of it last."""

import pytest

from nova_sched.projection.topology import SHARES
from nova_sched.replay.state.capacity import capacity, together
from nova_sched.selection.policy import Policy
from rpc_api import events
from rpc_api.levels import LEVEL
from tests.builders import (
    consumer,
    consumer_put,
    created,
    facts_of,
    group,
    inventory_of,
    of,
    put,
    put_aggregates,
    put_inventories,
    put_traits,
    report,
    request,
    tree,
    uuid_of,
)
from tests.engines import TinyCloud
from tests.nova_sched.replay.ledger_story import by
from tests.nova_sched.replay.test_capacity import really_claimed, world_of
from tests.nova_sched.replay.tiny import Logs, deciding

DISK = "DISK_GB"
VM = (group(VCPU=1, DISK_GB=20),)


def host(name, *consumers, vcpus=8):
    base = tree(name, inventories=[inventory_of("VCPU", vcpus)])
    return report(
        name, *consumers, inventory=base._replace(providers=(base.providers[0]._replace(aggregates=(uuid_of("agg"),)),))
    )


def pool(total=100, name="pool", **more):
    return [
        created(name),
        put_inventories(name, inventory_of(DISK, total, **more)),
        put_traits(name, SHARES),
        put_aggregates(name, "agg"),
    ]


def cloud_with(*said):
    cloud = TinyCloud()
    cloud.pin(LEVEL)
    engine = deciding(cloud)
    for data in said:
        role = "compute_agent" if type(data) is events.HostReported else "placement"
        nova = role == "compute_agent" and events.thaw("HostInventory", data.inventory).authority == "nova"
        cloud.append("cell1", "conductor/c" if nova else f"{role}/{getattr(data, 'host', 'one')}", data)
    cloud.settle()
    return cloud, engine


#: What there is; then the text and the cause of the refusal of host a.
REFUSED = {
    "another host took": (
        [host("a"), host("b", consumer("old", of("b", 1), of("pool", 85, DISK))), *pool()],
        "DISK_GB: 15 free, 20 asked (100 total x 1, 85 used; on the shared provider pool)",
        f"last taken by instance {uuid_of('old')} on b",
    ),
    "its own instance took": (
        [*pool(), host("a", consumer("old", of("a", 1), of("pool", 85, DISK)))],
        "15 free, 20 asked",
        f"last taken by instance {uuid_of('old')}",
    ),
    "a volume took": (
        [host("a"), *pool(), by("r", put(consumer_put("volume", of("pool", 90, DISK))))],
        "10 free, 20 asked",
        f"last taken by instance {uuid_of('volume')} of no host",
    ),
    "it never had enough": ([host("a"), *pool(10)], "10 free, 20 asked", "provider pool got its inventory of DISK_GB"),
    "its unit is too large": (
        [host("a"), *pool(max_unit=10)],
        "at most 10 at once",
        "provider pool got its inventory of DISK_GB",
    ),
    "the API wrote less": (
        [
            host("a"),
            *pool(),
            put_inventories("pool", inventory_of(DISK, 15)),
            put_inventories("pool", inventory_of(DISK, 99), generation=0),
        ],
        "15 free, 20 asked (15 total",
        "provider pool got its inventory of DISK_GB",
    ),
    "there is none": ([host("a")], "no DISK_GB offered here, 20 asked", "reported so"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_why_a_host_was_refused(case, capsys):
    said, text, cause = REFUSED[case]
    cloud, engine = cloud_with(*said)
    cloud.ask(engine, "vm", groups=VM)
    cloud.settle()
    with Logs(cloud) as logs:
        code, found = logs.json(capsys, "why-not", uuid_of("vm"), "a")
        verdict = next(one for one in found["verdicts"] if one["verdict"] == "refuse")
        assert (code, verdict["filter"], verdict["reason"]) == (1, "ResourceFilter", DISK)
        assert text in verdict["text"] and cause == verdict["cause"]["what"].partition(" by its agent")[0]
        assert logs.run("explain", uuid_of("vm")) == 0
        assert f"refused for {DISK} (ResourceFilter); nearest: " in capsys.readouterr().out


def test_a_host_whose_providers_the_api_wrote(capsys):
    cloud, engine = cloud_with(
        created("a"), put_inventories("a", inventory_of("VCPU", 2)), facts_of("a", authority="nova")
    )
    cloud.ask(engine, "vm", vcpus=4)
    cloud.settle()
    with Logs(cloud) as logs:
        _, found = logs.json(capsys, "why-not", uuid_of("vm"), "a")
        verdict = next(one for one in found["verdicts"] if one["verdict"] == "refuse")
    assert verdict["cause"]["what"] == "provider a got its inventory of VCPU"
    assert verdict["cause"]["producer"] == "placement/one"


def test_a_claim_that_lost_the_pool(capsys):
    """Two schedulers claim the last of a pool, on two hosts; show names the one that came first."""
    cloud, first = cloud_with(host("a"), host("b"), *pool(30))
    second = cloud.engine("two")
    second.publish_policy()
    cloud.settle()
    cloud.ask(first, "vm-1", groups=VM)
    cloud.ask(second, "vm-2", groups=VM)
    cloud.settle()
    with Logs(cloud) as logs:
        _, (found,) = logs.json(capsys, "show", uuid_of("vm-2"))
    claim = found["decisions"][0]["claim"]
    assert claim["verdict"] == "refused" and claim["reason"] == DISK
    assert claim["lost_to"][0]["what"].startswith(f"instance {uuid_of('vm-1')} came to ")


def test_show_has_what_the_api_wrote(capsys):
    cloud, engine = cloud_with(created("a"), put_inventories("a", inventory_of()), facts_of("a", authority="nova"))
    cloud.ask(engine, "vm")
    cloud.settle()
    cloud.append("cell1", "placement/one", by("r", put(consumer_put("vm"))))
    with Logs(cloud) as logs:
        assert logs.run("show", uuid_of("vm")) == 0
        shown = capsys.readouterr().out
        assert "  AllocationsPut  cell1 " in shown
        assert f"{uuid_of('vm')} holds nothing request req-r user ada" in shown


# --- capacity -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said, alone, all_",
    [
        ([host("a"), host("b"), *pool(100)], [5, 5], 5),
        ([host("a", vcpus=3), host("b"), *pool(100)], [3, 5], 5),
        ([host("a", vcpus=3), host("b", vcpus=1), *pool(100)], [3, 1], 4),
        ([host("a"), host("b"), *pool(100), *pool(60, "other")], [8, 8], 8),
        ([host("a"), *pool(10)], [0], 0),
    ],
)
def test_what_fits_on_hosts_that_share(said, alone, all_):
    world = world_of(events.LevelPinned(LEVEL), *said)
    asked = request(*VM)
    answers = capacity(world, asked)
    assert [answer.fits for answer in answers] == alone
    assert together(world, asked, answers) == all_ == sum(really_claimed(world, asked, Policy()).values())


def test_the_command(capsys):
    cloud, _ = cloud_with(host("a"), host("b"), *pool(100))
    with Logs(cloud) as logs:
        assert logs.run("capacity", "VCPU=1,DISK_GB=20") == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "5 more of 1 VCPU, 20 DISK_GB fit, on 2 of 2 hosts"
        assert lines[1] == "hosts share providers: all figures below are of each host alone, which sum up to 10"
        found = logs.json(capsys, "capacity", "VCPU=1,DISK_GB=20")[1]
        assert (found["fits"], found["fits_alone"]) == (5, 10)
