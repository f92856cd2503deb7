"""The answer to ``GET /allocation_candidates``, as bytes."""

import json

from nova_sched.fit.providers import Assignment
from placement_api.candidates.find import Found
from placement_api.candidates.summaries import HAS_TREES, in_older_form
from rpc_api import events

ALLOCATIONS_ARE_OBJECTS = (1, 12)
HAS_MAPPINGS = (1, 34)


class Answer:
    """What was found for a query, as a microversion has it."""

    def __init__(self, query, version, found: Found):
        self._query, self._version = query, version
        self._found, self._summaries, self._has_trees = found

    def __bytes__(self) -> bytes:
        members = b", ".join(self._summaries)
        if self._version < HAS_TREES:
            classes = {asked.resource_class for group in self._query.groups for asked in group.resources}
            members = in_older_form(members, self._version, classes, self._taken() if self._has_trees else None)
        return b'{"allocation_requests": [%b], "provider_summaries": {%b}}' % (self._requests(), members)

    def _taken(self) -> set[str]:
        """The providers of which a candidate takes something."""
        taken = set()
        for one in self._found:
            taken |= {one} if type(one) is str else {of.provider_uuid for of in one.allocations}
        return taken

    def _requests(self) -> bytes:
        around = self._around_uuid()
        return ", ".join([one.join(around) if type(one) is str else self._request(one) for one in self._found]).encode()

    def _request(self, one: Assignment) -> str:
        resources: dict[str, dict[str, int]] = {}
        for uuid, resource_class, amount in one.allocations:
            resources.setdefault(uuid, {})[resource_class] = amount
        if self._version < ALLOCATIONS_ARE_OBJECTS:
            listed = [{"resource_provider": {"uuid": uuid}, "resources": of} for uuid, of in resources.items()]
            return json.dumps({"allocations": listed})
        request: dict[str, object] = {"allocations": {uuid: {"resources": of} for uuid, of in resources.items()}}
        if self._version >= HAS_MAPPINGS:
            request["mappings"] = one.mappings
        return json.dumps(request)

    def _around_uuid(self) -> list[str]:
        """The parts of a candidate that is one provider, before and after each place of its uuid."""
        # (It is for the only group of the query. No class and no suffix has the mark in it.)
        group, mark = self._query.groups[0], "?"
        allocations = tuple(events.Allocation(mark, name, amount) for name, amount in group.resources)
        return self._request(Assignment(allocations, {group.suffix: [mark]})).split(mark)
