"""``/reshaper``: inventories move between providers, with what consumers hold of them."""

from placement_api import http_errors
from placement_api.handlers.allocations import REFUSALS, consumer_of, log_of
from placement_api.handlers.common import ensure_names, is_class
from placement_api.handlers.inventories import inventory_of
from placement_api.http_errors import BadRequest, Conflict
from placement_api.refusals import PROVIDER_CONFLICT
from placement_api.request import uuid_of
from placement_api.responses import empty_response
from placement_api.schemas import reshaper as schemas
from rpc_api import events


def reshape(request):
    """Write inventories of some providers and what some consumers hold, all or nothing."""
    request.authorize("placement:reshaper:reshape")
    data = request.read_json(schemas.POST)
    inventories = [
        events.ProviderInventories(
            uuid_of(uuid) or uuid,
            one["resource_provider_generation"],
            tuple(inventory_of(name, values) for name, values in one["inventories"].items()),
        )
        for uuid, one in data["inventories"].items()
    ]
    consumers = [consumer_of(request, uuid_of(uuid), one) for uuid, one in data["allocations"].items()]
    region = request.region
    with region.lock:
        for one in inventories:
            row = region.row_of(one.provider_uuid)
            if row is None:
                raise BadRequest(
                    f"Resource provider {one.provider_uuid} in inventories not found",
                    http_errors.PROVIDER_NOT_FOUND,
                    of_state=True,
                )
            found = region.table.generation.item(row)
            if found != one.generation:
                raise Conflict(
                    f"{PROVIDER_CONFLICT} for provider {one.provider_uuid}: actual: {found}, given: {one.generation}",
                    http_errors.CONCURRENT_UPDATE,
                )
        names = {inventory.resource_class for one in inventories for inventory in one.inventories}
        names |= {allocation.resource_class for one in consumers for allocation in one.allocations}
        unknown = next((name for name in sorted(names) if not is_class(region, name)), None)
    log = log_of(request, consumers, [one.provider_uuid for one in inventories])
    if unknown is not None:
        raise BadRequest(f"malformed reshaper data: No such resource class {unknown}.", of_state=True)
    if log is not None:
        ensure_names(request, log, names)
        request.write(log, events.Reshaped(tuple(inventories), tuple(consumers), *request.who()), REFUSALS)
    return empty_response(request)
