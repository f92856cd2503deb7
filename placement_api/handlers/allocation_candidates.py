"""``/allocation_candidates``: what a consumer could allocate, so that all that is asked for fits."""

import random

from nova_sched.fit.providers import TooManySteps
from placement_api.candidates import query as queries
from placement_api.candidates.answer import Answer
from placement_api.candidates.find import NOTHING, Rules, candidates_of, look_up
from placement_api.candidates.summaries import HAS_TREES
from placement_api.http_errors import BadRequest
from placement_api.responses import json_response


def list_candidates(request):
    """The candidates that the query wants, and what their providers have."""
    request.authorize("placement:allocation_candidates:list")
    query = queries.read(request)
    try:
        found = candidates_of(request.region, query, _rules(request, query)) if look_up(request.region, query) else None
    except TooManySteps as fault:
        raise BadRequest(f"Too many combinations: {fault}.") from None
    if found is None or not found.candidates:
        request.found_nothing = True
        found = NOTHING
        if not all(request.region.tree_of(group.in_tree) for group in query.groups if group.in_tree):
            request.region.check_all_were_read()
    return json_response(request, bytes(Answer(query, request.version, found)))


def _rules(request, query) -> Rules:
    options = request.conf.placement_api
    return Rules(
        options.allocation_candidates_generation_strategy,
        options.max_allocation_candidates,
        request.version >= HAS_TREES,
        query.limit,
        # A cell whose log cannot be read gets no new consumers.
        tuple(request.region.stale_cells()),
        # A client that repeats its request with the same id gets the same candidates.
        random.Random(request.client_id) if options.randomize_allocation_candidates else None,
    )
