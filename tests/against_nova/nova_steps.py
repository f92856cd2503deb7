"""Steps of a nova-compute, done with the real Nova's objects.

For the scripts of peers. Imports nothing of this project.
"""

from nova import context, objects

NUMA_PAGES = {"size_kb": 4, "total": 1000, "used": 10, "reserved": 5}


def do(steps):
    """Do steps. A step is [object, its fields, method, fields that are set before it]; the object counts as saved with
    its fields, unless it is created."""
    for name, fields, method, changes in steps:
        made = MAKERS[name](fields)
        made._context = context.get_admin_context()
        if method != "create":
            made.obj_reset_changes(recursive=True)
        for field, value in changes.items():
            setattr(made, field, _value(field, value))
        getattr(made, method)()


def _value(field, value):
    return _SPECIAL[field](value) if field in _SPECIAL else value


def _numa(cells):
    topology = objects.NUMATopology(
        cells=[
            objects.NUMACell(
                id=cell["id"],
                cpuset=set(cell["shared"]),
                pcpuset=set(cell["dedicated"]),
                memory=cell["memory_mb"],
                cpu_usage=1,
                memory_usage=256,
                pinned_cpus=set(cell["dedicated"][:1]),
                siblings=[set(core) for core in cell["siblings"]],
                mempages=[objects.NUMAPagesTopology(**NUMA_PAGES)],
                network_metadata=objects.NetworkMetadata(physnets=set(cell["physnets"]), tunneled=True),
                socket=0,
            )
            for cell in cells
        ]
    )
    return topology._to_json()


def _pools(pools):
    return objects.PciDevicePoolList(objects=[objects.PciDevicePool(**pool) for pool in pools])


_SPECIAL = {
    "numa_topology": lambda cells: cells and _numa(cells),
    "pci_device_pools": _pools,
    "supported_hv_specs": lambda specs: [objects.HVSpec.from_list(spec) for spec in specs],
}


def _node(fields):
    return objects.ComputeNode(**{name: _value(name, value) for name, value in fields.items()})


def _service(fields):
    return objects.Service(**fields)


def _instance(fields):
    instance = objects.Instance(**fields)
    instance.obj_reset_changes()
    return instance


def _device(fields):
    return objects.PciDevice(**fields)


MAKERS = {"ComputeNode": _node, "Service": _service, "Instance": _instance, "PciDevice": _device}
