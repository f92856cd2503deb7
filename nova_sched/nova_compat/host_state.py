"""HostState: a read-only view of one host for the filters and weighers of deployers."""

import numpy as np

from nova_sched.nova_compat.devices import numa_topology_of, pci_stats_of
from nova_sched.nova_compat.read_only import Facts, ReadOnlyDict, ReadOnlyList, refuse_to_set
from nova_sched.projection.pools import free_of_pools
from nova_sched.projection.topology import pools_of, providers_of


class HostState:
    """A view of one root row under the names of Nova's HostState. Amounts include claims in flight.

    ``scope`` is the decision's :class:`~nova_sched.selection.scope.Scope`:
    without one there are no ``instances`` and no ``allocation_candidates``.
    """

    __slots__ = ("_row", "_scope", "_table")

    def __init__(self, table, row: int, scope=None):
        object.__setattr__(self, "_table", table)
        object.__setattr__(self, "_row", row)
        object.__setattr__(self, "_scope", scope)

    def __setattr__(self, name, value):
        refuse_to_set("HostState", name)

    def __repr__(self):
        return f"<HostState {self.host}: ram {self.free_ram_mb} MB, disk {self.free_disk_mb} MB free>"

    def _sum(self, column, resource_class):
        index = self._table.classes.get(resource_class)
        return 0 if index < 0 else getattr(self._table, column)[index, self._row].item()

    def _ratio(self, resource_class):
        return self._table.ratio_of(self._row, resource_class)

    def _left(self, resource_class):
        free = self._sum("tree_base", resource_class) - self._sum("tree_taken", resource_class)
        pools, index = pools_of(self._table), self._table.classes.get(resource_class)
        if index < 0 or self._row not in pools.of_host:
            return free
        return free + int(free_of_pools(self._table, pools, index, False, np.array([self._row]))[0])

    def _total(self, resource_class):
        index = self._table.classes.get(resource_class)
        return 0 if index < 0 else int(self._table.total[index, list(providers_of(self._table, self._row))].sum())

    def _with_claims(self, name):
        return int(getattr(self._table, name)[self._row]) + int(self._table.held_claims[self._row])

    @property
    def _profile(self):
        return self._table.profiles.values[self._table.profile[self._row]]

    host = property(lambda self: self._table.host_names[self._row])
    nodename = property(lambda self: self._table.node_names[self._row])
    hypervisor_hostname = nodename
    uuid = property(lambda self: self._table.uuids[self._row])
    cell = property(lambda self: self._table.cells.values[self._table.cell[self._row]])
    hypervisor_type = property(lambda self: self._profile.hypervisor_type)
    hypervisor_version = property(lambda self: self._profile.hypervisor_version)
    cpu_info = property(lambda self: self._profile.cpu_info)
    supported_instances = property(
        lambda self: ReadOnlyList(ReadOnlyList(supported) for supported in self._profile.supported_instances)
    )
    host_ip = property(lambda self: self._table.host_ips[self._row])
    stats = property(lambda self: ReadOnlyDict(self._profile.stats))
    num_instances = property(lambda self: self._with_claims("num_instances"))
    num_io_ops = property(lambda self: self._with_claims("num_io_ops"))
    failed_builds = property(lambda self: int(self._table.failed_builds[self._row]))
    free_ram_mb = property(lambda self: self._left("MEMORY_MB"))
    total_usable_ram_mb = property(lambda self: self._total("MEMORY_MB"))
    free_disk_mb = property(lambda self: self._left("DISK_GB") * 1024)
    total_usable_disk_gb = property(lambda self: self._total("DISK_GB"))
    disk_mb_used = property(lambda self: self.total_usable_disk_gb * 1024 - self.free_disk_mb)
    vcpus_total = property(lambda self: self._total("VCPU"))
    vcpus_used = property(lambda self: self.vcpus_total - self._left("VCPU"))
    cpu_allocation_ratio = property(lambda self: self._ratio("VCPU"))
    ram_allocation_ratio = property(lambda self: self._ratio("MEMORY_MB"))
    disk_allocation_ratio = property(lambda self: self._ratio("DISK_GB"))
    #: Nova's filters pass these to the compute host. Here they follow from the decision.
    limits = property(lambda self: ReadOnlyDict())
    #: In Nova the time when the state was read. This state belongs to a position of the log, which has no time.
    updated = property(lambda self: None)

    @property
    def cell_uuid(self):
        """UUID of the cell's CellMapping. It is in the configuration of the services, and in no log."""
        uuid = self._table.cell_uuids.get(self.cell)
        if uuid is None:
            raise AttributeError(
                f"the uuid of {self.cell} is not in the logs; decide by the name of a cell, which is `cell`"
            )
        return uuid

    @property
    def aggregates(self):
        """Objects with ``uuid``, ``name``, ``hosts``, ``metadata`` and ``availability_zone``."""
        by_host = self._table.derived("aggregates by host", lambda: _aggregates_by_host(self._table))
        return ReadOnlyList(by_host.get(self.host, ()))

    @property
    def metrics(self):
        """Objects with ``name``, ``value`` and ``numa_membw_values``, by name. As in Nova, a value is a whole number,
        and a metric with a value per NUMA node has no ``value``. Logs have no ``timestamp`` and ``source`` of them."""
        metrics, row = self._table.metrics, self._row
        found = {
            name: {"numa_membw_values": ReadOnlyDict((str(node), value) for node, value in nodes.items())}
            for name, nodes in metrics.of_nodes(row).items()
        }
        for name, value in metrics.of_host(row).items():
            found[name] = {"value": int(value), "numa_membw_values": None}
        return ReadOnlyList(
            Facts("MonitorMetric", name=name, timestamp=None, source="", **facts)
            for name, facts in sorted(found.items())
        )

    @property
    def service(self):
        """The host's nova-compute as a dictionary; ``up`` replaces the question to the servicegroup API."""
        return ReadOnlyDict(
            host=self.host,
            binary="nova-compute",
            topic="compute",
            disabled=bool(self._table.disabled[self._row]),
            up=not self._table.down[self._row],
        )

    @property
    def numa_topology(self):
        """Its NUMA nodes as ``cells`` with their use; None if it reports none."""
        return numa_topology_of(self._table.devices(self._row))

    @property
    def pci_stats(self):
        """Its free PCI devices as dictionaries in ``pools``; None if it reports none."""
        return pci_stats_of(self._table.devices(self._row))

    @property
    def instances(self):
        """Instance uuid -> object with ``uuid``, ``host`` and ``project_id``, for running and claimed instances."""
        return ReadOnlyDict(
            (uuid, Facts("Instance", uuid=uuid, host=self.host, project_id=project_id))
            for uuid, project_id in self._in_scope("instances").instances_on(self._row).items()
        )

    @property
    def allocation_candidates(self):
        """The allocation of this request in Placement's form: one candidate, or none."""
        return self._in_scope("allocation_candidates").allocation_candidates(self._row)

    def _in_scope(self, name):
        if self._scope is None:
            raise AttributeError(f"there is no {name!r} outside of a decision")
        return self._scope


def _aggregates_by_host(table):
    by_host = {}
    for uuid in sorted(table.aggregates):
        aggregate = table.aggregates[uuid]
        facts = Facts(
            "Aggregate",
            uuid=uuid,
            name=aggregate.name,
            hosts=ReadOnlyList(aggregate.hosts),
            metadata=ReadOnlyDict(aggregate.metadata),
            availability_zone=aggregate.metadata.get("availability_zone"),
        )
        for host in aggregate.hosts:
            by_host.setdefault(host, []).append(facts)
    return by_host
