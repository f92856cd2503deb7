"""``/allocation_candidates``: what a consumer could allocate, so that all that is asked for fits."""

import itertools
import random

from placement_api.candidates import query as queries
from placement_api.candidates.answer import Answer
from placement_api.candidates.find import Rules, candidates_of, look_up
from placement_api.candidates.summaries import HAS_TREES
from placement_api.responses import json_response


def list_candidates(request):
    """The candidates that the query wants, and what their providers have."""
    request.authorize("placement:allocation_candidates:list")
    query = queries.read(request)
    region = request.region
    with region.lock:
        found = _found(request, query) if look_up(region, query) else []
        answer = Answer(region.table, region.summaries, query, request.version, found)
    if not found:
        request.found_nothing = True
    return json_response(request, bytes(answer))


def _found(request, query):
    options = request.conf.placement_api
    rules = Rules(
        options.allocation_candidates_generation_strategy,
        options.max_allocation_candidates,
        request.version >= HAS_TREES,
    )
    found = candidates_of(request.region.table, query, rules)
    if not options.randomize_allocation_candidates:
        return list(itertools.islice(found, query.limit))
    found = list(found)
    # The same request gets the same candidates if it is repeated with its id.
    draw = random.Random(request.request_id)
    return draw.sample(found, len(found) if query.limit is None else min(query.limit, len(found)))
