"""``/resource_providers/{uuid}/aggregates``: the aggregates that a provider is in."""

from placement_api.handlers.common import check_generation, provider_of
from placement_api.request import uuid_of
from placement_api.responses import list_response
from placement_api.schemas import aggregates as schemas
from rpc_api import events

HAS_GENERATION = (1, 19)


def list_aggregates(request, uuid):
    """The aggregates of a provider."""
    request.authorize("placement:resource_providers:aggregates:list")
    table = request.region.table
    with request.region.lock:
        row = provider_of(request, uuid).row
        aggregates, generation = table.row_aggregates[row], table.generation.item(row)
    return _answer(request, aggregates, generation)


def put_aggregates(request, uuid):
    """Put a provider into aggregates, and out of all others."""
    request.authorize("placement:resource_providers:aggregates:update")
    region = request.region
    with region.lock:
        provider = provider_of(request, uuid)
    data = request.read_json(schemas.PUT)
    generation = None
    if request.version >= HAS_GENERATION:
        data, generation = data["aggregates"], data["resource_provider_generation"]
        check_generation(request, provider, generation)
    aggregates = tuple(dict.fromkeys(uuid_of(aggregate) for aggregate in data))
    written = request.write(provider.log, events.AggregatesPut(uuid, generation, aggregates, *request.who()))
    return _answer(request, aggregates, written.generation)


def _answer(request, aggregates, generation):
    more = {"resource_provider_generation": generation} if request.version >= HAS_GENERATION else {}
    return list_response(request, "aggregates", list(aggregates), **more)
