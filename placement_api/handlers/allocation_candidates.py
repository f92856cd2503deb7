"""``/allocation_candidates``: what a consumer could allocate, so that all that is asked for fits."""

import random

from nova_sched.fit.providers import TooManySteps
from placement_api.candidates import query as queries
from placement_api.candidates.answer import Answer
from placement_api.candidates.find import Rules, candidates_of, look_up
from placement_api.candidates.summaries import HAS_TREES
from placement_api.consumers import given_back
from placement_api.http_errors import BadRequest
from placement_api.responses import json_response


def list_candidates(request):
    """The candidates that the query wants, and what their providers have."""
    request.authorize("placement:allocation_candidates:list")
    query = queries.read(request)
    region = request.region
    with region.lock:
        try:
            found = _found(request, query) if look_up(region, query) else []
        except TooManySteps as fault:
            raise BadRequest(f"Too many combinations: {fault}.") from None
        answer = Answer(region.table, region.summaries, query, request.version, found, given_back(region))
    if not found:
        request.found_nothing = True
    return json_response(request, bytes(answer))


def _found(request, query):
    options = request.conf.placement_api
    is_random = options.randomize_allocation_candidates
    rules = Rules(
        options.allocation_candidates_generation_strategy,
        options.max_allocation_candidates,
        request.version >= HAS_TREES,
        None if is_random else query.limit,
        # A cell whose log cannot be read gets no new consumers.
        tuple(request.region.logs[cell].projection.cell_index for cell in request.region.stale_cells()),
    )
    found = candidates_of(request.region.table, query, rules)
    if is_random:
        # A request that is repeated with its id gets the same candidates.
        draw = random.Random(request.request_id)
        found = draw.sample(found, len(found) if query.limit is None else min(query.limit, len(found)))
    return found
