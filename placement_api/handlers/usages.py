"""``/usages``: how much is used, of a provider and by a project."""

import contextlib
import itertools

from placement_api.consumers import at_one_moment, decided_parts, given_back
from placement_api.handlers.allocations import UNKNOWN_TYPE
from placement_api.handlers.common import provider_of
from placement_api.http_errors import Unavailable
from placement_api.projects import consumers_of
from placement_api.responses import list_response
from placement_api.schemas import usages as schemas

BY_TYPE = (1, 38)
ALL_TYPES = "all"


def list_usages_of_provider(request, uuid):
    """How much is used of each class that a provider has."""
    request.authorize("placement:resource_providers:usages")
    table = request.region.table
    with request.region.lock:
        _, row, uuid = provider_of(request, uuid)
        names = table.classes.values
        used = {
            names[index]: table.used.item(index, row)
            for index in table.step_size[: len(names), row].nonzero()[0].tolist()
        }
        for (provider_uuid, name), amount in given_back(request.region).items():
            if provider_uuid == uuid and name in used:
                used[name] -= amount
        generation = table.generation.item(row)
    return list_response(request, "usages", used, resource_provider_generation=generation)


def list_usages(request):
    """How much a project uses, or a user in a project; from microversion 1.38 on for each type of consumers."""
    project_id, user_id = request.GET.get("project_id"), request.GET.get("user_id")
    request.authorize("placement:usages", {"project_id": project_id})
    request.check_query(schemas.LIST)
    used = _used_at_one_moment(request, project_id, user_id)
    if request.version < BY_TYPE:
        total: dict[str, int] = {}
        for _, amounts in used.values():
            for name, amount in amounts.items():
                total[name] = total.get(name, 0) + amount
        return list_response(request, "usages", total)
    wanted = request.GET.get("consumer_type")
    if wanted == ALL_TYPES:
        merged: dict[str, int] = {}
        for _, amounts in used.values():
            for name, amount in amounts.items():
                merged[name] = merged.get(name, 0) + amount
        used = {ALL_TYPES: (set().union(*(holders for holders, _ in used.values())), merged)} if used else {}
    elif wanted is not None:
        used = {name: found for name, found in used.items() if name == wanted}
    usages = {name: {**amounts, "consumer_count": len(holders)} for name, (holders, amounts) in used.items()}
    return list_response(request, "usages", usages)


def _used_at_one_moment(request, project_id, user_id):
    """As :func:`_used`, without half of a write over several logs."""
    region = request.region
    states = region.projections
    with region.lock:
        if not any(state.steps_over_logs or state.prepared or state.committed for state in states()):
            return _used(request, project_id, user_id)

    def fence():
        # (Without any fence the last state is shown, marked as stale.)
        with contextlib.suppress(Unavailable):
            request.fence_again()

    return at_one_moment(
        region,
        fence,
        lambda: tuple((state, state.steps_over_logs) for state in states()),
        lambda: _used(request, project_id, user_id),
    )


def _used(request, project_id, user_id):
    """Type of consumers -> (uuids of the consumers, class -> amount). A consumer may hold something in several logs."""
    options, asked, users = request.conf.placement_api, [project_id], [user_id]
    # (Placement keeps consumers without an owner under these two.)
    if project_id == options.incomplete_consumer_project_id:
        asked.append(None)
    if user_id == options.incomplete_consumer_user_id:
        users.append(None)
    found: dict[str, tuple[set[str], dict[str, int]]] = {}
    for log in request.region.logs.values():
        for consumer_uuid, facts, allocations in _holding(request.region, log, asked):
            if user_id is None or facts.user_id in users:
                holders, amounts = found.setdefault(facts.consumer_type or UNKNOWN_TYPE, (set(), {}))
                holders.add(consumer_uuid)
                for _, name, amount in allocations:
                    amounts[name] = amounts.get(name, 0) + amount
    return found


def _holding(region, log, projects):
    """(Uuid, what is known of it, its allocations) of each consumer of some projects that holds something in a log.
    What is held for a write over several logs that is under way belongs to nobody yet."""
    projection, decided = log.projection, decided_parts(region, log)
    for consumer_uuid in itertools.chain.from_iterable(consumers_of(projection, one) for one in projects):
        if consumer_uuid not in decided and consumer_uuid not in projection.prepared:
            entries = projection.consumers[consumer_uuid]
            allocations = (one for entry in entries for one in entry.allocations)
            yield consumer_uuid, projection.holders[consumer_uuid], allocations
    for part in decided.values():
        if part.project_id in projects and part.allocations:
            yield part.consumer_uuid, part, part.allocations
