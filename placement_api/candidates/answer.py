"""The answer to ``GET /allocation_candidates``, as bytes."""

import json
from collections.abc import Iterable, Sequence

from nova_sched.fit.providers import Assignment
from nova_sched.projection.allocations import Amounts
from nova_sched.projection.table import HostTable
from placement_api.candidates.find import Candidate
from placement_api.candidates.summaries import HAS_TREES, Summaries, in_older_form
from rpc_api import events

ALLOCATIONS_ARE_OBJECTS = (1, 12)
HAS_MAPPINGS = (1, 34)


class Answer:
    """What is taken of the state under its lock, and made into bytes without it."""

    def __init__(
        self, table: HostTable, summaries: Summaries, query, version, found: Sequence[Candidate], given_back: Amounts
    ):
        self._query, self._version = query, version
        #: For each candidate the uuid of its only provider, or an Assignment.
        self._found = [table.uuids[one] if type(one) is int else one for one in found]
        self._summaries = summaries.of(_roots_of(table, found), given_back)
        self._has_trees = bool(table.nested_rows)

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


def _roots_of(table: HostTable, found: Iterable[Candidate]) -> list[int]:
    """The root rows of the trees of which candidates take something, each once."""
    roots: dict[int, None] = {}
    for one in found:
        if type(one) is int:
            roots[one] = None
        else:
            for allocation in one.allocations:
                roots[table.root.item(table.row_of_uuid[allocation.provider_uuid])] = None
    return list(roots)
