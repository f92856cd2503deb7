"""``/resource_classes``: the classes of resources that there are."""

from nova_sched.projection.inventory import CUSTOM
from nova_sched.projection.write_refusals import WriteRefused
from placement_api.handlers.common import STANDARD_CLASSES, is_class
from placement_api.http_errors import BadRequest, Conflict, NotFound, UnsupportedMediaType
from placement_api.responses import empty_response, json_response, list_response
from placement_api.schemas import resource_classes as schemas
from rpc_api import events

#: From it on, PUT creates a class; below it, PUT renames one.
PUT_CREATES = (1, 7)


def list_classes(request):
    """All classes, OpenStack's first."""
    request.authorize("placement:resource_classes:list")
    with request.region.lock:
        custom = _custom(request)
    found = [_shown(request, name) for name in (*STANDARD_CLASSES, *custom)]
    return list_response(request, "resource_classes", found, max(custom.values(), default=None))


def show_class(request, name):
    """One class."""
    request.authorize("placement:resource_classes:show")
    with request.region.lock:
        _check_there(request, name)
        created = _custom(request).get(name)
    return json_response(request, _shown(request, name), last_modified_ns=created)


def create_class(request):
    """Create a class of the cloud's own."""
    request.authorize("placement:resource_classes:create")
    name = request.read_json(schemas.POST)["name"]
    with request.region.lock:
        there = is_class(request.region, name)
    exists = f"Conflicting resource class already exists: {name}"
    if there:
        raise Conflict(exists)
    request.write(request.region.new_roots, events.ClassCreated(name, *request.who()))
    return empty_response(request, 201, _url(request, name))


def put_class(request, name):
    """Create a class if it is not there; before microversion 1.7, give it another name."""
    request.authorize("placement:resource_classes:update")
    if request.version < PUT_CREATES:
        return _rename(request, name)
    schemas.POST.find(request.version).validate({"name": name})
    with request.region.lock:
        there = is_class(request.region, name)
    status = 204
    if not there:
        written = request.region.new_roots.write(events.ClassCreated(name, *request.who()))
        status = 201 if written.reason is None else 204
    return empty_response(request, status, _url(request, name))


def _rename(request, name):
    if request.content_type != "application/json":
        raise UnsupportedMediaType(
            f"The media type {request.content_type or 'None'} is not supported, use application/json"
        )
    new_name = request.read_json(schemas.PUT)["name"]
    region = request.region
    with region.lock:
        _check_there(request, name)
        taken = new_name != name and _is_taken(region, name, new_name)
        logs = [log for log in region.logs.values() if name in log.projection.custom_classes]
    if not name.startswith(CUSTOM):
        raise BadRequest(f"Cannot update standard resource class {name}")
    exists = f"Resource class already exists: {new_name}"
    if taken:
        raise Conflict(exists)
    refusals = {
        WriteRefused.UNKNOWN_CLASS: (NotFound, None, "No such resource class {0}:"),
        WriteRefused.CLASS_EXISTS: (Conflict, None, "Resource class already exists: {0}:"),
    }
    for log in logs:
        request.write(log, events.ClassRenamed(name, new_name, *request.who()), refusals)
    return json_response(request, _shown(request, new_name))


def _is_taken(region, name, new_name) -> bool:
    """Whether another class has the new name of a class. If only logs have it that do not have the old one, the class
    got it there already, by a request that did not come to its end."""
    if not new_name.startswith(CUSTOM):
        return is_class(region, new_name)
    return any({name, new_name} <= projection.custom_classes.keys() for projection in region.projections())


def delete_class(request, name):
    """Remove a class of the cloud's own of which no provider has an inventory."""
    request.authorize("placement:resource_classes:delete")
    region = request.region
    with region.lock:
        _check_there(request, name)
        index = region.table.classes.get(name)
        in_use = index >= 0 and region.table.step_size[index, : region.table.count].any()
        logs = [log for log in region.logs.values() if name in log.projection.custom_classes]
    if not name.startswith(CUSTOM):
        raise BadRequest(f"Error in delete resource class: Cannot delete standard resource class {name}.")
    if in_use:
        raise Conflict(
            f"Error in delete resource class: Cannot delete resource class {name}. Class is in use in inventory."
        )
    refusals = {WriteRefused.UNKNOWN_CLASS: (NotFound, None, "No such resource class {0}:")}
    for log in logs:
        request.write(log, events.ClassDeleted(name, *request.who()), refusals)
    return empty_response(request)


def _custom(request):
    """Name -> when it was created, of the cloud's own classes."""
    return {name: at for projection in request.region.projections() for name, at in projection.custom_classes.items()}


def _check_there(request, name):
    if not is_class(request.region, name):
        raise NotFound(f"No such resource class {name}.")


def _url(request, name):
    return f"{request.prefix}/resource_classes/{name}"


def _shown(request, name):
    return {"name": name, "links": [{"rel": "self", "href": _url(request, name)}]}
