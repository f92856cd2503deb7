"""The consumers of each project, for quotas: Nova asks for the use of a project before each build."""

from collections.abc import Iterable

from nova_sched.projection.ledger import Holder
from nova_sched.projection.projection import Projection


class HoldersByProject(dict[str, Holder]):
    """Consumer uuid -> Holder, as a projection has it, with the consumers of each project. The fold sets and deletes
    single holders; the project of one does not change while it is here."""

    def __init__(self, holders: dict[str, Holder]) -> None:
        super().__init__(holders)
        self._consumers: dict[str | None, set[str]] = {}
        for consumer_uuid, holder in holders.items():
            self._consumers.setdefault(holder.project_id, set()).add(consumer_uuid)

    def __setitem__(self, consumer_uuid: str, holder: Holder) -> None:
        if consumer_uuid in self:
            self._leave(consumer_uuid)
        super().__setitem__(consumer_uuid, holder)
        self._consumers.setdefault(holder.project_id, set()).add(consumer_uuid)

    def __delitem__(self, consumer_uuid: str) -> None:
        self._leave(consumer_uuid)
        super().__delitem__(consumer_uuid)

    def _leave(self, consumer_uuid: str) -> None:
        project_id = self[consumer_uuid].project_id
        others = self._consumers[project_id]
        others.discard(consumer_uuid)
        if not others:
            del self._consumers[project_id]

    def of(self, project_id: str | None) -> Iterable[str]:
        """The consumers of a project; None is the project of those that came without one."""
        return self._consumers.get(project_id, ())


def consumers_of(projection: Projection, project_id: str | None) -> Iterable[str]:
    """The consumers of a project in one log. Call it under the lock: the first call after a log was read again
    makes the index."""
    if type(projection.holders) is not HoldersByProject:
        projection.holders = HoldersByProject(projection.holders)
    return projection.holders.of(project_id)
