"""``/resource_providers``: the providers of resources."""

import contextlib
import uuid as uuids

from nova_sched.projection.provider_rows import parent_of
from nova_sched.projection.write_refusals import WriteRefused
from placement_api import http_errors
from placement_api.candidates.providers import providers_matching
from placement_api.handlers.common import provider_of
from placement_api.http_errors import BadRequest, Conflict, NotFound
from placement_api.request import uuid_of
from placement_api.reservations import lock_of, reserved
from placement_api.responses import empty_response, json_response, list_response
from placement_api.schemas import resource_providers as schemas
from rpc_api import events

#: First microversion -> the link that it adds.
LINKS = (
    ((1, 0), "inventories"),
    ((1, 0), "usages"),
    ((1, 1), "aggregates"),
    ((1, 6), "traits"),
    ((1, 11), "allocations"),
)
ANSWERS_CREATION = (1, 20)
HAS_TREES = (1, 14)
MAY_MOVE = (1, 37)
#: A provider may be moved by another client between our read and our write: then we read again, so often at most.
ATTEMPTS = 10


def list_providers(request):
    """The providers that the query wants; all of them without a query."""
    request.authorize("placement:resource_providers:list")
    request.check_query(schemas.LIST)
    region = request.region
    with region.lock:
        rows = providers_matching(request)
        found = [_shown(request, row) for row in rows]
        modified = max((region.table.written_ns.item(row) for row in rows), default=None)
    if not found and request.is_fenced:
        region.check_all_were_read()
    return list_response(request, "resource_providers", found, modified)


def show_provider(request, uuid):
    """One provider."""
    request.authorize("placement:resource_providers:show")
    with request.region.lock:
        provider = provider_of(request, uuid)
        shown = _shown(request, provider.row)
        modified = request.region.table.written_ns.item(provider.row)
    return json_response(request, shown, last_modified_ns=modified)


def create_provider(request):
    """Create a provider, in the log of its parent."""
    request.authorize("placement:resource_providers:create")
    data = request.read_json(schemas.POST)
    uuid = uuid_of(data.get("uuid")) or str(uuids.uuid4())
    parent = uuid_of(data.get("parent_provider_uuid"))
    region = request.region
    region.check_all_were_read()
    with region.lock:
        log = region.new_roots if parent is None else region.log_of(parent)
        if uuid == parent:
            raise BadRequest(
                f'Unable to create resource provider "{data["name"]}", {uuid}: parent provider UUID cannot be same as '
                "UUID. Please set parent provider UUID to None if there is no parent."
            )
        if log is None:
            raise BadRequest(
                f'Unable to create resource provider "{data["name"]}", {uuid}: parent provider UUID does not exist.',
                of_state=True,
            )
    with reserved(request, log, (lock_of("provider", uuid), _lock_of_name(data["name"]))):
        with region.lock:
            _check_unique(region, data["name"], uuid)
        written = request.write(log, events.ProviderCreated(uuid, data["name"], parent, *request.who()))
    location = f"{request.prefix}/resource_providers/{uuid}"
    if request.version < ANSWERS_CREATION:
        return empty_response(request, 201, location)
    with region.lock:
        tree = region.tree_of(parent or uuid)
        root = uuid if tree is None else region.table.uuids[tree.root]
    response = json_response(request, _body(request, uuid, data["name"], written.generation or 0, parent, root))
    response.location = location
    return response


def update_provider(request, uuid):
    """Give a provider another name or another parent."""
    request.authorize("placement:resource_providers:update")
    region = request.region
    with region.lock:
        log = provider_of(request, uuid).log
    data = request.read_json(schemas.PUT)
    name, says_parent = data["name"], "parent_provider_uuid" in data
    parent = uuid_of(data.get("parent_provider_uuid"))
    may_move = says_parent and request.version >= MAY_MOVE
    refusals = {
        WriteRefused.NAME_TAKEN: (
            Conflict,
            http_errors.DUPLICATE_NAME,
            "Conflicting resource provider {0} already exists:",
        ),
        WriteRefused.UNKNOWN_PARENT: _unable(uuid, "parent provider UUID does not exist"),
        WriteRefused.MAY_NOT_MOVE: _unable(
            uuid,
            "un-parenting a provider is not currently allowed"
            if parent is None
            else "re-parenting a provider is not currently allowed",
        ),
        WriteRefused.LOOP: _unable(uuid, "creating loop in the provider tree is not allowed"),
    }
    with region.lock:
        is_renamed = region.table.provider_names[provider_of(request, uuid).row] != name
    with reserved(request, log, (_lock_of_name(name),)) if is_renamed else contextlib.nullcontext():
        for left in range(ATTEMPTS - 1, -1, -1):
            with region.lock:
                if not says_parent:
                    parent = _parent(request, uuid)
                _check_move(region, log, uuid, name, parent)
            try:
                changed = events.ProviderChanged(uuid, name, parent, may_move, *request.who())
                written = request.write(log, changed, refusals)
                break
            except BadRequest:
                with region.lock:
                    is_same = parent == _parent(request, uuid)
                if says_parent or not left or is_same:
                    raise
    with region.lock:
        tree = region.tree_of(uuid)
        root = uuid if tree is None else region.table.uuids[tree.root]
    return json_response(request, _body(request, uuid, name, written.generation or 0, parent, root))


def delete_provider(request, uuid):
    """Remove a provider that has no children and of which nothing is held."""
    request.authorize("placement:resource_providers:delete")
    with request.region.lock:
        log = request.region.log_of(uuid)
    if log is None:
        raise NotFound(f"No resource provider with uuid {uuid} found for delete")
    request.write(log, events.ProviderDeleted(uuid, *request.who()))
    return empty_response(request)


def _lock_of_name(name):
    return lock_of("provider name", name)


def _parent(request, uuid):
    return parent_of(request.region.table, provider_of(request, uuid).row)


def _taken(what, value):
    return f"Conflicting resource provider {what}: {value} already exists"


def _unable(uuid, why):
    return BadRequest, None, f"Unable to save resource provider {uuid}: {why}."


def _check_unique(region, name, uuid):
    """Conflict if a log has the name or the uuid. A log itself looks among its own only."""
    if region.log_of(uuid) is not None:
        raise Conflict(f"{_taken('uuid', uuid)}.", http_errors.DUPLICATE_NAME)
    if any(name in projection.provider_names for projection in region.projections()):
        raise Conflict(f"{_taken('name', name)}.", http_errors.DUPLICATE_NAME)


def _check_move(region, log, uuid, name, parent):
    """What the log of a provider cannot see: names and parents in the other logs."""
    others = [projection for projection in region.projections() if projection is not log.projection]
    if any(name in projection.provider_names for projection in others):
        raise Conflict(f"Conflicting resource provider {name} already exists.", http_errors.DUPLICATE_NAME)
    home = region.log_of(parent) if parent is not None else log
    if home is None:
        region.check_all_were_read()
    elif home is not log:
        raise Conflict(
            f"Unable to save resource provider {uuid}: its parent is in the log of {home.cell}, and a provider stays "
            f"in the log of {log.cell}"
        )


def _shown(request, row):
    table = request.region.table
    return _body(
        request,
        table.uuids[row],
        table.provider_names[row],
        table.generation.item(row),
        parent_of(table, row),
        table.uuids[table.root.item(row)],
    )


def _body(request, uuid, name, generation, parent, root):
    version, url = request.version, f"{request.prefix}/resource_providers/{uuid}"
    links = [{"rel": "self", "href": url}]
    links += [{"rel": rel, "href": f"{url}/{rel}"} for since, rel in LINKS if version >= since]
    body = {"uuid": uuid, "name": name, "generation": generation, "links": links}
    if version >= HAS_TREES:
        body["parent_provider_uuid"], body["root_provider_uuid"] = parent, root
    return body
