"""Placement's own tests of its objects, with our ledger beside its database.

Each test runs as it is, on the real objects. Each write of the objects is repeated as an event of ours: one that they
accept must be accepted, and one that they refuse must be refused (:mod:`tests.against_nova.gabbi_tee`). What they are
asked for allocation candidates, our API is asked too, and must offer the same. At the end of each test both sides must
have the same state. Run by the peer's own Python beneath :mod:`tests.against_nova.peer_loop`.
"""

import importlib
import json
import pathlib
import sys
import traceback
import unittest
import urllib.parse

from placement.objects import allocation_candidate
from placement.tests.functional import db
from placement.tests.functional.db import test_base

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from placement_api.http_errors import HTTPError
from placement_api.region import Region
from rpc_api import errors
from tests.against_nova import gabbi_tee, ledger_answers
from tests.against_nova.placement_app import state_in
from tests.placement_api.client import client_of

FOLDER = pathlib.Path(db.__file__).parent
#: Characters of the text of a failure that are shown.
SHOWN = 2000


class Beside:
    """Our API beside the database of one test, and what differed."""

    def __init__(self):
        self.region = Region.in_memory()
        self.client = client_of(self.region)
        self.different = []
        #: Writes and questions that came to both.
        self.shared = 0

    def write(self, event):
        """The reason why an event has no effect; None if it has one."""
        self.shared += 1
        try:
            reason = self.region.write(event).reason
        except (errors.NovaSchedError, TypeError) as fault:
            # (A name that is missing cannot even be written into an event.)
            return str(fault)
        except HTTPError as fault:
            return fault.detail
        return None if reason is None else str(reason)

    def offer(self, groups, wide, theirs):
        """Ask for the same candidates, and compare."""
        query = _query(groups, wide)
        self.shared += 1
        answer = self.client.ask("GET", f"/allocation_candidates?{query}")
        if answer.status != 200:
            self.different.append(f"{query} is answered {answer.status}: {answer.body}")
            return
        wanted = sorted(_requested(one) for one in theirs.allocation_requests)
        found = sorted(_offered(one) for one in answer.body["allocation_requests"])
        # A limit takes any of them.
        if len(wanted) != len(found) or (wide.limit is None and wanted != found):
            self.different.append(f"{query}: {wanted} there, {found} here")


def _requested(request):
    return sorted((one.resource_provider.uuid, one.resource_class, one.amount) for one in request.resource_requests)


def _offered(request):
    return sorted(
        (uuid, name, amount)
        for uuid, held in request["allocations"].items()
        for name, amount in held["resources"].items()
    )


def _query(groups, wide):
    """The query of the API that asks for request groups."""
    words = []

    def add(name, *values):
        words.extend((name, value) for value in values if value)

    for suffix, group in groups.items():
        add(f"resources{suffix}", ",".join(f"{name}:{amount}" for name, amount in group.resources.items()))
        add(f"required{suffix}", *(_any_of(names) for names in group.required_traits))
        add(f"required{suffix}", ",".join(f"!{name}" for name in sorted(group.forbidden_traits)))
        add(f"member_of{suffix}", *(_any_of(uuids) for uuids in group.member_of))
        add(f"member_of{suffix}", group.forbidden_aggs and f"!{_any_of(group.forbidden_aggs)}")
        add(f"in_tree{suffix}", group.in_tree)
    asked = [*sorted(wide.anchor_required_traits or ()), *(f"!{name}" for name in wide.anchor_forbidden_traits or ())]
    add("root_required", ",".join(asked))
    add("same_subtree", *(",".join(sorted(suffixes)) for suffixes in wide.same_subtrees or ()))
    several = sum(bool(suffix) for suffix in groups) > 1
    add("group_policy", wide.group_policy or ("none" if several else None))
    add("limit", wide.limit and str(wide.limit))
    return urllib.parse.urlencode(words)


def _any_of(names):
    names = sorted(names)
    return names[0] if len(names) == 1 else f"in:{','.join(names)}"


#: The test that runs: its configuration, and what is beside it.
running = []


def _beside(conf):
    (of, beside) = running[-1]
    return beside if of is conf else None


def _write(conf, event):
    beside = _beside(conf)
    reason = beside and beside.write(event)
    if reason is not None:
        beside.different.append(f"accepted there, refused here: {_named(event)}: {reason}")


def _refused(conf, event, error):
    beside = _beside(conf)
    if beside is not None and beside.write(event) is None:
        beside.different.append(f"refused there, accepted here: {_named(event)}: {type(error).__name__}")


def _named(event):
    return type(event).__name__


gabbi_tee.install(_write, _refused)
_set_up = test_base.PlacementDbBaseTestCase.setUp
_get_by_requests = allocation_candidate.AllocationCandidates.get_by_requests.__func__


def _set_up_beside(self):
    running[:] = [(None, None)]
    _set_up(self)
    beside = Beside()
    self.addCleanup(beside.region.close)
    self.addCleanup(_compare, self)
    running[:] = [(self.conf_fixture.conf, beside)]


def _get_by_requests_beside(cls, context, groups, rqparams, *more):
    found = _get_by_requests(cls, context, groups, rqparams, *more)
    beside = _beside(context.config)
    if beside is not None:
        beside.offer(groups, rqparams, found)
    return found


def _compare(test):
    _, beside = running[-1]
    (projection,) = beside.region.projections()
    theirs, ours = state_in(test.placement_db.get_engine()), ledger_answers.state_of(projection)
    # A consumer without allocations is a row of the database only: no client sees it.
    theirs["consumers"] = {uuid: one for uuid, one in theirs["consumers"].items() if one["allocations"]}
    for part, found in theirs.items():
        if _plain(found) != _plain(ours[part]):
            beside.different.append(f"{part}: {_first(_plain(found), _plain(ours[part]))}")
    if beside.different:
        raise AssertionError("; ".join(beside.different))


def _plain(value):
    return json.loads(json.dumps(value, default=list, sort_keys=True))


def _first(theirs, ours):
    """Where two values differ first."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted(theirs.keys() | ours.keys()):
            if theirs.get(key) != ours.get(key):
                return f"{key} {_first(theirs.get(key), ours.get(key))}"
    return f"{theirs} there, {ours} here"


test_base.PlacementDbBaseTestCase.setUp = _set_up_beside
allocation_candidate.AllocationCandidates.get_by_requests = classmethod(_get_by_requests_beside)


def files():
    """The names of all modules of tests."""
    return sorted(path.stem for path in FOLDER.glob("test_*.py") if path.stem not in ("test_base", "test_migrations"))


def run(module):
    """Run the tests of a module. Returns [test, text of its failure or None, number of writes and
    questions that came to both sides] of each."""
    suite = unittest.defaultTestLoader.loadTestsFromModule(
        importlib.import_module(f"placement.tests.functional.db.{module}")
    )
    found = []
    for test in _flat(suite):
        running[:] = [(None, None)]
        results = unittest.TestResult()
        try:
            test.run(results)
        except Exception:
            results.errors.append((test, traceback.format_exc()))
        failed = [text for _, text in (*results.errors, *results.failures)]
        name = ".".join(test.id().split(".")[-2:])
        shared = 0 if running[-1][1] is None else running[-1][1].shared
        found.append([name, "\n".join(failed)[-SHOWN:] if failed else None, shared])
    return found


def _flat(suite):
    for one in suite:
        yield from _flat(one) if isinstance(one, unittest.TestSuite) else (one,)


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (files, run)
