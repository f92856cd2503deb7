"""A running cloud: Placement, and Nova if it is asked."""

from collections.abc import Mapping
from typing import NamedTuple

from nova_sched.migration.cell_database import CellFacts, Move
from nova_sched.migration.from_nova import Nova
from nova_sched.migration.model import Placement
from nova_sched.migration.owners import Owner


class Cloud(NamedTuple):
    """What was read of a cloud. ``nova`` is None if Nova was not asked; ``databases`` has the facts from the databases
    of cells, by cell."""

    placement: Placement
    nova: Nova | None
    databases: Mapping[str, CellFacts]

    def host_of(self) -> dict[str, str] | None:
        """The hosts of compute nodes by uuid; None if nobody was asked who knows them."""
        if self.nova is None and not self.databases:
            return None
        nodes = dict(self.nova.nodes) if self.nova is not None else {}
        return nodes | {uuid: host for facts in self.databases.values() for uuid, host in facts.nodes.items()}

    def cell_of_host(self) -> dict[str, str]:
        """The cells of hosts, as the databases of cells say."""
        return {host: cell for cell, facts in self.databases.items() for host in facts.nodes.values()}

    def owners(self) -> dict[str, Owner]:
        """The owners of the instances that have a host; none if Nova was not asked."""
        return {} if self.nova is None else {uuid: one.owner for uuid, one in self.nova.instances.items()}

    def image_properties(self, uuid: str) -> Mapping[str, str] | None:
        """The properties of the image of an instance; None if they are not known."""
        for facts in self.databases.values():
            if uuid in facts.images:
                return facts.images[uuid]
        instance = self.nova.instances.get(uuid) if self.nova is not None else None
        return None if instance is None else instance.image_properties

    def guest(self, consumer: str, host: str) -> bytes | None:
        """The packed Guest of what a consumer holds on a host; None if it has none, or if it is not known."""
        found = (facts.guests.get((consumer, host)) for facts in self.databases.values())
        return next((guest for guest in found if guest is not None), None)

    def moves(self) -> dict[str, Move]:
        """The moves under way in which the uuid of the migration (the key) holds something."""
        return {
            uuid: move
            for facts in self.databases.values()
            for uuid, move in facts.moves.items()
            if uuid in self.placement.consumers
        }
