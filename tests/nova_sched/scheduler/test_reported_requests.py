"""Requests that public bug reports of nova are about, through a whole scheduler."""

import pytest

from rpc_api import events
from rpc_api.nova_exception import NoValidHost
from rpc_api.objects import base
from tests.builders import consumer, of, uuid_of
from tests.end_to_end.every_field import UNSET, older, spoilt, whole
from tests.end_to_end.site import Site

NODE = (base.DATA, "numa_topology", base.DATA, "cells", 0, base.DATA)
GROUP = (base.DATA, "instance_group", base.DATA)


@pytest.fixture(scope="module", params=[(), ("ComputeFilter",)], ids=["all filters", "ComputeFilter"])
def site(request):
    """A member of a server group runs on a."""
    made = Site("reported", *request.param, a=[consumer("member", of("a", 1))])
    yield made
    made.close()


# --- bug 1952941: a pinned guest in the form from before Victoria


@pytest.mark.parametrize("minor", [4, 5, 6])
def test_a_pinned_guest_is_placed_with_its_pins(site, minor):
    primitive = whole() if minor == 6 else older("InstanceNUMACell", minor)
    assert site.ask(primitive) == [["a"]]
    guest = events.thaw("Guest", site.claims()[-1].guest)
    site.release()
    assert [len(use.pins) for use in guest.numa] == [2]


@pytest.mark.parametrize("minor", range(4))
def test_a_node_too_old_to_say_which_cpus_it_pins_is_refused(site, minor):
    site.refusals()
    assert isinstance(site.ask(older("InstanceNUMACell", minor)), NoValidHost)
    (reason,) = site.refusals()
    assert "resize the server" in reason


def test_a_pinned_node_without_pcpuset_is_refused_as_nova_raises(site):
    primitive = spoilt(spoilt(whole(), (*NODE, "pcpuset"), UNSET), (*NODE, "cpuset"), [0, 1])
    assert "without pcpuset" in str(site.ask(primitive))


# --- bug 1830747: fields that nova's scheduler never reads


@pytest.mark.parametrize(
    "path",
    [
        *(
            ("data", name)
            for name in (
                "is_bfv",
                "retry",
                "limits",
                "availability_zone",
                "ignore_hosts",
                "force_hosts",
                "force_nodes",
                "image",
                "scheduler_hints",
                "instance_group",
                "project_id",
                "num_instances",
                "user_id",
                "pci_requests",
                "id",
                "instance_uuid",
                "security_groups",
                "network_metadata",
                "requested_networks",
                "request_level_params",
                "requested_resources",
                "requested_destination",
            )
        ),
        *(
            ("data", "flavor", "data", name)
            for name in (
                "extra_specs",
                "flavorid",
                "name",
                "disabled",
                "is_public",
                "rxtx_factor",
                "vcpu_weight",
                "id",
                "projects",
            )
        ),
        *(
            ("data", "instance_group", "data", name)
            for name in ("uuid", "id", "name", "hosts", "_rules", "policies", "policy", "user_id", "project_id")
        ),
        *(("data", "requested_destination", "data", name) for name in ("cell", "node", "host", "aggregates")),
        *(("data", "image", "data", name) for name in ("id", "properties", "disk_format", "name")),
    ],
    ids=".".join,
)
def test_a_field_that_is_not_needed(site, path):
    got = site.ask(spoilt(whole(), tuple(base.DATA if key == "data" else key for key in path), UNSET))
    assert got != [[]] and isinstance(got, list), got
    site.release()


@pytest.mark.parametrize("uuid", [UNSET, uuid_of("group")])
@pytest.mark.parametrize("policy, wanted", [("anti-affinity", "b"), ("affinity", "a")])
def test_a_group_with_and_without_uuid(uuid, policy, wanted):
    site = Site("group", a=[consumer("member", of("a", 1))])
    primitive = spoilt(whole(), (base.DATA, "requested_destination"), None)
    for name, value in (
        ("uuid", uuid),
        ("policy", policy),
        ("policies", [policy]),
        ("members", [uuid_of("member")]),
        ("_rules", {}),
        ("hosts", ["a"]),
    ):
        primitive = spoilt(primitive, (*GROUP, name), value)
    got = site.ask(primitive)
    site.close()
    assert got == [[wanted]]
