"""``/resource_providers/{uuid}/inventories``: what a provider has."""

from nova_sched.projection.provider_rows import inventories_of
from nova_sched.projection.provider_writes import ADD, ALL, CHANGE, REMOVE
from nova_sched.projection.write_refusals import WriteRefused
from placement_api import http_errors
from placement_api.handlers.common import check_generation, ensure_names, is_class, provider_of
from placement_api.http_errors import BadRequest, Conflict, NotFound
from placement_api.responses import empty_response, json_response, list_response
from placement_api.schemas import inventories as schemas
from rpc_api import events

MAX_UNIT = 2**31 - 1
#: Below it, an inventory of which all is reserved is refused.
MAY_RESERVE_ALL = (1, 26)
_UPDATE = "Unable to update inventory for resource provider"


def list_inventories(request, uuid):
    """All inventories of a provider."""
    request.authorize("placement:resource_providers:inventories:list")
    table = request.region.table
    with request.region.lock:
        row = provider_of(request, uuid).row
        known, generation = inventories_of(table, row), table.generation.item(row)
        modified = table.written_ns.item(row) if known else None
    return _answer(request, known.values(), generation, modified)


def show_inventory(request, uuid, resource_class):
    """One inventory of a provider."""
    request.authorize("placement:resource_providers:inventories:show")
    table = request.region.table
    with request.region.lock:
        row = provider_of(request, uuid).row
        inventory = inventories_of(table, row).get(resource_class)
        generation, modified = table.generation.item(row), table.written_ns.item(row)
    if inventory is None:
        raise NotFound(f"No inventory of class {resource_class} for {uuid}")
    return json_response(request, _one(inventory, generation), last_modified_ns=modified)


def put_inventories(request, uuid):
    """Give a provider its inventories, and no others."""
    request.authorize("placement:resource_providers:inventories:update")
    with request.region.lock:
        provider = provider_of(request, uuid)
    data = request.read_json(schemas.PUT_ALL)
    generation = data["resource_provider_generation"]
    check_generation(request, provider, generation)
    inventories = [inventory_of(name, values) for name, values in data["inventories"].items()]
    check_inventories(request, uuid, inventories, _UPDATE, "Unknown resource class in inventory for resource provider")
    ensure_names(request, provider.log, [inventory.resource_class for inventory in inventories])
    written = request.write(
        provider.log, events.InventoriesPut(uuid, generation, ALL, tuple(inventories), *request.who())
    )
    return _answer(request, inventories, written.generation)


def add_inventory(request, uuid):
    """Give a provider one inventory more."""
    request.authorize("placement:resource_providers:inventories:create")
    with request.region.lock:
        provider = provider_of(request, uuid)
    data = request.read_json(schemas.POST)
    inventory = inventory_of(data.pop("resource_class"), data)
    check_inventories(request, uuid, [inventory], "Unable to create inventory for resource provider")
    ensure_names(request, provider.log, [inventory.resource_class])
    written = request.write(provider.log, events.InventoriesPut(uuid, None, ADD, (inventory,), *request.who()))
    response = json_response(request, _one(inventory, written.generation), 201)
    response.location = f"{request.prefix}/resource_providers/{uuid}/inventories/{inventory.resource_class}"
    return response


def put_inventory(request, uuid, resource_class):
    """Give one inventory other values."""
    request.authorize("placement:resource_providers:inventories:update")
    with request.region.lock:
        provider = provider_of(request, uuid)
    data = request.read_json(schemas.PUT_ONE)
    generation = data["resource_provider_generation"]
    check_generation(request, provider, generation)
    inventory = inventory_of(resource_class, data)
    with request.region.lock:
        is_known = is_class(request.region, resource_class)
    if not is_known:
        raise NotFound(f"No such resource class {resource_class}.")
    check_inventories(request, uuid, [inventory], _UPDATE)
    ensure_names(request, provider.log, [resource_class])
    refusals = {
        WriteRefused.NO_INVENTORY: (
            BadRequest,
            None,
            "No inventory record with resource class for resource provider {0}:",
        )
    }
    written = request.write(
        provider.log, events.InventoriesPut(uuid, generation, CHANGE, (inventory,), *request.who()), refusals
    )
    return json_response(request, _one(inventory, written.generation))


def delete_inventories(request, uuid):
    """Remove all inventories of a provider."""
    request.authorize("placement:resource_providers:inventories:delete")
    with request.region.lock:
        provider = provider_of(request, uuid)
    request.write(provider.log, events.InventoriesPut(uuid, None, ALL, (), *request.who()))
    return empty_response(request)


def delete_inventory(request, uuid, resource_class):
    """Remove one inventory."""
    request.authorize("placement:resource_providers:inventories:delete")
    with request.region.lock:
        provider = provider_of(request, uuid)
        known = is_class(request.region, resource_class)
        there = known and resource_class in inventories_of(request.region.table, provider.row)
    if not there:
        raise NotFound(f"No inventory of class {resource_class} found for delete")
    gone = events.Inventory(resource_class, 1, 0, 1, 1, 1, 1.0)  # only its class counts
    refusals = {
        WriteRefused.NO_INVENTORY: (NotFound, None, "No inventory of class {1} found for delete:"),
        WriteRefused.INVENTORY_IN_USE: (
            Conflict,
            http_errors.CONCURRENT_UPDATE,
            "Unable to delete inventory of class {0}: Inventory in use:",
        ),
    }
    request.write(provider.log, events.InventoriesPut(uuid, None, REMOVE, (gone,), *request.who()), refusals)
    return empty_response(request)


def inventory_of(resource_class, values) -> events.Inventory:
    """The Inventory of a body, with Placement's defaults."""
    return events.Inventory(
        resource_class,
        values["total"],
        values.get("reserved", 0),
        values.get("min_unit", 1),
        values.get("max_unit", MAX_UNIT),
        values.get("step_size", 1),
        float(values.get("allocation_ratio", 1.0)),
    )


def check_inventories(request, uuid, inventories, before, no_class=None) -> None:
    """BadRequest for an inventory of which nothing can be given, and for a class that does not exist. The texts say
    ``before`` what was tried, and ``no_class`` if the class is the fault."""
    least = 0 if request.version >= MAY_RESERVE_ALL else 1
    for inventory in inventories:
        capacity = (inventory.total - inventory.reserved) * inventory.allocation_ratio
        if int(capacity) < least:
            than = "greater than" if least == 0 else "greater than or equal to"
            raise BadRequest(
                f"{before} {uuid}: Invalid inventory for '{inventory.resource_class}' on resource provider '{uuid}'. "
                f"The reserved value is {than} total."
            )
    with request.region.lock:
        unknown = [one.resource_class for one in inventories if not is_class(request.region, one.resource_class)]
    if unknown:
        raise BadRequest(f"{no_class or before} {uuid}: No such resource class {unknown[0]}.", of_state=True)


def values_of(inventory) -> dict:
    """An Inventory as the API shows it."""
    return {
        "total": inventory.total,
        "reserved": inventory.reserved,
        "min_unit": inventory.min_unit,
        "max_unit": inventory.max_unit,
        "step_size": inventory.step_size,
        "allocation_ratio": inventory.allocation_ratio,
    }


def _one(inventory, generation):
    values = values_of(inventory)
    if generation:
        values["resource_provider_generation"] = generation
    return values


def _answer(request, inventories, generation, modified=None):
    found = {inventory.resource_class: values_of(inventory) for inventory in inventories}
    return list_response(request, "inventories", found, modified, resource_provider_generation=generation)
