"""What a real nova-conductor and nova-api ask of a scheduler, over RabbitMQ: run by the peer's own Python, beneath
:mod:`tests.against_nova.peer_loop`.

Its argument is its configuration file. Imports nothing of this project.
"""

import json
import sys

import nova.monkey_patch

nova.monkey_patch.patch(backend="threading")

import nova.conf
from nova import context, objects, rpc
from nova.scheduler import rpcapi
from nova.scheduler.client import query

CONF = nova.conf.CONF
rpc.set_defaults(control_exchange="nova")  # as nova.config does
CONF([], default_config_files=sys.argv[1:])
objects.register_all()
rpc.init(CONF)


def _spec(instance_uuid, count, vcpus, availability_zone, hints):
    flavor = objects.Flavor(
        id=1,
        flavorid="t",
        name="t",
        vcpus=vcpus,
        memory_mb=64,
        root_gb=1,
        ephemeral_gb=0,
        swap=0,
        rxtx_factor=1.0,
        vcpu_weight=0,
        disabled=False,
        is_public=True,
        extra_specs={},
    )
    return objects.RequestSpec(
        instance_uuid=instance_uuid,
        project_id="p",
        user_id="u",
        flavor=flavor,
        num_instances=count,
        image=objects.ImageMeta(id=instance_uuid, properties=objects.ImageMetaProps()),
        availability_zone=availability_zone,
        numa_topology=None,
        pci_requests=None,
        ignore_hosts=None,
        force_hosts=None,
        force_nodes=None,
        retry=None,
        limits=None,
        scheduler_hints=hints,
        is_bfv=False,
        instance_group=None,
    )


def select(uuids, vcpus, options, availability_zone=None, hints=None):
    """What the conductor gets, read as the conductor reads it."""
    answered = query.SchedulerQueryClient().select_destinations(
        context.RequestContext("u", "p"),
        _spec(uuids[0], len(uuids), vcpus, availability_zone, hints or {}),
        uuids,
        **options,
    )
    return [one if isinstance(one, dict) else [_shown(selection) for selection in one] for one in answered]


def _shown(selection):
    return {
        "class": f"{type(selection).__module__}.{type(selection).__name__}",
        "host": selection.service_host,
        "node": selection.nodename,
        "cell_uuid": selection.cell_uuid,
        "limits": selection.limits.to_dict(),
        "allocation_request": json.loads(selection.allocation_request),
        "version": selection.allocation_request_version,
        "availability_zone": selection.availability_zone,
        "to_dict": selection.to_dict(),
    }


def _aggregate(uuid, hosts, metadata):
    return objects.Aggregate(id=1, uuid=uuid, name="a", hosts=hosts, metadata=metadata)


def update_aggregate(uuid, hosts, metadata):
    rpcapi.SchedulerAPI().update_aggregates(context.get_admin_context(), [_aggregate(uuid, hosts, metadata)])


def delete_aggregate(uuid):
    rpcapi.SchedulerAPI().delete_aggregate(context.get_admin_context(), _aggregate(uuid, [], {}))


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (select, update_aggregate, delete_aggregate)
