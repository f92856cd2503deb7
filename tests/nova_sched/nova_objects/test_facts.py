"""InstancesTracked in parts."""

import pytest

from nova_sched.nova_objects import facts
from rpc_api import events


@pytest.mark.parametrize(
    "added, gone, wanted",
    [
        ({}, {}, []),
        ({"host-1": 2}, {}, [("host-1", 2, 0)]),
        ({}, {"host-1": 1}, [("host-1", 0, 1)]),
        ({"host-1": 5}, {"host-1": 3}, [("host-1", 2, 2), ("host-1", 2, 1), ("host-1", 1, 0)]),
        ({"host-1": 1}, {"host-1": 0, "host-2": 3}, [("host-1", 1, 0), ("host-2", 0, 2), ("host-2", 0, 1)]),
    ],
)
def test_instances_of_hosts_come_in_parts(monkeypatch, added, gone, wanted):
    monkeypatch.setattr(facts, "MAX_TRACKED", 2)
    new = {
        host: [events.TrackedInstance(f"new-{number}", {}) for number in range(count)] for host, count in added.items()
    }
    old = {host: [f"old-{number}" for number in range(count)] for host, count in gone.items()}
    found = facts.tracked_events(new, old)
    assert [(event.host, len(event.instances), len(event.gone)) for event in found] == wanted
    assert [each for event in found for each in event.instances] == [each for host in new for each in new[host]]
