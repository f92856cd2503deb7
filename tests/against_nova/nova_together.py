"""This project and the real nova in one process: run by the peer's own Python, in which both are installed.

Arguments: which of the two is imported first (``ours`` or ``nova``), and a configuration file of the scheduler, whose
deployer's classes are nova's own. Prints the results as JSON.
"""

import json
import sys
from dataclasses import replace

from rpc_api import concurrency


def import_ours():
    from nova_sched.scheduler import app  # noqa: F401
    from rpc_api import bus, objects, serializer  # noqa: F401


def import_nova():
    import nova.conf  # noqa: F401
    from nova import objects

    objects.register_all()


ORDERS = {"ours": (import_ours, import_nova), "nova": (import_nova, import_ours)}


def policy_of(config_file):
    """The policy of a scheduler that was started with a configuration file."""
    from oslo_config import cfg

    from nova_sched.process import process
    from nova_sched.scheduler import config

    conf = cfg.ConfigOpts()
    config.register(conf)
    process.parse(conf, "together", ["--config-file", config_file])
    process.share(conf)
    return config.policy_of(conf)


def said():
    """Hosts and aggregates that nova's filters and weighers tell apart."""
    from rpc_api import events
    from tests.builders import consumer, inventory_of, of, report, tree, uuid_of

    for number in range(6):
        name = f"h{number}"
        vcpu, ram, disk = (
            inventory_of("VCPU", 16),
            inventory_of("MEMORY_MB", 4096 * (number + 1)),
            inventory_of("DISK_GB", 90),
        )
        yield report(
            name,
            *(consumer(f"vm-{number}-{one}", of(name, 1)) for one in range(number)),
            inventory=tree(
                name,
                inventories=(vcpu, ram, disk),
                hypervisor_version=8000000 + number,
                supported_instances=(("x86_64" if number % 2 else "aarch64", "kvm", "hvm"),),
                stats={"speed": str(number)},
            ),
            num_io_ops=5 - number,
            failed_builds=number % 2,
        )
    yield events.AggregateUpdated(
        uuid_of("a1"),
        "a1",
        ("h1", "h2", "h3"),
        {
            "filter_tenant_id": "project,other",
            "instance_type": "m1",
            "max_instances_per_host": "3",
            "speed": "fast",
            "os_type": "linux",
            "ram_weight_multiplier": "3.0",
        },
    )
    yield events.AggregateUpdated(uuid_of("a2"), "a2", ("h4",), {"filter_tenant_id": "third", "os_type": "windows"})


def requests():
    """Requests in whose answers nova's filters differ."""
    from tests.builders import request, server_group, uuid_of

    yield request()
    yield request(image_properties={"hw_architecture": "x86_64", "os_type": "linux"})
    yield request(extra_specs={"capabilities:hypervisor_version": ">= 8000003", "speed": "fast"})
    yield request(extra_specs={"capabilities:speed": "<in> 4", "aggregate_instance_extra_specs:speed": "fast"})
    yield request(scheduler_hints={"different_host": (uuid_of("vm-2-0"), uuid_of("vm-3-1"))})
    yield request(scheduler_hints={"same_host": (uuid_of("vm-2-0"),)})
    yield request(scheduler_hints={"query": ('["and", [">=", "$free_ram_mb", 8192], ["<", "$num_instances", 5]]',)})
    yield request(server_group=server_group("anti-affinity", members=("vm-1-0", "vm-4-2")))
    yield request(server_group=server_group("affinity", members=("vm-1-0",), hosts=("h1",)))
    yield request(server_group=server_group("soft-affinity", members=("vm-1-0", "vm-4-2", "vm-4-1")))
    yield request(server_group=server_group("soft-anti-affinity", members=("vm-1-0", "vm-4-2", "vm-4-1")))
    yield request(
        check_only=True, scheduler_hints={"_nova_check_type": ("rebuild",)}, image_properties={"os_type": "windows"}
    )


def decisions(policy):
    """What each request comes to, each filter and weigher asked alone: name -> for each request, hosts that pass or
    scores; and what the first one comes to with all of them."""
    from tests.asked import Asked

    cloud = Asked(*said(), policy=policy)
    rows, names = cloud.table.roots(), cloud.table.host_names
    found = {}
    for asked in requests():
        for kind in (policy.catalogue.filters, *([] if asked.check_only else [policy.catalogue.weighers])):
            for name, one in kind.items():
                found.setdefault(name, []).append(_answer(cloud, one, asked, rows, names))
    decision = cloud.decide(next(requests()), alternates=2)
    return {
        "of": found,
        "hosts": [candidate.host for candidate in decision.candidates],
        "refusals": [(name, str(reason), hosts) for name, reason, hosts in decision.refusals],
        "weighers": [weigher.weigher for weigher in decision.scores[0].weighers],
    }


def _answer(cloud, one, asked, rows, names):
    from nova_sched.filters import Filter
    from nova_sched.selection.weigh import weigh

    if isinstance(one, Filter):
        asks = one.on_rebuild or not asked.check_only
        refused = {name for of in cloud.refused_by(one, asked).values() for name in of} if asks else set()
        return sorted(set(map(names.__getitem__, rows)) - refused)
    alone = replace(cloud.policy, weighers=((one.name, one.default_multiplier),))
    scores, _ = weigh(cloud.table, rows, asked, cloud.scope(asked, "vm-new"), alone)
    return [round(score, 9) for score in scores.tolist()]


def round_trips():
    """Objects from ours to nova's and back, and from nova's to ours and back: (class there,
    whether it came back equal)."""
    from nova import objects as theirs
    from nova.objects import base as nova_base

    from rpc_api import objects as ours
    from rpc_api.objects.base import NovaObject as OurObject

    found = {}
    for side, (near, near_base, far_base) in {
        "ours": (ours, OurObject, nova_base.NovaObject),
        "nova": (theirs, nova_base.NovaObject, OurObject),
    }.items():
        for sent in _samples(near):
            there = far_base.obj_from_primitive(_plain(sent.obj_to_primitive()))
            back = near_base.obj_from_primitive(_plain(there.obj_to_primitive()))
            found[f"{side} {type(sent).__name__}"] = [
                type(there).__module__,
                type(back) is type(sent),
                _facts(back) == _facts(sent) == _facts(there),
            ]
    return found


def _samples(objects):
    uuid = "0b4b1a0e-8f4e-4f0e-9f6b-3f6b7a3e0001"
    flavor = objects.Flavor(
        id=1,
        flavorid="t",
        name="t",
        vcpus=1,
        memory_mb=1,
        root_gb=1,
        ephemeral_gb=0,
        swap=0,
        rxtx_factor=1.0,
        vcpu_weight=0,
        disabled=False,
        is_public=True,
        extra_specs={"a": "b"},
    )
    group = objects.InstanceGroup(
        uuid=uuid, policy="anti-affinity", members=[uuid], hosts=["h1"], _rules={"max_server_per_host": "2"}
    )
    numa = objects.InstanceNUMATopology(
        cells=[objects.InstanceNUMACell(id=0, cpuset={0, 1}, pcpuset=set(), memory=512)]
    )
    yield objects.RequestSpec(
        instance_uuid=uuid,
        project_id="p",
        user_id="u",
        flavor=flavor,
        num_instances=2,
        availability_zone="az1",
        image=objects.ImageMeta(id=uuid, properties=objects.ImageMetaProps(hw_architecture="x86_64", hw_cpu_sockets=2)),
        numa_topology=numa,
        pci_requests=objects.InstancePCIRequests(requests=[]),
        ignore_hosts=["h2"],
        force_hosts=None,
        force_nodes=None,
        retry=None,
        limits=None,
        scheduler_hints={"query": ["x"]},
        is_bfv=False,
        instance_group=group,
    )
    yield objects.Selection(
        compute_node_uuid=uuid,
        service_host="h1",
        nodename="h1",
        cell_uuid=uuid,
        allocation_request="{}",
        allocation_request_version="1.36",
        availability_zone="nova",
        limits=objects.SchedulerLimits(disk_gb=None, memory_mb=1, numa_topology=None, vcpu=None),
    )


def _plain(primitive):
    return json.loads(json.dumps(primitive))


def _facts(obj):
    """The primitive of an object less what has no order."""

    def bare(value):
        if isinstance(value, dict):
            return {key: bare(one) for key, one in value.items() if key != "nova_object.changes"}
        return sorted(map(bare, value), key=json.dumps) if isinstance(value, (list, tuple)) else value

    return bare(_plain(obj.obj_to_primitive()))


def registries():
    """Who is found under the names that both have."""
    from nova.objects import base as nova_base

    from rpc_api.objects.base import CLASSES

    names = ("RequestSpec", "Selection", "Flavor", "ImageMetaProps", "Aggregate")
    return {
        "nova": [nova_base.NovaObjectRegistry.obj_classes()[name][0].__module__.split(".")[0] for name in names],
        "ours": [CLASSES[name].__module__.split(".")[0] for name in names],
    }


def main(first, config_file):
    # Before anything of oslo, as each of our processes does (and each of nova's, in its way).
    concurrency.setup()
    for step in ORDERS[first]:
        step()
    policy = policy_of(config_file)
    print(
        json.dumps(
            {
                "decisions": decisions(policy),
                "round_trips": round_trips(),
                "registries": registries(),
                "made_of": {
                    name: one.made_of.__mro__[1].__module__
                    for name, one in {**policy.catalogue.filters, **policy.catalogue.weighers}.items()
                    if hasattr(one, "made_of")
                },
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
