"""``/reshaper``: inventories move between providers, with what consumers hold of them."""

from nova_sched.projection.allocations import held_by
from placement_api import http_errors, several_logs
from placement_api.handlers.allocations import REFUSALS, consumer_of, fence_before, parts_of
from placement_api.handlers.common import by_uuid, ensure_names, is_class
from placement_api.handlers.inventories import inventory_of
from placement_api.http_errors import BadRequest, Conflict
from placement_api.refusals import PROVIDER_CONFLICT
from placement_api.responses import empty_response
from placement_api.schemas import reshaper as schemas
from rpc_api import events


def reshape(request):
    """Write inventories of some providers and what some consumers hold, all or nothing."""
    request.authorize("placement:reshaper:reshape")
    data = request.read_json(schemas.POST)
    inventories = [
        events.ProviderInventories(
            uuid,
            one["resource_provider_generation"],
            tuple(inventory_of(name, values) for name, values in one["inventories"].items()),
        )
        for uuid, one in by_uuid("resource provider", data["inventories"]).items()
    ]
    consumers = [consumer_of(request, uuid, one) for uuid, one in by_uuid("consumer", data["allocations"]).items()]
    region = request.region
    fence_before(request, consumers)
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
        parts = parts_of(request, consumers)
        logs = {region.log_of(one.provider_uuid) for one in inventories}
        logs |= {log for log, part in parts.items() if any(_changes(log, one) for one in part)}
    if unknown is not None:
        raise BadRequest(f"malformed reshaper data: No such resource class {unknown}.", of_state=True)
    if len(logs) > 1:
        cells = ", ".join(sorted(log.cell for log in logs))
        raise Conflict(
            f"The inventories and allocations that change are in the logs of {cells}, and a reshape changes those of "
            "one; make a request for each of them"
        )
    for log in logs:
        ensure_names(request, log, names)
        put = tuple(parts.get(log, ()))
        with several_logs.kept_new(request, log, put):
            request.write(log, events.Reshaped(tuple(inventories), put, *request.who()), REFUSALS)
    return empty_response(request)


def _changes(log, one) -> bool:
    """Whether a consumer would hold something else in a log than it does."""
    wanted = {allocation[:2]: allocation.amount for allocation in one.allocations}
    return wanted != held_by(log.projection, one.consumer_uuid)
