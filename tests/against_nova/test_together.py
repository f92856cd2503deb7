"""This project and the real nova in one process, in either order: nova's own filters and weighers decide among ours,
and objects of both go back and forth."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.against_nova.conftest import HERE, peer_python
from tests.end_to_end.processes import config_text

pytestmark = pytest.mark.nova

ROOT = Path(__file__).resolve().parents[2]
FILTERS = """affinity_filter.DifferentHostFilter affinity_filter.SameHostFilter affinity_filter.SimpleCIDRAffinityFilter
    affinity_filter.ServerGroupAntiAffinityFilter affinity_filter.ServerGroupAffinityFilter
    aggregate_image_properties_isolation.AggregateImagePropertiesIsolation
    aggregate_instance_extra_specs.AggregateInstanceExtraSpecsFilter
    aggregate_multitenancy_isolation.AggregateMultiTenancyIsolation all_hosts_filter.AllHostsFilter
    compute_capabilities_filter.ComputeCapabilitiesFilter image_props_filter.ImagePropertiesFilter
    io_ops_filter.IoOpsFilter io_ops_filter.AggregateIoOpsFilter isolated_hosts_filter.IsolatedHostsFilter
    json_filter.JsonFilter metrics_filter.MetricsFilter num_instances_filter.NumInstancesFilter
    num_instances_filter.AggregateNumInstancesFilter type_filter.AggregateTypeAffinityFilter""".split()
WEIGHERS = """affinity.ServerGroupSoftAffinityWeigher affinity.ServerGroupSoftAntiAffinityWeigher
    compute.BuildFailureWeigher cpu.CPUWeigher disk.DiskWeigher hypervisor_version.HypervisorVersionWeigher
    io_ops.IoOpsWeigher metrics.MetricsWeigher num_instances.NumInstancesWeigher pci.PCIWeigher
    ram.RAMWeigher""".split()
#: What nova's answers to the requests of nova_together.py come to; the others pass all hosts, or tell none apart.
ALL = ["h0", "h1", "h2", "h3", "h4", "h5"]
PASS = {
    "NovaNumInstancesFilter": {0: ["h0", "h1", "h2", "h3"]},
    "NovaAggregateNumInstancesFilter": {0: ["h0", "h1", "h2"]},
    "NovaIoOpsFilter": {0: ["h1", "h2", "h3", "h4", "h5"]},
    "NovaDifferentHostFilter": {0: ALL, 4: ["h0", "h1", "h4", "h5"]},
    "NovaSameHostFilter": {0: ALL, 5: ["h2"]},
    "NovaJsonFilter": {0: ALL, 6: ["h1", "h2", "h3", "h4"]},
    "NovaServerGroupAntiAffinityFilter": {0: ALL, 7: ["h0", "h2", "h3", "h5"]},
    "NovaServerGroupAffinityFilter": {0: ALL, 8: ["h1"]},
    "NovaAggregateMultiTenancyIsolation": {0: ["h0", "h1", "h2", "h3", "h5"]},
    "NovaImagePropertiesFilter": {0: ALL, 1: ["h1", "h3", "h5"]},
    "NovaComputeCapabilitiesFilter": {0: ALL, 3: ["h4"]},
    "NovaAggregateInstanceExtraSpecsFilter": {0: ALL, 3: ["h1", "h2", "h3"]},
    "NovaAggregateImagePropertiesIsolation": {1: ["h0", "h1", "h2", "h3", "h5"]},
}


@pytest.fixture(scope="module", params=["ours", "nova"])
def came(request, tmp_path_factory):
    """The results of a run that imports one of the two first."""
    python = peer_python("nova, numpy")
    directory = tmp_path_factory.mktemp("together")
    lines = []
    for group, paths in (("filters", FILTERS), ("weights", WEIGHERS)):
        for module, name in (path.split(".") for path in paths):
            lines += [f"from nova.scheduler.{group} import {module}", f"class Nova{name}({module}.{name}):\n    pass"]
    (directory / "deployer_nova.py").write_text("\n".join(lines) + "\n")
    filters, weighers = ([f"Nova{path.split('.')[1]}" for path in paths] for paths in (FILTERS, WEIGHERS))
    config = directory / "nova_sched.conf"
    config.write_text(
        config_text(
            {
                "filter_scheduler": {
                    "available_filters": "nova.scheduler.filters.all_filters\navailable_filters = deployer_nova",
                    "enabled_filters": ",".join(["ComputeFilter", *filters]),
                    "weight_classes": ",".join(["CPUWeigher", *(f"deployer_nova.{name}" for name in weighers)]),
                    # Options that nova's classes read from nova's own table of options.
                    "max_instances_per_host": 4,
                    "max_io_ops_per_host": 5,
                }
            }
        )
    )
    done = subprocess.run(
        [python, "-W", "ignore", str(HERE / "nova_together.py"), request.param, str(config)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(directory)))},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_the_classes_are_novas_own(came):
    found = {name: module for name, module in came["made_of"].items() if name.startswith("Nova")}
    assert len(found) == len(FILTERS) + len(WEIGHERS)
    assert {module.rpartition(".")[0] for module in found.values()} == {
        "nova.scheduler.filters",
        "nova.scheduler.weights",
    }


def test_they_decide_among_ours(came):
    decisions = came["decisions"]
    assert decisions["refusals"] == [
        [name, name, 1]
        for name in (
            "NovaAggregateMultiTenancyIsolation",
            "NovaIoOpsFilter",
            "NovaNumInstancesFilter",
            "NovaAggregateNumInstancesFilter",
        )
    ]
    assert sorted(decisions["hosts"]) == ["h1", "h2"]
    assert {"CPUWeigher", "NovaRAMWeigher", "NovaIoOpsWeigher"} <= set(decisions["weighers"])


@pytest.mark.parametrize("name", PASS)
def test_they_find_what_they_look_for(came, name):
    assert {number: came["decisions"]["of"][name][number] for number in PASS[name]} == PASS[name]


def test_they_find_what_ours_find(came):
    """Where a filter or weigher is built in too, it says the same of the same hosts."""
    answers = came["decisions"]["of"]
    twins = [name for name in answers if f"Nova{name}" in answers]
    assert set(twins) == {path.split(".")[1] for path in (*FILTERS, *WEIGHERS)}
    for name in twins:
        assert answers[name] == answers[f"Nova{name}"], name


def test_objects_go_back_and_forth(came):
    trips = came["round_trips"]
    assert len(trips) == 4
    for name, (module, same_class, equal) in trips.items():
        assert module.startswith("nova.objects." if name.startswith("ours") else "rpc_api.objects."), (name, module)
        assert same_class and equal, name


def test_each_finds_its_own_classes(came):
    assert came["registries"] == {"nova": ["nova"] * 5, "ours": ["rpc_api"] * 5}
