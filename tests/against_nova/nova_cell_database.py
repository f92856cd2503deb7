"""Databases of the real Nova, with its own tables, written by its own objects: one of a cell, and that of the API.

Run by the peer's own Python, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project.
"""

import logging

import nova.conf
import sqlalchemy as sa
from nova import context, objects, rpc
from nova.db.api import models as api_models
from nova.db.main import api, models
from nova.pci import stats

logging.disable(logging.CRITICAL)
objects.register_all()
nova.conf.CONF([], default_config_files=[])


class _NoNotifier:
    def is_enabled(self):
        return False


# Services that are created are also notified.
rpc.NOTIFIER = rpc.LEGACY_NOTIFIER = _NoNotifier()
CELL = "5a6cdd24-9e85-4a9c-8bb2-5a6a1f6f7a3d"


def make(cell_file, api_file, hosts, instances):
    """Write both databases. A host has a name, a uuid, services' fields, NUMA cells and PCI devices; an instance has a
    uuid, a host, NUMA cells, and perhaps a move: its uuid, source, dest and status, and what the instance has on the
    source."""
    _make_cell(cell_file, hosts, instances)
    engine = sa.create_engine(f"sqlite:///{api_file}")
    api_models.BASE.metadata.create_all(engine)
    with engine.begin() as connection:
        mapping = {"id": 1, "uuid": CELL, "name": "cell1", "transport_url": "", "database_connection": ""}
        connection.execute(sa.insert(api_models.CellMapping), [mapping])
        connection.execute(sa.insert(api_models.HostMapping), [{"cell_id": 1, "host": host["name"]} for host in hosts])
    return objects.Service().version


def _make_cell(file, hosts, instances):
    nova.conf.CONF.set_override("connection", f"sqlite:///{file}", "database")
    api.configure(nova.conf.CONF)
    models.BASE.metadata.create_all(api.get_engine())
    admin = context.get_admin_context()
    for host in hosts:
        service = objects.Service(admin, binary="nova-compute", topic="compute", host=host["name"], **host["service"])
        service.create()
        node = objects.ComputeNode(admin, uuid=host["uuid"], host=host["name"], service_id=service.id, **NODE)
        node.hypervisor_hostname = host["name"]
        node.numa_topology = _host_topology(host["numa"]) if host["numa"] else None
        pools = stats.PciDeviceStats(objects.NUMATopology(cells=[]))
        node.create()
        for device in host["devices"]:
            made = objects.PciDevice.create(admin, {**DEVICE, **device, "compute_node_id": node.id})
            for field in ("status", "instance_uuid", "request_id"):
                if field in device:
                    setattr(made, field, device[field])
            made.save()
            if made.status == "available":
                # (Tags of a pool are what the operator says of its devices.)
                pools.pools = [_pool(made, 1 + sum(pool["count"] for pool in pools.pools))]
        node.pci_device_pools = pools.to_device_pools_obj()
        node.save()
    for one in instances:
        instance = objects.Instance(admin, uuid=one["uuid"], host=one["host"], project_id="p")
        instance.system_metadata = one["system_metadata"]
        if one["numa"]:
            instance.numa_topology = _guest_topology(one["numa"])
        instance.create()
        if "move" in one:
            _move(admin, instance, one["move"])


def _move(admin, instance, move):
    """Note a move of an instance, as the claim on the new host does."""
    made = objects.Migration(
        admin,
        uuid=move["uuid"],
        instance_uuid=instance.uuid,
        source_compute=move["source"],
        dest_compute=move["dest"],
        status=move["status"],
        migration_type="resize",
    )
    made.create()
    devices = [objects.PciDevice.get_by_dev_addr(admin, node, address) for node, address in move["old_devices"]]
    instance.migration_context = objects.MigrationContext(
        instance_uuid=instance.uuid,
        migration_id=made.id,
        old_numa_topology=_guest_topology(move["old_numa"]) if move["old_numa"] else None,
        new_numa_topology=instance.numa_topology,
        old_pci_devices=objects.PciDeviceList(objects=devices),
        new_pci_devices=objects.PciDeviceList(objects=[]),
        old_pci_requests=None,
        new_pci_requests=None,
        old_resources=None,
        new_resources=None,
    )
    instance.save()


NODE = {
    "hypervisor_type": "QEMU",
    "hypervisor_version": 7002000,
    "host_ip": "192.0.2.7",
    "cpu_info": '{"arch": "x86_64"}',
    "supported_hv_specs": [objects.HVSpec.from_list(["x86_64", "kvm", "hvm"])],
    "stats": {"failed_builds": "3", "io_workload": "2", "num_instances": "1", "tier": "gold"},
    "metrics": "[]",
    "vcpus": 8,
    "memory_mb": 16384,
    "local_gb": 100,
    "vcpus_used": 1,
    "memory_mb_used": 512,
    "local_gb_used": 1,
    "running_vms": 1,
}
DEVICE = {
    "vendor_id": "8086",
    "product_id": "1515",
    "dev_type": "type-VF",
    "dev_id": "pci_0000",
    "label": "label_8086_1515",
    "numa_node": 0,
    "parent_addr": "0000:81:00.0",
}


def _pool(device, count):
    return {
        "vendor_id": device.vendor_id,
        "product_id": device.product_id,
        "numa_node": device.numa_node,
        "dev_type": device.dev_type,
        "physical_network": "net1",
        "address": device.parent_addr,
        "count": count,
        "devices": [],
    }


def _host_topology(cells):
    return objects.NUMATopology(
        cells=[
            objects.NUMACell(
                id=cell["id"],
                cpuset=set(cell["shared"]),
                pcpuset=set(cell["dedicated"]),
                memory=cell["memory_mb"],
                cpu_usage=1,
                memory_usage=256,
                pinned_cpus=set(),
                siblings=[set(core) for core in cell["siblings"]],
                mempages=[objects.NUMAPagesTopology(size_kb=4, total=cell["memory_mb"] * 256, used=0)],
                network_metadata=objects.NetworkMetadata(physnets=set(), tunneled=False),
                socket=0,
            )
            for cell in cells
        ]
    )._to_json()


def _guest_topology(cells):
    made = []
    for cell in cells:
        one = objects.InstanceNUMACell(
            id=cell["id"],
            cpuset=set(cell["shared"]),
            pcpuset=set(map(int, cell["pins"])),
            memory=cell["memory_mb"],
            pagesize=cell["page_kb"],
            cpu_policy="dedicated" if cell["pins"] else None,
            cpu_thread_policy=cell["thread_policy"],
            cpuset_reserved=set(cell["reserved"]) or None,
        )
        one.cpu_pinning = {int(guest): cpu for guest, cpu in cell["pins"].items()}
        made.append(one)
    return objects.InstanceNUMATopology(cells=made)


def read_back(host):
    """What Nova itself reads of the compute node of a host."""
    node = objects.ComputeNode.get_first_node_by_host_for_old_compat(context.get_admin_context(), host)
    return {
        "uuid": node.uuid,
        "pools": [[pool.vendor_id, pool.count] for pool in node.pci_device_pools or []],
        "cells": len(objects.NUMATopology.obj_from_db_obj(node.numa_topology).cells) if node.numa_topology else 0,
    }


ASKS = (make, read_back)
