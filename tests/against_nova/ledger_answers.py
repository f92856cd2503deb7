"""What Placement's API makes of our events and of our state: the request that an event records, the status and code of
a refusal, and the answers to queries."""

from collections import defaultdict
from typing import NamedTuple

from nova_sched.projection.provider_rows import inventories_of, parent_of, traits_of
from nova_sched.projection.write_refusals import WriteRefused
from tests.against_nova.ledger_writes import (
    AGGREGATES,
    CLASSES,
    CUSTOM_CLASSES,
    CUSTOM_TRAITS,
    NAMES,
    NOBODY,
    PROJECTS,
    PROVIDERS,
    TRAITS,
    TYPES,
    USERS,
)

# --- the request that an event records -------------------------------------------------------------------------------


def request_of(write):
    """(method, path, body) of the request that a write records."""
    return _REQUESTS[type(write.event).schema.__name__](write, write.event)


def _provider(write, event):
    body = {"name": event.name, "parent_provider_uuid": event.parent_uuid}
    return "PUT", f"/resource_providers/{event.provider_uuid}", body


def _inventory(inventory):
    return dict(zip(inventory._fields[1:], inventory[1:], strict=True))


def _inventories(write, event):
    path = f"/resource_providers/{event.provider_uuid}/inventories"
    if event.kind == "all" and event.generation is None:
        return "DELETE", path, None
    if event.kind == "all":
        return "PUT", path, _all_inventories(event)
    (inventory,) = event.inventories
    if event.kind == "add":
        return "POST", path, {"resource_class": inventory.resource_class, **_inventory(inventory)}
    path += f"/{inventory.resource_class}"
    if event.kind == "remove":
        return "DELETE", path, None
    return "PUT", path, {"resource_provider_generation": event.generation, **_inventory(inventory)}


def _all_inventories(event):
    return {
        "resource_provider_generation": event.generation,
        "inventories": {one.resource_class: _inventory(one) for one in event.inventories},
    }


def _traits(write, event):
    path = f"/resource_providers/{event.provider_uuid}/traits"
    if event.generation is None:
        return "DELETE", path, None
    return "PUT", path, {"resource_provider_generation": event.generation, "traits": list(event.traits)}


def _aggregates(write, event):
    body = list(event.aggregates)
    if event.generation is not None:
        body = {"resource_provider_generation": event.generation, "aggregates": body}
    return "PUT", f"/resource_providers/{event.provider_uuid}/aggregates", body


def _consumer(write, consumer):
    allocations = defaultdict(lambda: {"resources": {}})
    for provider, name, amount in consumer.allocations:
        allocations[provider]["resources"][name] = amount
    body = {"allocations": allocations, "project_id": consumer.project_id, "user_id": consumer.user_id}
    if consumer.guarded:
        body["consumer_generation"] = consumer.generation
    if consumer.consumer_type is not None:
        body["consumer_type"] = consumer.consumer_type
    return body


def _allocations(write, event):
    if not write.post:
        (consumer,) = event.consumers
        return "PUT", f"/allocations/{consumer.consumer_uuid}", _consumer(write, consumer)
    return "POST", "/allocations", {one.consumer_uuid: _consumer(write, one) for one in event.consumers}


def _reshape(write, event):
    body = {
        "inventories": {one.provider_uuid: _all_inventories(one) for one in event.inventories},
        "allocations": {one.consumer_uuid: _consumer(write, one) for one in event.consumers},
    }
    return "POST", "/reshaper", body


_REQUESTS = {
    "ProviderCreated": lambda write, event: (
        "POST",
        "/resource_providers",
        {"uuid": event.provider_uuid, "name": event.name, "parent_provider_uuid": event.parent_uuid},
    ),
    "ProviderChanged": _provider,
    "ProviderDeleted": lambda write, event: ("DELETE", f"/resource_providers/{event.provider_uuid}", None),
    "InventoriesPut": _inventories,
    "TraitsPut": _traits,
    "AggregatesPut": _aggregates,
    "AllocationsPut": _allocations,
    "AllocationsDropped": lambda write, event: ("DELETE", f"/allocations/{event.consumer_uuid}", None),
    "Reshaped": _reshape,
    "ClassCreated": lambda write, event: ("POST", "/resource_classes", {"name": event.name}),
    "ClassRenamed": lambda write, event: ("PUT", f"/resource_classes/{event.name}", {"name": event.new_name}),
    "ClassDeleted": lambda write, event: ("DELETE", f"/resource_classes/{event.name}", None),
    "TraitCreated": lambda write, event: ("PUT", f"/traits/{event.name}", None),
    "TraitDeleted": lambda write, event: ("DELETE", f"/traits/{event.name}", None),
}

# --- the status and code of an outcome -------------------------------------------------------------------------------

UNDEFINED = "undefined_code"
CONFLICT = 409, "concurrent_update"
#: Kind of a write -> our refusal -> status and code of Placement's answer.
REFUSALS = {
    "ProviderCreated": {
        WriteRefused.OWN_PARENT: (400, UNDEFINED),
        WriteRefused.UNKNOWN_PARENT: (400, UNDEFINED),
        WriteRefused.UUID_TAKEN: (409, "duplicate_name"),
        WriteRefused.NAME_TAKEN: (409, "duplicate_name"),
    },
    "ProviderChanged": {
        WriteRefused.UNKNOWN_PROVIDER: (404, UNDEFINED),
        WriteRefused.UNKNOWN_PARENT: (400, UNDEFINED),
        WriteRefused.MAY_NOT_MOVE: (400, UNDEFINED),
        WriteRefused.LOOP: (400, UNDEFINED),
        WriteRefused.NAME_TAKEN: (409, "duplicate_name"),
    },
    "ProviderDeleted": {
        WriteRefused.UNKNOWN_PROVIDER: (404, UNDEFINED),
        WriteRefused.HAS_CHILDREN: (409, "resource_provider.cannot_delete_parent"),
        WriteRefused.IN_USE: (409, "resource_provider.inuse"),
    },
    "InventoriesPut all": {
        WriteRefused.UNKNOWN_PROVIDER: (404, UNDEFINED),
        WriteRefused.GENERATION: CONFLICT,
        WriteRefused.UNKNOWN_CLASS: (400, UNDEFINED),
        WriteRefused.INVENTORY_IN_USE: (409, "inventory.inuse"),
    },
    "InventoriesPut add": {
        WriteRefused.UNKNOWN_PROVIDER: (404, UNDEFINED),
        WriteRefused.UNKNOWN_CLASS: (400, UNDEFINED),
        WriteRefused.HAS_INVENTORY: CONFLICT,
    },
    "InventoriesPut change": {
        WriteRefused.UNKNOWN_PROVIDER: (404, UNDEFINED),
        WriteRefused.GENERATION: CONFLICT,
        WriteRefused.UNKNOWN_CLASS: (404, UNDEFINED),
        WriteRefused.NO_INVENTORY: (400, UNDEFINED),
    },
    "InventoriesPut remove": {
        WriteRefused.UNKNOWN_PROVIDER: (404, UNDEFINED),
        WriteRefused.UNKNOWN_CLASS: (404, UNDEFINED),
        WriteRefused.NO_INVENTORY: (404, UNDEFINED),
        WriteRefused.INVENTORY_IN_USE: CONFLICT,
    },
    "TraitsPut": {
        WriteRefused.UNKNOWN_PROVIDER: (404, UNDEFINED),
        WriteRefused.GENERATION: CONFLICT,
        WriteRefused.UNKNOWN_TRAIT: (400, UNDEFINED),
    },
    "AggregatesPut": {WriteRefused.UNKNOWN_PROVIDER: (404, UNDEFINED), WriteRefused.GENERATION: CONFLICT},
    "AllocationsPut": {
        WriteRefused.CONSUMER_GENERATION: CONFLICT,
        WriteRefused.UNKNOWN_PROVIDER: (400, UNDEFINED),
        WriteRefused.UNKNOWN_CLASS: (400, UNDEFINED),
        WriteRefused.NO_INVENTORY: (409, UNDEFINED),
        WriteRefused.UNITS: (409, UNDEFINED),
        WriteRefused.CAPACITY: (409, UNDEFINED),
    },
    "AllocationsDropped": {WriteRefused.NOTHING_HELD: (404, UNDEFINED)},
    "Reshaped": {
        # Of the inventories; a provider that only the allocations name is "undefined_code", see expected().
        WriteRefused.UNKNOWN_PROVIDER: (400, "resource_provider.not_found"),
        WriteRefused.GENERATION: CONFLICT,
        WriteRefused.CONSUMER_GENERATION: CONFLICT,
        WriteRefused.UNKNOWN_CLASS: (400, UNDEFINED),
        WriteRefused.NO_INVENTORY: (409, UNDEFINED),
        WriteRefused.UNITS: (409, UNDEFINED),
        WriteRefused.CAPACITY: (409, UNDEFINED),
        WriteRefused.INVENTORY_IN_USE: (409, "inventory.inuse"),
    },
    "ClassCreated": {WriteRefused.CLASS_EXISTS: (409, UNDEFINED)},
    "ClassRenamed": {WriteRefused.UNKNOWN_CLASS: (404, UNDEFINED), WriteRefused.CLASS_EXISTS: (409, UNDEFINED)},
    "ClassDeleted": {WriteRefused.UNKNOWN_CLASS: (404, UNDEFINED), WriteRefused.CLASS_IN_USE: (409, UNDEFINED)},
    # To create a trait again is no error in the API.
    "TraitCreated": {WriteRefused.TRAIT_EXISTS: (204, None)},
    "TraitDeleted": {WriteRefused.UNKNOWN_TRAIT: (404, UNDEFINED), WriteRefused.TRAIT_IN_USE: (409, UNDEFINED)},
}
#: Our refusals that Placement does not have, as it does not know hosts.
OURS = {WriteRefused.IS_HOST}
#: The first microversion that has codes in its errors, the minor part.
CODES_SINCE = 23


def kind_of(event):
    """The kind of a write: a key of :data:`REFUSALS`."""
    name = type(event).schema.__name__
    return f"{name} {event.kind}" if name == "InventoriesPut" else name


def expected(write, reason):
    """(status, code) of the answer to a write, by its reason; (None, None) if it was accepted."""
    if reason is None:
        return None, None
    status, code = REFUSALS[kind_of(write.event)][reason.code]
    if kind_of(write.event) == "Reshaped" and reason.code is WriteRefused.UNKNOWN_PROVIDER:
        named = {one.provider_uuid for one in write.event.inventories}
        code = code if reason.facts[0] in named else UNDEFINED
    return status, code if int(write.version[2:]) >= CODES_SINCE else None


def found(status, body, version):
    """(status, code) of an answer of Placement; (None, None) if the write was accepted and changed something."""
    if status < 300:
        return None, None
    code = None
    if int(version[2:]) >= CODES_SINCE:
        code = body["errors"][0]["code"].removeprefix("placement.")
    return status, code


# --- the state -------------------------------------------------------------------------------------------------------


def state_of(projection):
    """All that clients of the API can read of a projection, as plain values."""
    table = projection.table
    providers = {}
    for uuid, tree in projection.trees.items():
        row = tree.rows[uuid]
        inventories = inventories_of(table, row)
        providers[uuid] = {
            "name": table.provider_names[row],
            "parent": parent_of(table, row),
            "root": table.uuids[tree.root],
            "generation": table.generation.item(row),
            "inventories": {name: tuple(inventory[1:]) for name, inventory in inventories.items()},
            "used": {name: table.used.item(table.classes.get(name), row) for name in inventories},
            "traits": list(traits_of(table, row)),
            "aggregates": sorted(table.row_aggregates[row]),
        }
    consumers = {}
    for uuid, holder in projection.holders.items():
        allocations = defaultdict(dict)
        for entry in projection.consumers[uuid]:
            for provider, name, amount in entry.allocations:
                allocations[provider][name] = amount
        consumers[uuid] = {
            "generation": holder.generation,
            "project": holder.project_id,
            "user": holder.user_id,
            "type": holder.consumer_type,
            "allocations": allocations,
        }
    return {
        "providers": providers,
        "consumers": consumers,
        "classes": sorted(projection.custom_classes),
        "traits": sorted(projection.custom_traits),
    }


# --- queries ---------------------------------------------------------------------------------------------------------


class Query(NamedTuple):
    """The path of a query, the answer to it by our state, and a function that makes the same of Placement's body."""

    path: str
    status: int
    answer: object
    of: object


def query(draw, state):
    """A random query of a state, and its answer."""
    return draw.choice((_list, _list, _list, _one_provider, _one_provider, _one_consumer, _usages, _names))(draw, state)


def _in_list(values):
    """Values of a query parameter; several are alternatives."""
    return values[0] if len(values) == 1 else "in:" + ",".join(values)


def _list(draw, state):
    """A list of providers."""
    if draw.random() < 0.05:
        path = draw.choice(("required=CUSTOM_UNKNOWN", "resources=CUSTOM_UNKNOWN:1", "required=!CUSTOM_UNKNOWN"))
        return Query(f"/resource_providers?{path}", 400, None, lambda body: None)
    filters, parameters = [], []
    for kind in draw.sample(list(_FILTERS), draw.choice((0, 1, 1, 1, 2, 2, 3))):
        parameter, passes = _FILTERS[kind](draw, state)
        filters.append(passes)
        parameters += parameter
    answer = sorted(
        (uuid, facts["name"], facts["generation"], facts["parent"], facts["root"])
        for uuid, facts in state["providers"].items()
        if all(passes(uuid, facts) for passes in filters)
    )
    return Query("/resource_providers?" + "&".join(parameters), 200, answer, _listed)


_LISTED = ("uuid", "name", "generation", "parent_provider_uuid", "root_provider_uuid")


def _listed(body):
    return sorted(tuple(one[name] for name in _LISTED) for one in body["resource_providers"])


def _by_name(draw, state):
    name = draw.choice(NAMES)
    return [f"name={name}"], lambda uuid, facts: facts["name"] == name


def _by_uuid(draw, state):
    wanted = draw.choice(PROVIDERS)
    return [f"uuid={wanted}"], lambda uuid, facts: uuid == wanted


def _by_tree(draw, state):
    member = draw.choice([*PROVIDERS, NOBODY])
    root = state["providers"].get(member, {"root": None})["root"]
    return [f"in_tree={member}"], lambda uuid, facts: facts["root"] == root


def _by_aggregates(draw, state):
    wanted = [draw.sample(AGGREGATES, draw.choice((1, 1, 2))) for _ in range(draw.choice((0, 1, 1, 2)))]
    barred = draw.sample(AGGREGATES, draw.choice((0, 0, 1, 2)))
    parameters = [f"member_of={_in_list(group)}" for group in wanted]
    parameters += [f"member_of=!{_in_list(barred)}"] if barred else []

    def passes(uuid, facts):
        own = set(facts["aggregates"])
        return all(own & set(group) for group in wanted) and not own & set(barred)

    return parameters, passes


def _by_traits(draw, state):
    known = TRAITS + state["traits"]
    wanted = [draw.sample(known, draw.choice((1, 1, 2))) for _ in range(draw.choice((0, 1, 1, 2)))]
    barred = draw.sample(known, draw.choice((0, 0, 1, 2)))
    # A trait that is wanted for itself and barred is an error.
    barred = [trait for trait in barred if not any(trait in group for group in wanted)]
    parameters = [f"required={_in_list(group)}" for group in wanted]
    parameters += [f"required={','.join('!' + trait for trait in barred)}"] if barred else []

    def passes(uuid, facts):
        own = set(facts["traits"])
        return all(own & set(group) for group in wanted) and not own & set(barred)

    return parameters, passes


def _by_resources(draw, state):
    names = CLASSES + state["classes"]
    wanted = {name: draw.randrange(1, 8) for name in draw.sample(names, draw.choice((1, 1, 2)))}

    def passes(uuid, facts):
        return all(_fits(facts, name, amount) for name, amount in wanted.items())

    return ["resources=" + ",".join(f"{name}:{amount}" for name, amount in wanted.items())], passes


def _fits(facts, name, amount):
    if name not in facts["inventories"]:
        return False
    total, reserved, least, most, step, ratio = facts["inventories"][name]
    fits = facts["used"][name] + amount <= (total - reserved) * ratio
    return fits and least <= amount <= most and amount % step == 0


_FILTERS = {
    "name": _by_name,
    "uuid": _by_uuid,
    "in_tree": _by_tree,
    "member_of": _by_aggregates,
    "required": _by_traits,
    "resources": _by_resources,
}


def _one_provider(draw, state):
    """One provider, or a part of what it has."""
    known = sorted(state["providers"])
    uuid = draw.choice(known) if known and draw.random() < 0.95 else draw.choice([*PROVIDERS, NOBODY])
    part = draw.choice(list(_PARTS))
    path = f"/resource_providers/{uuid}{part}"
    if uuid not in state["providers"]:
        return Query(path, 404, None, lambda body: None)
    return Query(path, 200, _PARTS[part](uuid, state["providers"][uuid], state), _without_links)


def _without_links(body):
    body.pop("links", None)
    for name in ("traits", "aggregates"):
        if name in body:
            body[name] = sorted(body[name])
    return body


_INVENTORY = ("total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio")
_PARTS = {
    "": lambda uuid, facts, state: {
        "uuid": uuid,
        "name": facts["name"],
        "generation": facts["generation"],
        "parent_provider_uuid": facts["parent"],
        "root_provider_uuid": facts["root"],
    },
    "/inventories": lambda uuid, facts, state: {
        "resource_provider_generation": facts["generation"],
        "inventories": {name: dict(zip(_INVENTORY, has, strict=True)) for name, has in facts["inventories"].items()},
    },
    "/usages": lambda uuid, facts, state: {
        "resource_provider_generation": facts["generation"],
        "usages": facts["used"],
    },
    "/traits": lambda uuid, facts, state: {
        "resource_provider_generation": facts["generation"],
        "traits": facts["traits"],
    },
    "/aggregates": lambda uuid, facts, state: {
        "resource_provider_generation": facts["generation"],
        "aggregates": facts["aggregates"],
    },
    "/allocations": lambda uuid, facts, state: {
        "resource_provider_generation": facts["generation"],
        "allocations": {
            consumer: {"resources": holds["allocations"][uuid], "consumer_generation": holds["generation"]}
            for consumer, holds in state["consumers"].items()
            if uuid in holds["allocations"]
        },
    },
}


def _one_consumer(draw, state):
    """What one consumer holds; seldom of one that holds nothing."""
    uuid = draw.choice([*sorted(state["consumers"]), NOBODY])
    answer = {"allocations": {}}
    if uuid in state["consumers"]:
        holds = state["consumers"][uuid]
        answer = {
            "allocations": {
                provider: {"resources": resources, "generation": state["providers"][provider]["generation"]}
                for provider, resources in holds["allocations"].items()
            },
            "project_id": holds["project"],
            "user_id": holds["user"],
            "consumer_generation": holds["generation"],
            "consumer_type": holds["type"] or "unknown",
        }
    return Query(f"/allocations/{uuid}", 200, answer, dict)


def _usages(draw, state):
    """What a project uses, by the types of its consumers."""
    project, user = draw.choice(PROJECTS), draw.choice((*USERS, None, None))
    kind = draw.choice((*TYPES, "all", "unknown", None, None))
    usages = defaultdict(lambda: defaultdict(int))
    for holds in state["consumers"].values():
        own = holds["type"] or "unknown"
        if holds["project"] == project and user in (None, holds["user"]) and kind in (None, "all", own):
            shown = usages["all" if kind == "all" else own]
            shown["consumer_count"] += 1
            for resources in holds["allocations"].values():
                for name, amount in resources.items():
                    shown[name] += amount
    path = f"/usages?project_id={project}"
    path += f"&user_id={user}" if user else ""
    path += f"&consumer_type={kind}" if kind else ""
    return Query(path, 200, usages, lambda body: body["usages"])


def _names(draw, state):
    """Names of resource classes or traits."""
    if draw.random() < 0.3:
        return Query(
            "/resource_classes",
            200,
            state["classes"],
            lambda body: sorted(one["name"] for one in body["resource_classes"] if one["name"].startswith("CUSTOM_")),
        )
    used = {trait for facts in state["providers"].values() for trait in facts["traits"]}
    if draw.random() < 0.5:
        return Query("/traits?associated=true", 200, sorted(used), lambda body: sorted(body["traits"]))
    if draw.random() < 0.5:
        return Query("/traits?name=startswith:CUSTOM_", 200, state["traits"], lambda body: sorted(body["traits"]))
    kind, name, known = draw.choice(
        (
            ("traits", draw.choice(CUSTOM_TRAITS), state["traits"]),
            ("resource_classes", draw.choice(CUSTOM_CLASSES), state["classes"]),
        )
    )
    there = 204 if kind == "traits" else 200
    return Query(f"/{kind}/{name}", there if name in known else 404, None, lambda body: None)
