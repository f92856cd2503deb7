"""HostState: one host as the filters and weighers of deployers know it, read-only over its row."""

from nova_sched.projection.host_aggregates import host_aggregates


class HostState:
    """A view of one root row under the names that nova's HostState has. Amounts include what is in flight."""

    __slots__ = ("_table", "_row")

    def __init__(self, table, row: int):
        self._table = table
        self._row = row

    def __repr__(self):
        return f"<HostState {self.host}: ram {self.free_ram_mb} MB, disk {self.free_disk_mb} MB free>"

    def _sum(self, column, resource_class):
        index = self._table.classes.get(resource_class)
        return 0 if index < 0 else getattr(self._table, column)[index, self._row].item()

    def _ratio(self, resource_class):
        return self._table.ratio_of(self._row, resource_class)

    def _left(self, resource_class):
        return self._sum("tree_base", resource_class) - self._sum("tree_taken", resource_class)

    def _total(self, resource_class):
        index = self._table.classes.get(resource_class)
        return 0 if index < 0 else int(self._table.total[index, list(self._table.trees[self._row])].sum())

    def _with_claims(self, name):
        return int(getattr(self._table, name)[self._row]) + int(self._table.held_claims[self._row])

    def _aggregates(self):
        of_hosts = host_aggregates(self._table)
        return list(of_hosts.metadata[of_hosts.column[self._row]].aggregates)

    def _metrics(self):
        """Name -> value of the metrics that the host reports."""
        values = {name: column[self._row].item() for name, column in sorted(self._table.metrics.items())}
        return {name: value for name, value in values.items() if value == value}

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
    supported_instances = property(lambda self: [list(one) for one in self._profile.supported_instances])
    host_ip = property(lambda self: self._table.host_ips[self._row])
    stats = property(lambda self: dict(self._profile.stats))
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
    aggregates = property(lambda self: self._aggregates())
    #: What nova's filters write for the compute node; here the claim says all.
    limits = property(lambda self: {})
    metrics = property(lambda self: self._metrics())
    service = property(lambda self: {"host": self.host, "disabled": bool(self._table.disabled[self._row])})
