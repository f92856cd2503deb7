"""Services of the previous release and of this one in one cloud: mixtures, an upgrade, its way back, and the pin."""

import subprocess
import sys

import pytest

from nova_sched.projection.projection import Projection
from nova_sched.replay.logs.reading import records_of
from rpc_api.levels import LEVEL
from tests.end_to_end.processes import PRESENT
from tests.faults.load import SELECTED, Cloud, Load, audit

pytestmark = pytest.mark.rabbit

#: Which processes run the previous release.
MIXTURES = {
    "half-of-each": ("scheduler-1", "conductor-1.cell1", "api-1"),
    "agents": ("agent.cell1",),
    "schedulers": ("scheduler-1", "scheduler-2"),
    "conductors": ("conductor-1.cell1", "conductor-2.cell1", "api-1", "api-2"),
}
#: The services of which there are two, so that one can be replaced while the other serves.
NAMES = tuple(
    f"{service}-{number}{place}"
    for number in (1, 2)
    for service, place in (("scheduler", ""), ("conductor", ".cell1"), ("api", ""))
)
#: Requests that are answered with a host before a step, and after the last one.
SELECTIONS = 30


def cloud_of(directory, rabbit, vhost, releases):
    """Two of each service and one agent, whose room is never the limit."""
    return Cloud(
        directory,
        rabbit.url(vhost=vhost),
        lambda name: rabbit.url(name, vhost),
        conductors=2,
        api_conductors=2,
        vcpus=1024,
        releases=releases,
        # As docs/operating says for the time in which older conductors run beside newer schedulers.
        scheduler={"placement_endpoint": "nova_sched"},
    )


def failed(load):
    """Requests that were not answered with a host."""
    return [request for request in load.requests if request.outcome != SELECTED]


@pytest.mark.parametrize("mixture", MIXTURES)
def test_a_mixture_builds(tmp_path, rabbit_server, vhost, previous, mixture):
    releases = dict.fromkeys(MIXTURES[mixture], previous)
    with cloud_of(tmp_path, rabbit_server, vhost, releases) as cloud, Load(cloud, builds=True) as load:
        load.wait_selected(SELECTIONS)
        load.stop()
        assert failed(load) == []
        assert audit(cloud, load).wrong() == []


@pytest.mark.long
def test_an_upgrade_and_its_way_back_under_load(tmp_path, rabbit_server, vhost, previous):
    with cloud_of(tmp_path, rabbit_server, vhost, dict.fromkeys(NAMES, previous)) as cloud:
        with Load(cloud, rate=10.0, builds=True) as load:
            for release in (PRESENT, previous):
                for name in NAMES:
                    load.wait_selected(SELECTIONS // 3)
                    cloud.stop(name)
                    cloud.releases[name] = release
                    cloud.start(name)
            load.wait_selected(SELECTIONS)
            load.stop()
            assert failed(load) == []
            assert audit(cloud, load).wrong() == []


# --- pins ------------------------------------------------------------------------------------------------------------

PIN = "import sys; from nova_sched.cli.main import main; sys.exit(main(sys.argv[1:]))"
PIN_SECONDS_MAX = 120.0


def pin(directory, *arguments):
    """Run ``nova-sched pin`` on a cloud; returns (exit code, what it printed)."""
    command = [sys.executable, "-W", "ignore", "-c", PIN, "pin", *arguments]
    done = subprocess.run(
        [*command, "--config-file", str(directory / "scheduler-1.conf"), "--name", "test"],
        capture_output=True,
        text=True,
        timeout=PIN_SECONDS_MAX,
    )
    return done.returncode, done.stdout + done.stderr


def levels(cloud):
    """Cell -> (level of its log, {(role, level)} of the records after the last pin)."""
    found = {}
    for cell, url in cloud.logs.items():
        projection, after = Projection(cell), set()
        for position, record in records_of(url):
            before = projection.level
            projection.fold([(position, record)])
            roles = {event.producer.partition("/")[0] for event in record.events}
            after = set() if projection.level > before else after | {(role, record.level) for role in roles}
        found[cell] = projection.level, after
    return found


def test_a_pin_under_load(tmp_path, rabbit_server, vhost):
    with cloud_of(tmp_path, rabbit_server, vhost, {}) as cloud, Load(cloud, rate=10.0, builds=True) as load:
        load.wait_selected(SELECTIONS)
        code, shown = pin(tmp_path)
        assert code == 0, shown
        # The conductor's next tick tells the agent the level.
        load.wait_selected(2 * SELECTIONS)
        load.stop()
        assert failed(load) == []
        assert audit(cloud, load).wrong() == []
        assert {cell: level for cell, (level, _) in levels(cloud).items()} == dict.fromkeys(cloud.logs, LEVEL)
        assert levels(cloud)["cell1"][1] >= {(role, LEVEL) for role in ("scheduler", "compute_agent")}
        # Services that start now read the whole log, with the pin in it.
        cloud.stop("scheduler-1", "conductor-1.cell1", "agent.cell1")
        cloud.start("scheduler-1", "conductor-1.cell1", "agent.cell1")
        assert audit(cloud, load).wrong() == []


def test_a_pin_waits_for_the_last_service(tmp_path, rabbit_server, vhost, previous):
    releases = dict.fromkeys(("scheduler-1", "conductor-1.cell1", "agent.cell1"), previous)
    with cloud_of(tmp_path, rabbit_server, vhost, releases) as cloud, Load(cloud, rate=10.0, builds=True) as load:
        load.wait_selected(SELECTIONS // 3)
        for force in ((), ("--force",)):
            code, shown = pin(tmp_path, *force)
            assert code == 1, shown
            for name in ("scheduler scheduler-1 of cell0", "a conductor of cell1", "agent agent-cell1"):
                assert f"{name}" in shown and f"knows level 1, wanted {LEVEL}; upgrade it" in shown, shown
        assert {cell: level for cell, (level, _) in levels(cloud).items()} == dict.fromkeys(cloud.logs, 1)
        cloud.stop("scheduler-1", "conductor-1.cell1")
        cloud.releases.clear()
        cloud.start("scheduler-1", "conductor-1.cell1")
        load.wait_selected(SELECTIONS // 3)
        load.stop()
        assert failed(load) == []
        cloud.stop("agent.cell1")
        cloud.start("agent.cell1")
        code, shown = pin(tmp_path)
        assert code == 0, shown
        assert audit(cloud, load).wrong() == []
