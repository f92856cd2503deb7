"""Hosts that wait for their root provider: one for each provider, and once for each host."""

import pytest

from nova_sched.projection.ledger import Host
from nova_sched.projection.waiting import Waiting

A, B = Host("a", "", "cell1"), Host("b", "", "cell1")


@pytest.mark.parametrize(
    "steps, wanted",
    [
        (["1=a", "2=b"], {"1": "a", "2": "b"}),
        # Another root of the same host, and another host for the same root.
        (["1=a", "2=a"], {"2": "a"}),
        (["1=a", "1=b"], {"1": "b"}),
        (["1=a", "1=a"], {"1": "a"}),
        (["1=a", "2=b", "1=b"], {"1": "b"}),
        (["1=a", "2=b", "-1"], {"2": "b"}),
        (["1=a", "2=b", "b leaves", "b leaves"], {"1": "a"}),
    ],
)
def test_a_host_is_found_by_its_root_and_by_its_name(steps, wanted):
    waiting, hosts = Waiting(), {"a": A, "b": B}
    for step in steps:
        root, _, name = step.partition("=")
        if name:
            waiting[root] = hosts[name]
        elif root.startswith("-"):
            assert waiting.pop(root[1:]) is A
        else:
            waiting.leave(root.split()[0])
    assert {root: host.name for root, host in waiting.items()} == wanted and len(waiting) == len(wanted)
    for name, host in hosts.items():
        assert waiting.named(name) is (host if name in wanted.values() else None)
    assert waiting.named("c") is None and waiting.pop("9", None) is None
