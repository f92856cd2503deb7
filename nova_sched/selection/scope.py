"""What one request can see beside the table: the members of its server group and the instances on hosts, in every cell."""

from functools import cached_property

from nova_sched.projection.images import ImageCounts


class Scope:
    """What one instance's request can see of entries.

    ``projections`` are those of all cells, ``in_flight`` is this process's own claims under way.
    """

    def __init__(self, table, projections, in_flight, request, instance_uuid):
        self.table = table
        self.projections = projections
        self.in_flight = in_flight
        self.group = request.server_group
        self.instance_uuid = instance_uuid

    @cached_property
    def _entries(self):
        """Entries of the group: by the log's own index, and those of the conductor's list of members."""
        entries = {}
        for index in (*(projection.groups for projection in self.projections), self.in_flight.groups):
            for key, entry in index.members.get(self.group.uuid, {}).items():
                entries[key] = entry
        for projection in self.projections:
            for member in self.group.members:
                for entry in projection.consumers.get(member, ()):
                    entries[entry.consumer_uuid, entry.host] = entry
        return list(entries.values())

    def members_by_row(self) -> dict[int, set[str]]:
        """Root row -> instances of the group on that host."""
        if self.group is None:
            return {}
        by_row = {}
        for entry in self._entries:
            row = self.table.row_of_host.get(entry.host)
            if row is not None:
                by_row.setdefault(row, set()).add(entry.instance_uuid)
        return by_row

    def image_counts(self):
        """How many instances of each host have an image with some property: the
        :class:`~nova_sched.projection.images.ImageCounts` of the table, up to date."""
        if self.table.image_counts is None:
            self.table.image_counts = ImageCounts(self.table)
        self.table.image_counts.renew(self.projections)
        return self.table.image_counts

    def rows_of_instances(self, uuids) -> set[int]:
        """Root rows of the hosts that run one of some instances, or are to run it."""
        hosts = {entry.host for projection in (*self.projections,) for uuid in uuids
                 for entry in projection.instances(uuid)}
        hosts.update(entry.host for entry in self.in_flight.claims.values() if entry.instance_uuid in uuids)
        return {self.table.row_of_host[host] for host in hosts if host in self.table.row_of_host}

    def affinity_rows(self) -> list[int] | None:
        """Root rows of the group's hosts; None while the group has no host."""
        hosts = {entry.host for entry in self._entries if entry.instance_uuid != self.instance_uuid}
        hosts.update(self.group.hosts)
        if not hosts:
            return None
        return [self.table.row_of_host[host] for host in hosts if host in self.table.row_of_host]

    def taken_domains(self) -> set[str]:
        """Domains in which one more partition would break the rule for this instance's partition."""
        partitions = {}
        for entry in self._entries:
            if entry.rule is not None and entry.instance_uuid != self.instance_uuid:
                partitions.setdefault(entry.rule.domain, set()).add(entry.rule.partition)
        return {domain for domain, taken in partitions.items()
                if self.group.partition not in taken and len(taken) >= self.group.limit}
