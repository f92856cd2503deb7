"""How many instances of each host have an image with a property of some value: columns that follow the log.

They are made when they are first asked for, as most clouds do not weigh by images, and from then on only hosts that
were touched are counted again.
"""

from collections import Counter
from functools import lru_cache

import numpy as np

from nova_sched.projection.devices import guest_of


@lru_cache(8192)
def _items_of(packed):
    """(name, value) of each property of the image of a packed Guest."""
    return tuple(guest_of(packed).image_properties.items())


class ImageCounts:
    """Counts over the hosts of one table."""

    def __init__(self, table):
        self.table = table
        self._projections = []
        self._version = -1
        self._topology_version = -1
        self._uuids = []
        #: Root row -> Counter of images, each a tuple of (name, value).
        self._images = {}
        #: (name, value) -> instances by row (int32, shape [rows]).
        self._columns = {}

    def column(self, item):
        """Instances whose image has this (name, value), by row; None where there is none."""
        return self._columns.get(item)

    def renew(self, projections) -> None:
        """Count again where something changed; ``projections`` are those of all cells."""
        table = self.table
        rows = table.touched.since(self._version)
        if (
            rows is None
            or len(projections) != len(self._projections)
            or any(projection is not other for projection, other in zip(projections, self._projections, strict=True))
        ):
            self._images.clear()
            self._columns.clear()
            rows = set(table.roots().tolist())
        elif self._topology_version != table.topology_version:
            rows.update(
                row
                for row, (uuid, other) in enumerate(zip(table.uuids, self._uuids, strict=False))
                if uuid is not other
            )
            rows.update(range(len(self._uuids), table.count))
        if self._topology_version != table.topology_version:
            self._uuids = list(table.uuids)
        self._projections, self._version = list(projections), table.touched.version
        self._topology_version = table.topology_version
        by_cell = {projection.cell_index: projection for projection in projections}
        for row in rows:
            self._count(row, Counter(_images_on(table, by_cell, row)))

    def _count(self, row, images):
        before = self._images.pop(row, {})
        if images:
            self._images[row] = images
        for image in {*before, *images}:
            change = images.get(image, 0) - before.get(image, 0)
            for item in image if change else ():
                self._wide(item)[row] += change

    def _wide(self, item):
        """The column of an item, with room for all rows."""
        column = self._columns.get(item)
        if column is None or len(column) < self.table.count:
            # As long as the table's own columns, which grow seldom.
            wide = self._columns[item] = np.zeros(len(self.table.is_host), np.int32)
            if column is not None:
                wide[: len(column)] = column
            column = wide
        return column


def _images_on(table, by_cell, row):
    """The image of each instance that a host has, as far as it is known."""
    projection = by_cell.get(int(table.cell[row]))
    host = projection and projection.hosts.get(table.host_names[row])
    if host is None or host.root != row:
        return ()
    images = {
        tracked.instance_uuid: tuple(tracked.image_properties.items())
        for tracked in projection.tracked.of(host.name).values()
    }
    images.update(
        [
            (entry.instance_uuid, image)
            for entry in host.entries.values()
            if entry.guest and (image := _items_of(entry.guest))
        ]
    )
    return images.values()
