"""Services of the previous release and of this one in one cloud: mixtures, an upgrade, and its way back."""

import pytest

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
