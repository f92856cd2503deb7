"""The client of a simulated cloud."""

from rpc_api import messages


class Client:
    """The API level: asks a scheduler for hosts, and hands each instance to a conductor of its cell. It forgets a call
    without an answer, like a conductor that crashed."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.world = cloud.world
        #: Instance uuid -> (cell, host) of the builds that were reported to it.
        self.built = {}

    def ask(self, request, instance_uuids, alternates):
        schedulers = [scheduler for scheduler in self.cloud.schedulers if scheduler.alive]
        if schedulers:
            scheduler = self.world.chance.choice(schedulers)
            self.world.send(
                scheduler.guard(scheduler.select),
                request,
                instance_uuids,
                alternates,
                lambda selections: selections and self._answered(scheduler, request, selections),
            )

    def _answered(self, scheduler, request, selections):
        """Get an answer, late, or not at all because the caller is gone. The scheduler may notice that."""
        if self.world.lost():
            self.world.at(self.world.chance.uniform(0.1, 20.0), scheduler.guard(scheduler.not_delivered), selections)
        else:
            self.world.send(self._selected, request, selections)

    def _selected(self, request, selections):
        for placed in selections:
            cell = placed[0].cell
            conductors = [conductor for conductor in self.cloud.conductors_of(cell) if conductor.alive]
            if conductors:
                claims = tuple(self.cloud.claim_of(selection, request) for selection in placed)
                conductor = self.world.chance.choice(conductors)
                self.world.send(
                    conductor.guard(conductor.build),
                    messages.BuildRequest(placed[0].instance_uuid, request.request_id, claims, 3, placed[0].position),
                    lambda outcome, cell=cell: self.world.send(self._ended, cell, outcome),
                )

    def _ended(self, cell, outcome):
        self.cloud.checks.ended(outcome)
        if outcome.outcome == messages.BUILT:
            self.built[outcome.instance_uuid] = (cell, outcome.host)

    def delete_one(self):
        if self.built:
            instance_uuid = self.world.chance.choice(sorted(self.built))
            cell, host = self.built.pop(instance_uuid)
            for conductor in self.cloud.conductors_of(cell)[:1]:
                self.world.send(conductor.hear, "delete", host, instance_uuid)
