"""``/traits``: the traits that there are, and those of a provider."""

import numpy as np

from nova_sched.projection.provider_rows import traits_of
from nova_sched.projection.write_refusals import WriteRefused
from placement_api.handlers.common import (
    STANDARD_TRAITS,
    TRAIT,
    check_generation,
    create_names,
    creation_of,
    ensure_names,
    is_trait,
    provider_of,
    removal_of,
)
from placement_api.http_errors import BadRequest, Conflict, NotFound
from placement_api.reservations import reserved
from placement_api.responses import empty_response, list_response, timed
from placement_api.schemas import traits as schemas
from rpc_api import events


def list_traits(request):
    """The names of traits, by the query."""
    request.authorize("placement:traits:list")
    request.check_query(schemas.LIST)
    named, associated = request.GET.get("name"), request.GET.get("associated")
    region = request.region
    with region.lock:
        custom = {name: at for projection in region.projections() for name, at in projection.custom_traits.items()}
        used = _used(region.table) if associated is not None else set()
    names = sorted(STANDARD_TRAITS | custom.keys())
    if named is not None:
        operator, _, value = named.partition(":")
        if ":" not in named:
            raise BadRequest(
                "Badly formatted name parameter. Expected name query string parameter in form: "
                f'?name=[in|startswith]:[name1,name2|prefix]. Got: "{named}"'
            )
        if operator == "in":
            wanted = set(value.split(","))
            names = [name for name in names if name in wanted]
        elif operator == "startswith":
            names = [name for name in names if name.startswith(value)]
    if associated is not None:
        if associated.lower() not in ("true", "false"):
            raise BadRequest('The query parameter "associated" only accepts "true" or "false"')
        names = [name for name in names if (name in used) == (associated.lower() == "true")]
    modified = max((custom[name] for name in names if name in custom), default=None)
    return list_response(request, "traits", names, modified)


def show_trait(request, name):
    """Whether a trait exists."""
    request.authorize("placement:traits:show")
    with request.region.lock:
        _check_there(request, name)
        created = _created_ns(request, name)
    return timed(request, empty_response(request), created)


def put_trait(request, name):
    """Create a trait of the cloud's own, if it is not there."""
    request.authorize("placement:traits:update")
    if not schemas.CUSTOM_NAME.find(request.version).accepts(name):
        raise BadRequest(
            "The trait is invalid. A valid trait must be no longer than 255 characters, start with the prefix "
            '"CUSTOM_" and use following characters: "A"-"Z", "0"-"9" and "_"'
        )
    with request.region.lock:
        there = is_trait(request.region, name)
    # (If another client created it a moment ago, that is as good.)
    is_new = not there and create_names(request, request.region.new_roots, TRAIT, [name])
    with request.region.lock:
        created = _created_ns(request, name)
    return timed(request, empty_response(request, 201 if is_new else 204, f"{request.prefix}/traits/{name}"), created)


def delete_trait(request, name):
    """Remove a trait of the cloud's own that no provider has."""
    request.authorize("placement:traits:delete")
    region = request.region
    with region.lock:
        _check_there(request, name)
        if name in STANDARD_TRAITS:
            raise BadRequest(f"Cannot delete standard trait {name}.")
        home = next(log for log in region.logs.values() if name in log.projection.custom_traits)
    refusals = {WriteRefused.UNKNOWN_TRAIT: (NotFound, None, "No such trait(s): {0}:")}
    with reserved(request, home, [removal_of(TRAIT, name)], [removal_of(TRAIT, name), creation_of(TRAIT, name)]):
        with region.lock:
            if region.table.has_trait(name).any():
                raise Conflict(f"The trait {name} is in use by a resource provider.")
            logs = [log for log in region.logs.values() if name in log.projection.custom_traits]
        for log in logs:
            request.write(log, events.TraitDeleted(name, *request.who()), refusals)
    return empty_response(request)


def list_traits_of_provider(request, uuid):
    """The traits of a provider."""
    request.authorize("placement:resource_providers:traits:list")
    table = request.region.table
    with request.region.lock:
        row = provider_of(request, uuid).row
        names, generation = traits_of(table, row), table.generation.item(row)
        modified = table.written_ns.item(row) if names else None
    return _answer(request, names, generation, modified)


def put_traits_of_provider(request, uuid):
    """Give a provider its traits, and no others."""
    request.authorize("placement:resource_providers:traits:update")
    data = request.read_json(schemas.PUT_OF_PROVIDER)
    generation, names = data["resource_provider_generation"], tuple(sorted(set(data["traits"])))
    region = request.region
    with region.lock:
        provider = provider_of(request, uuid)
        check_generation(request, provider, generation)
        unknown = [name for name in names if not is_trait(region, name)]
    if unknown:
        raise BadRequest(f"No such trait {', '.join(unknown)}", of_state=True)
    ensure_names(request, provider.log, traits=names)
    written = request.write(provider.log, events.TraitsPut(uuid, generation, names, *request.who()))
    return _answer(request, names, written.generation)


def delete_traits_of_provider(request, uuid):
    """Remove all traits of a provider."""
    request.authorize("placement:resource_providers:traits:delete")
    with request.region.lock:
        provider = provider_of(request, uuid)
    request.write(provider.log, events.TraitsPut(uuid, None, (), *request.who()))
    return empty_response(request)


def _check_there(request, name):
    if not is_trait(request.region, name):
        raise NotFound(f"No such trait(s): {name}.")


def _created_ns(request, name):
    for projection in request.region.projections():
        if name in projection.custom_traits:
            return projection.custom_traits[name]
    return None


def _used(table) -> set[str]:
    """The names of the traits that a provider has."""
    words = np.bitwise_or.reduce(table.trait_words[:, : table.count], axis=1).tolist() if table.count else []
    bits = sum(word << 64 * place for place, word in enumerate(words))
    return {name for index, name in enumerate(table.traits.values) if bits >> index & 1}


def _answer(request, names, generation, modified=None):
    return list_response(request, "traits", list(names), modified, resource_provider_generation=generation)
