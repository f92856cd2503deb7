"""Our answers to queries for candidates and for lists of providers beside those of the real Placement, in one process,
from a seed.

Run by the peer's own Python, in which both are installed, from the root of the project::

    python -m tests.against_nova.candidates_together --seed 1 --count 100000

Each world has a seed of its own and starts empty, so a run can be continued at any seed; the next one is printed after
each world. The first difference ends the run. Placement's defects A, B and C are fixed in it for the comparison: see
:mod:`tests.against_nova.candidates_cases`.
"""

import argparse
import copy
import functools
import gc
import json
import logging
import random
import sys
from urllib.parse import parse_qsl, urlencode

from tests.against_nova import candidates_cases, candidates_worlds, random_worlds
from tests.placement_api.in_process import OurPlacement

#: Queries of one world, for candidates and for lists of providers; use changes after so many of them.
CANDIDATES, PROVIDERS, EACH = 120, 30, 40


class Difference(AssertionError):
    """Placement and we do not agree."""


def fix_placement():
    """Fix the defects A, B and C in the Placement of this process."""
    from placement.objects import allocation_candidate, research_context, trait

    # A: candidates of several anchors are not the same one.
    request = allocation_candidate.AllocationRequest
    equal = request.__eq__
    request.__eq__ = lambda self, other: (
        equal(self, other) and self.anchor_root_provider_uuid == other.anchor_root_provider_uuid
    )
    # B: an amount is added up for one candidate, and not for all that have a part of it.
    research_context.RequestWideSearchContext.copy_arr_if_needed = lambda self, arr: copy.copy(arr)
    # C: the summaries are those of whole trees, also of that of a sharing provider with a parent.
    build = allocation_candidate._build_provider_summaries

    def build_whole_trees(context, wide, root_ids, traits):
        roots = {
            row.root_provider_id
            for row in context.session.query(research_context.models.ResourceProvider)
            if row.id in root_ids
        }
        build(context, wide, roots, trait.get_traits_by_provider_tree(context, roots))

    allocation_candidate._build_provider_summaries = build_whole_trees


class Together:
    """One world on both sides."""

    def __init__(self, placement, ours, calls):
        self.placement, self.ours = placement, ours
        for side in (placement, ours):
            side.empty()
        for call in calls:
            self.write(*call)

    def write(self, method, path, body):
        """Write on both sides, which must accept it."""
        for side in (self.placement, self.ours):
            status, answer = side.call(method, path, body)
            assert status < 300, (side, method, path, body, status, answer)

    def ask(self, path, version, counts):
        """Ask both sides; their answers must be equal."""
        whole = _without_limit(path)
        theirs = self.placement.call("GET", whole, version=version)
        mine = self.ours.call("GET", path, version=version)
        counts["queries"] += 1
        counts[f"{path.partition('?')[0]} {mine[0]}"] += 1
        if theirs[0] != mine[0]:
            raise Difference(f"Placement answers {theirs}, and we {mine}")
        if mine[0] != 200:
            if [error.get("code") for error in theirs[1]["errors"]] != [e.get("code") for e in mine[1]["errors"]]:
                raise Difference(f"Placement answers {theirs}, and we {mine}")
        elif path.startswith("/resource_providers"):
            _compare_providers(theirs[1], mine[1], counts)
        else:
            limits = [int(value) for name, value in parse_qsl(path.partition("?")[2]) if name == "limit"]
            _compare_candidates(theirs[1], mine[1], limits[0] if limits else None, version, counts)


def _without_limit(path):
    """A query for candidates without its limits, if they are numbers."""
    start, _, query = path.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    limits = [value for name, value in pairs if name == "limit"]
    if not limits or not all(limit.isdigit() and limit != "0" for limit in limits):
        return path
    return f"{start}?{urlencode([pair for pair in pairs if pair[0] != 'limit'])}"


def _compare_providers(theirs, mine, counts):
    shown = [sorted(map(_text, answer["resource_providers"])) for answer in (theirs, mine)]
    counts["providers"] += len(shown[0])
    if shown[0] != shown[1]:
        raise Difference(f"Placement lists {shown[0]}, and we {shown[1]}")


def _compare_candidates(theirs, mine, limit, version, counts):
    wanted, found = ([_candidate(one) for one in answer["allocation_requests"]] for answer in (theirs, mine))
    counts["candidates"] += len(found)
    counts["found"] += bool(found)
    counts["several"] += len(found) > 1
    # (Before 1.34 two candidates look the same if they differ only in who serves which group.)
    if len(set(found)) < len(found) and int(version[2:]) >= 34:
        raise Difference(f"we have a candidate twice: {sorted(found)}")
    if limit is None and set(found) != set(wanted):
        missing, more = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
        raise Difference(f"we lack {missing}\nand have {more}")
    if limit is not None:
        counts["limited"] += len(found) < len(set(wanted))
        is_full = len(found) == limit or (len(found) < limit and set(found) == set(wanted))
        if not set(found) <= set(wanted) or not is_full:
            raise Difference(f"of {wanted} we take {found} with the limit {limit}")
    summaries = _summaries(theirs)
    if limit is not None:
        summaries = {uuid: summaries[uuid] for uuid in _shown_with(mine, summaries, version)}
    if _summaries(mine) != summaries:
        raise Difference(f"Placement has the summaries {summaries}, and we {_summaries(mine)}")


def _candidate(request):
    """A candidate as text, whose order of providers does not matter."""
    if isinstance(request["allocations"], list):
        allocations = {one["resource_provider"]["uuid"]: one["resources"] for one in request["allocations"]}
        assert len(allocations) == len(request["allocations"]), request
        request = {**request, "allocations": allocations}
    mappings = {suffix: sorted(uuids) for suffix, uuids in request.get("mappings", {}).items()}
    return _text({**request, "mappings": mappings})


def _summaries(answer):
    return {
        uuid: {**summary, "traits": sorted(summary.get("traits", ()))}
        for uuid, summary in answer["provider_summaries"].items()
    }


def _shown_with(mine, summaries, version):
    """The providers that are shown beside some candidates only: their trees, or, where no trees are known, those of
    which they take something."""
    taken = set()
    for request in mine["allocation_requests"]:
        listed = request["allocations"]
        taken |= {one["resource_provider"]["uuid"] for one in listed} if isinstance(listed, list) else set(listed)
    if int(version[2:]) < 29:
        return taken
    roots = {summaries[uuid]["root_provider_uuid"] for uuid in taken}
    return {uuid for uuid, summary in summaries.items() if summary["root_provider_uuid"] in roots}


def _text(value):
    return json.dumps(value, sort_keys=True)


def world(placement, ours, seed, counts):
    """Make a world and compare the answers to its queries."""
    draw = random.Random(f"candidates {seed}")
    calls, providers = candidates_worlds.world(draw)
    together = Together(placement, ours, calls)
    used = [call for call in calls if call[1].startswith("/allocations/")]
    for number in range(CANDIDATES + PROVIDERS):
        query = candidates_worlds.candidates_query if number < CANDIDATES else candidates_worlds.providers_query
        path, version = query(draw, providers)
        try:
            together.ask(path, version, counts)
        except AssertionError as error:
            raise Difference(f"seed {seed}, query {number}: {path} at {version}\n{error}") from error
        if used and number % EACH == EACH - 1:
            # What was kept of a tree must not outlive its use.
            together.write("DELETE", used.pop()[1], None)
    counts["worlds"] += 1


def main(*arguments):
    from tests.against_nova.placement_app import Placement

    parser = argparse.ArgumentParser(description="Compare allocation candidates with the real Placement.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, help="queries")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--cases", action="store_true", help="only make the cases that differ on purpose")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    placement, ours = Placement(), OurPlacement()
    gc.freeze()
    try:
        if options.cases:
            print(json.dumps(candidates_cases.found_by(placement, ours)))
            return 0
        fix_placement()
        one = functools.partial(world, placement, ours)
        found = random_worlds.run(one, options.seed, ("queries",), options.count, options.seconds)
        print(json.dumps(found))
    except Difference as error:
        print(error)
        return 1
    finally:
        ours.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
