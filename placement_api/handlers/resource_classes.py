"""``/resource_classes``: the classes of resources that there are."""

from nova_sched.projection.inventory import CUSTOM
from nova_sched.projection.write_refusals import WriteRefused
from placement_api.handlers.common import CLASS, STANDARD_CLASSES, create_names, creation_of, is_class, removal_of
from placement_api.http_errors import BadRequest, Conflict, NotFound, UnsupportedMediaType
from placement_api.reservations import reserved
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
    if there or not create_names(request, request.region.new_roots, CLASS, [name]):
        raise Conflict(exists)
    return empty_response(request, 201, _url(request, name))


def put_class(request, name):
    """Create a class if it is not there; before microversion 1.7, give it another name."""
    request.authorize("placement:resource_classes:update")
    if request.version < PUT_CREATES:
        return _rename(request, name)
    schemas.POST.find(request.version).validate({"name": name})
    with request.region.lock:
        there = is_class(request.region, name)
    is_new = not there and create_names(request, request.region.new_roots, CLASS, [name])
    return empty_response(request, 201 if is_new else 204, _url(request, name))


def _rename(request, name):
    if request.content_type != "application/json":
        raise UnsupportedMediaType(
            f"The media type {request.content_type or 'None'} is not supported, use application/json"
        )
    new_name = request.read_json(schemas.PUT)["name"]
    region = request.region
    with region.lock:
        _check_there(request, name)
        home = _log_with(region, name)
    if not name.startswith(CUSTOM):
        raise BadRequest(f"Cannot update standard resource class {name}")
    refusals = {
        WriteRefused.UNKNOWN_CLASS: (NotFound, None, "No such resource class {0}:"),
        WriteRefused.CLASS_EXISTS: (Conflict, None, "Resource class already exists: {0}:"),
    }
    own = [removal_of(CLASS, one) for one in (name, new_name)]
    with reserved(request, home, own, [*own, *(creation_of(CLASS, one) for one in (name, new_name))]):
        with region.lock:
            taken = new_name != name and is_class(region, new_name)
            logs = [log for log in region.logs.values() if name in log.projection.custom_classes]
        if taken:
            raise Conflict(f"Resource class already exists: {new_name}")
        for log in logs:
            request.write(log, events.ClassRenamed(name, new_name, *request.who()), refusals)
    return json_response(request, _shown(request, new_name))


def delete_class(request, name):
    """Remove a class of the cloud's own of which no provider has an inventory."""
    request.authorize("placement:resource_classes:delete")
    region = request.region
    with region.lock:
        _check_there(request, name)
        home = _log_with(region, name)
    if not name.startswith(CUSTOM):
        raise BadRequest(f"Error in delete resource class: Cannot delete standard resource class {name}.")
    refusals = {WriteRefused.UNKNOWN_CLASS: (NotFound, None, "No such resource class {0}:")}
    with reserved(request, home, [removal_of(CLASS, name)], [removal_of(CLASS, name), creation_of(CLASS, name)]):
        with region.lock:
            index = region.table.classes.get(name)
            in_use = index >= 0 and region.table.step_size[index, : region.table.count].any()
            logs = [log for log in region.logs.values() if name in log.projection.custom_classes]
        if in_use:
            raise Conflict(
                f"Error in delete resource class: Cannot delete resource class {name}. Class is in use in inventory."
            )
        for log in logs:
            request.write(log, events.ClassDeleted(name, *request.who()), refusals)
    return empty_response(request)


def _log_with(region, name):
    """A log that has a class of the cloud's own; None for one of OpenStack's."""
    return next((log for log in region.logs.values() if name in log.projection.custom_classes), None)


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
