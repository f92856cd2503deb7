"""``/allocations``: what consumers hold of providers."""

from nova_sched.projection.ledger import Host
from nova_sched.projection.write_refusals import WriteRefused
from nova_sched.projection.writes import put_refusal
from placement_api import consumers, http_errors, several_logs
from placement_api.handlers.common import by_uuid, ensure_names, is_class, provider_of
from placement_api.http_errors import BadRequest, Conflict, NotFound, Unavailable
from placement_api.refusals import CONSUMER_CONFLICT, Answers, error_of
from placement_api.request import uuid_of
from placement_api.responses import empty_response, list_response
from placement_api.schemas import allocations as schemas
from placement_api.schemas.terms import claim_terms
from rpc_api import events

#: First microversion in which an answer or a body has ...
PROJECT, BY_PROVIDER, GENERATION, TYPE = (1, 12), (1, 12), (1, 28), (1, 38)
#: What the API says of a consumer whose type nobody named.
UNKNOWN_TYPE = "unknown"

REFUSALS: Answers = {
    WriteRefused.UNKNOWN_PROVIDER: (BadRequest, None, "Allocation for resource provider '{0}' that does not exist:"),
    WriteRefused.UNKNOWN_CLASS: (
        BadRequest,
        None,
        "Unable to allocate inventory for consumer: No such resource class {0}:",
    ),
    WriteRefused.NO_INVENTORY: (
        Conflict,
        None,
        "Unable to allocate inventory: Inventory for '{1}' on resource provider '{0}' invalid:",
    ),
}


def list_allocations(request, consumer_uuid):
    """What a consumer holds; nothing for one that is not known."""
    request.authorize("placement:allocations:list")
    consumer_uuid = uuid_of(consumer_uuid) or consumer_uuid
    region = request.region

    def read():
        if consumers.is_undecided(region, request.missed, consumer_uuid):
            raise Unavailable(
                f"Consumer {consumer_uuid} was written over several cells, and the log of one of them is not read up "
                "to the end of that; try again later."
            )
        logs = consumers.logs_of(region, consumer_uuid)
        return (
            *_held(region, logs, consumer_uuid),
            consumers.facts_of(region, logs, consumer_uuid),
            consumers.generation_of(region, logs, consumer_uuid),
        )

    if len(region.logs) > 1:
        found = consumers.at_one_moment(
            region, request.fence_again, lambda: consumers.state_of(region, consumer_uuid), read
        )
    else:
        if region.has_neighbours:
            request.fence()
        with region.lock:
            found = read()
    by_provider, modified, facts, generation = found
    more = {}
    if facts is not None and request.version >= PROJECT:
        more["project_id"] = facts.project_id or request.conf.placement_api.incomplete_consumer_project_id
        more["user_id"] = facts.user_id or request.conf.placement_api.incomplete_consumer_user_id
        if request.version >= GENERATION:
            more["consumer_generation"] = generation
        if request.version >= TYPE:
            more["consumer_type"] = facts.consumer_type or UNKNOWN_TYPE
    return list_response(request, "allocations", by_provider, modified, **more)


def list_allocations_of_provider(request, uuid):
    """Who holds what of a provider."""
    request.authorize("placement:resource_providers:allocations:list")
    region, by_consumer, modified = request.region, {}, None
    with region.lock:
        provider = provider_of(request, uuid)
        projection = provider.log.projection
        tree = projection.trees[uuid]
        entries = list((tree.entries if type(tree) is Host else tree.users).values())
        generation = region.table.generation.item(provider.row)
        decided = consumers.decided_parts(region, provider.log)
        hidden = decided.keys() | projection.prepared.keys()
        for holding in (*(entry for entry in entries if entry.consumer_uuid not in hidden), *decided.values()):
            consumer_uuid = holding.consumer_uuid
            for _, name, amount in (one for one in holding.allocations if one.provider_uuid == uuid):
                resources = by_consumer.setdefault(consumer_uuid, {"resources": {}})["resources"]
                resources[name] = resources.get(name, 0) + amount
        for consumer_uuid, found in by_consumer.items():
            if request.version >= GENERATION:
                logs = consumers.logs_of(region, consumer_uuid)
                found["consumer_generation"] = consumers.generation_of(region, logs, consumer_uuid)
            if consumer_uuid in projection.holders:
                modified = max(modified or 0, projection.holders[consumer_uuid].written_ns)
    return list_response(request, "allocations", by_consumer, modified, resource_provider_generation=generation)


def put_allocations(request, consumer_uuid):
    """Write what one consumer holds."""
    request.authorize("placement:allocations:update")
    uuid = uuid_of(consumer_uuid)
    if uuid is None:
        raise BadRequest(f"Malformed consumer_uuid: {consumer_uuid}")
    data = request.read_json(schemas.PUT)
    if request.version < BY_PROVIDER:
        data["allocations"] = {one["resource_provider"]["uuid"]: one for one in data["allocations"]}
    put(request, [consumer_of(request, uuid, data)])
    return empty_response(request)


def post_allocations(request):
    """Write what several consumers hold, all or nothing."""
    request.authorize("placement:allocations:manage")
    data = request.read_json(schemas.POST)
    put(request, [consumer_of(request, uuid, one) for uuid, one in by_uuid("consumer", data).items()])
    return empty_response(request)


def delete_allocations(request, consumer_uuid):
    """Remove what a consumer holds."""
    request.authorize("placement:allocations:delete")
    consumer_uuid = uuid_of(consumer_uuid) or consumer_uuid
    region, nothing = request.region, f"No allocations for consumer '{consumer_uuid}'"
    is_region = len(region.logs) > 1
    if is_region:
        # All logs that have it must be known.
        request.fence_before_removal()
    logs = _logs_to_write(region, consumer_uuid)
    if not logs:
        raise NotFound(nothing)
    while logs:
        if len(logs) == 1:
            refusals = {WriteRefused.NOTHING_HELD: (NotFound, None, nothing)}
            request.write(logs[0], events.AllocationsDropped(consumer_uuid, *request.who()), refusals)
        else:
            gone = events.ConsumerPut(consumer_uuid, False, None, "", "", None, ())
            with region.lock:
                parts = {log: [_part(region, log, gone, ())] for log in logs}
            several_logs.write(request, parts, REFUSALS)
        if not is_region:
            break
        # Another request may have moved it to another log before it was removed from these.
        region.check_away(region.fence())
        logs = _logs_to_write(region, consumer_uuid)
    return empty_response(request)


def _logs_to_write(region, consumer_uuid):
    """The logs that have a consumer. Conflict while a write over several logs names it."""
    with region.lock:
        _check_lock(region, consumer_uuid)
        return consumers.logs_of(region, consumer_uuid)


# --- writing ---------------------------------------------------------------------------------------------------------


def consumer_of(request, uuid: str, data) -> events.ConsumerPut:
    """The record of one consumer in a body of PUT, POST or a reshape."""
    options = request.conf.placement_api
    guarded = request.version >= GENERATION
    allocations = [
        events.Allocation(provider, resource_class, amount)
        for provider, one in by_uuid("resource provider", data["allocations"]).items()
        for resource_class, amount in one["resources"].items()
    ]
    return events.ConsumerPut(
        uuid,
        guarded,
        data["consumer_generation"] if guarded else None,
        data.get("project_id") or options.incomplete_consumer_project_id,
        data.get("user_id") or options.incomplete_consumer_user_id,
        _type_of(data),
        tuple(allocations),
        _terms_of(request, uuid, data.get(schemas.TERMS), allocations),
    )


def _type_of(data):
    consumer_type = data.get("consumer_type")
    return None if consumer_type == UNKNOWN_TYPE else consumer_type


def _terms_of(request, consumer_uuid, own, allocations):
    """The terms under which our scheduler offered the allocations, for their host; None without any."""
    if own is None:
        return None
    with request.region.lock:
        trees = [request.region.tree_of(one.provider_uuid) for one in allocations]
    host = next((tree.name for tree in trees if type(tree) is Host), None)
    terms = claim_terms(own, host or "", consumer_uuid)
    return None if host is None else terms


def put(request, asked) -> None:
    """Write what some consumers (ConsumerPut) hold: in one event of the log of their providers, or in two steps in
    several logs."""
    fence_before(request, asked)
    parts = parts_of(request, asked)
    with request.region.lock:
        _check_classes(request, asked)
    for log, part in parts.items():
        ensure_names(request, log, {one.resource_class for consumer in part for one in consumer.allocations})
    with request.region.lock:
        for log, part in parts.items():
            reason = put_refusal(log.projection, part, {})
            if reason is not None:
                raise error_of(reason, REFUSALS)
    if parts:
        several_logs.write(request, parts, REFUSALS)


def fence_before(request, asked) -> None:
    """Wait for a fence if one of some consumers (ConsumerPut) is to hold nothing, or has no guard: that replaces what
    it holds in all logs, so these must be known."""
    if len(request.region.logs) > 1 and not all(one.guarded and one.allocations for one in asked):
        request.fence_before_removal()


def parts_of(request, asked) -> dict:
    """The parts of a write in each log that has providers or consumers of it: {LedgerLog: [ConsumerPut, ...]}."""
    region, parts = request.region, {}
    with region.lock:
        _check_generations(region, asked)
        for one in asked:
            logs = consumers.logs_of(region, one.consumer_uuid)
            by_log = {log: [] for log in logs}
            if one.consumer_type is None and len(region.logs) > 1 and logs:
                # It keeps its type in a log that does not know it yet.
                one = one._replace(consumer_type=consumers.facts_of(region, logs, one.consumer_uuid).consumer_type)
            for allocation in one.allocations:
                log = region.log_of(allocation.provider_uuid)
                if log is None:
                    raise BadRequest(
                        f"Allocation for resource provider '{allocation.provider_uuid}' that does not exist.",
                        of_state=True,
                    )
                by_log.setdefault(log, []).append(allocation)
            for log, allocations in by_log.items():
                parts.setdefault(log, []).append(_part(region, log, one, allocations))
    return parts


def _part(region, log, consumer, allocations):
    """What a log gets of the record of a consumer. Its guard is the generation that the consumer has in this log. With
    several logs each part has one, also if the client has none: which logs have the consumer must not change."""
    holder = log.projection.holders.get(consumer.consumer_uuid)
    guarded = consumer.guarded or len(region.logs) > 1
    generation = holder.generation if guarded and holder is not None else None
    terms = consumer.terms
    if terms is not None and terms.host not in log.projection.hosts:
        terms = None
    return consumer._replace(guarded=guarded, generation=generation, allocations=tuple(allocations), terms=terms)


def _check_generations(region, asked):
    for one in asked:
        _check_lock(region, one.consumer_uuid)
        found = consumers.generation_of(region, consumers.logs_of(region, one.consumer_uuid), one.consumer_uuid)
        if one.guarded and found != one.generation:
            raise Conflict(
                f"{CONSUMER_CONFLICT} - expected {'null' if found is None else found} but got "
                f"{'null' if one.generation is None else one.generation}",
                http_errors.CONCURRENT_UPDATE,
            )


def _check_lock(region, consumer_uuid):
    """Conflict while a write over several logs names a consumer: the logs that it does not name do not know of that."""
    cell = consumers.locked_in(region, consumer_uuid)
    if cell is not None:
        raise Conflict(
            f"{CONSUMER_CONFLICT}: a write over several cells that names consumer {consumer_uuid} is under way in "
            f"{cell}; repeat the request",
            http_errors.CONCURRENT_UPDATE,
        )


def _check_classes(request, asked):
    for consumer in asked:
        for one in consumer.allocations:
            if not is_class(request.region, one.resource_class):
                raise BadRequest(
                    f"Unable to allocate inventory for consumer {consumer.consumer_uuid}: "
                    f"No such resource class {one.resource_class}.",
                    of_state=True,
                )


def _held(region, logs, consumer_uuid):
    """(Provider -> its generation and what a consumer holds of it in some logs, when that was written)."""
    by_provider: dict[str, dict] = {}
    modified = None
    for log in logs:
        holder = log.projection.holders.get(consumer_uuid)
        modified = max(modified or 0, 0 if holder is None else holder.written_ns)
        for (provider_uuid, resource_class), amount in consumers.held_in(region, log, consumer_uuid).items():
            row = region.row_of(provider_uuid)
            if row is None:
                continue
            found = by_provider.setdefault(
                provider_uuid, {"generation": region.table.generation.item(row), "resources": {}}
            )
            found["resources"][resource_class] = amount
    return by_provider, modified
