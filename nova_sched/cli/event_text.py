"""The forms of an event: one line for people, JSON, and fields for templates and spreadsheets."""

from nova_sched.cli.output import stamp
from nova_sched.process.text import one_line
from nova_sched.replay.decisions.explanation import attempt_of
from nova_sched.replay.decisions.policies import differences
from nova_sched.replay.logs.matching import SET_ASIDE, projects_of, subjects
from nova_sched.replay.logs.plain import plain
from rpc_api import errors, events
from rpc_api.codec import SetAside
from rpc_api.events.claim import is_without_build
from rpc_api.wording import number_of

#: Colours of an event type on a terminal.
COLOURS = {
    "ClaimProposed": ("cyan",),
    "ClaimReleased": ("yellow",),
    "ClaimExpired": ("yellow",),
    "ClaimsWatched": ("dim",),
    "AllocationMoved": ("yellow",),
    "InstanceStarted": ("green",),
    "InstanceDeleted": ("green",),
    "DecisionMade": ("bold", "cyan"),
    "DecisionCompared": ("cyan",),
    "BuildFailed": ("red",),
    "RequestRefused": ("red",),
    "HostLost": ("red",),
    "HostRemoved": ("red",),
    "HostDisabled": ("bold", "yellow"),
    "HostEnabled": ("bold", "yellow"),
    SET_ASIDE: ("bold", "red"),
    "LogRebased": ("bold", "red"),
    "HostConfirmed": ("dim",),
    "AuthorityPassed": ("bold", "yellow"),
    **dict.fromkeys(
        (
            "AllocationsPut",
            "AllocationsDropped",
            "Reshaped",
            "AllocationsPrepared",
            "WriteCommitted",
            "WriteEnded",
            "ConsumerImported",
        ),
        ("cyan",),
    ),
    "WriteAborted": ("yellow",),
    **dict.fromkeys(
        (
            "ProviderCreated",
            "ProviderChanged",
            "ProviderDeleted",
            "InventoriesPut",
            "TraitsPut",
            "AggregatesPut",
            "ProviderImported",
        ),
        ("magenta",),
    ),
    **dict.fromkeys(("ClassCreated", "ClassRenamed", "ClassDeleted", "TraitCreated", "TraitDeleted"), ("blue",)),
}
#: Fields of an event for templates and tables.
FIELDS = (
    "at",
    "at_ns",
    "cell",
    "position",
    "index",
    "type",
    "host",
    "provider",
    "instance",
    "request",
    "user",
    "project",
    "producer",
    "sequence",
    "text",
    "outcome",
)
#: Keys of the JSON object of an event.
JSON_FIELDS = (
    "cell",
    "position",
    "index",
    "type",
    "version",
    "producer",
    "producer_epoch",
    "sequence",
    "at",
    "at_ns",
    "data",
    "set_aside",
    "reason",
    "raw",
    "outcome",
)
_WIDEST_TYPE = 15


def as_line(cell, position, index, event, paint=lambda text, *styles: text, notes=None) -> str:
    """Return one line: time, place, type, text and producer. ``notes`` (nova_sched.cli.event_notes.Notes) adds what the
    event alone does not contain."""
    where = f"{cell} {position}.{index}"
    if isinstance(event, SetAside):
        return " ".join(
            (
                f"{'-':<24}",
                f"{one_line(where):<14}",
                paint(f"{'SET ASIDE':<{_WIDEST_TYPE}}", *COLOURS[SET_ASIDE]),
                one_line(f"{event.code}: {event.reason}"),
            )
        )
    kind = paint(f"{event.name:<{_WIDEST_TYPE}}", *COLOURS.get(event.name, ()))
    return " ".join(
        (
            stamp(event.at_ns),
            f"{one_line(where):<14}",
            kind,
            one_line(_text(cell, position, index, event, notes)),
            paint(one_line(f"by {event.producer}#{event.sequence}"), "dim"),
        )
    )


def _text(cell, position, index, event, notes):
    return text_of(event) if notes is None else notes.text(cell, position, index, event)


def as_fields(cell, position, index, event, notes=None) -> dict:
    """Return a value for each of ``FIELDS``; None if the event does not have it."""
    fields = dict.fromkeys(FIELDS)
    fields |= {"cell": cell, "position": position, "index": index}
    if isinstance(event, SetAside):
        return fields | {"type": SET_ASIDE, "text": f"{event.code}: {event.reason}"}
    of = subjects(event)
    return fields | {
        "at": stamp(event.at_ns),
        "at_ns": event.at_ns,
        "type": event.name,
        "host": _first(of.hosts),
        "provider": _first(of.providers),
        "instance": _first(of.instances),
        "request": _first(of.requests),
        "user": getattr(event.data, "user_id", None),
        "project": _first(projects_of(event)),
        "producer": event.producer,
        "sequence": event.sequence,
        "text": _text(cell, position, index, event, notes),
        "outcome": _text_or_none(notes and notes.outcome(cell, position, event)),
    }


def _text_or_none(outcome):
    return None if outcome is None else str(outcome)


def _first(names):
    return names[0] if names else None


def as_json(cell, position, index, event, notes=None) -> dict:
    """Return a value for each of ``JSON_FIELDS``. Packed parts are unpacked, and nothing is left out."""
    found = dict.fromkeys(JSON_FIELDS)
    found |= {"cell": cell, "position": position, "index": index}
    if isinstance(event, SetAside):
        return found | {"type": SET_ASIDE, "set_aside": event.code, "reason": event.reason, "raw": event.raw.hex()}
    outcome = notes and notes.outcome(cell, position, event)
    return found | {
        "type": event.name,
        "version": event.version,
        "producer": event.producer,
        "producer_epoch": event.producer_epoch,
        "sequence": event.sequence,
        "at": stamp(event.at_ns),
        "at_ns": event.at_ns,
        "data": plain(event.data),
        "outcome": outcome and outcome._asdict(),
    }


# --- the text of each event ------------------------------------------------------------------------------------------


def text_of(event) -> str:
    """Return the content of an event in a few words, without its producer and time."""
    return _TEXTS.get(event.name, _all_fields)(event.data)


def _all_fields(data):
    return " ".join(f"{name}={_short(value)}" for name, value in data._asdict().items())


def _short(value):
    if isinstance(value, bytes):
        return f"<{number_of(len(value), 'byte')}>"
    if isinstance(value, tuple) and not hasattr(value, "_asdict"):
        return "[" + ",".join(map(_short, value)) + "]"
    if hasattr(value, "_asdict"):
        return ":".join(map(_short, value))
    return str(value)


def _amounts(allocations):
    totals = {}
    for allocation in allocations:
        totals[allocation.resource_class] = totals.get(allocation.resource_class, 0) + allocation.amount
    return " ".join(f"{name}={amount}" for name, amount in sorted(totals.items())) or "nothing"


def _reported(data):
    status = data.status
    words = [data.host, "disabled" if status.disabled else "enabled"]
    if status.disabled_reason:
        words.append(f"({status.disabled_reason})")
    if status.forced_down:
        words.append("forced down")
    try:
        words.append(f"{number_of(len(events.thaw('HostConsumers', data.consumers).consumers), 'instance')}")
        inventory = events.thaw("HostInventory", data.inventory)
        if inventory.root_uuid is not None:
            words.append(f"root provider {inventory.root_uuid}, authority {inventory.authority}")
        else:
            words.append(_totals(inventory.providers[0].inventories))
    except (errors.InvalidEvent, IndexError):
        words.append("a report of which a part cannot be read")
    return " ".join(
        words
        + [f"io_ops={status.num_io_ops}"] * bool(status.num_io_ops)
        + [f"failed_builds={status.failed_builds}"] * bool(status.failed_builds)
    )


def _totals(inventories):
    return " ".join(f"{inventory.resource_class}={inventory.total}" for inventory in inventories)


def _reported_providers(data):
    try:
        providers = events.thaw("ReportedProviders", data.providers).providers
        return f"{data.host} {_counted(providers, 'provider')}, {_totals(providers[0].inventories)}"
    except (errors.InvalidEvent, IndexError):
        return f"{data.host} a tree that cannot be read"


def _proposed(data):
    parts = [f"{data.instance_uuid} on {data.host}", _amounts(data.allocations)]
    if data.consumer_uuid != data.instance_uuid:
        parts.insert(1, f"for consumer {data.consumer_uuid}")
    if data.rule is not None:
        parts.append(f"{data.rule.policy} of group {data.rule.group_uuid}")
    user = "" if data.user_id is None else f" user {data.user_id}"
    return " ".join([*parts, "forced"] if data.forced else parts) + f" request {data.request_id}{user}"


def build_of(failed) -> str:
    """Return which build failed (a BuildFailed), counted from 1, or that no build was tried because the claim was
    refused."""
    if not is_without_build(failed.reason):
        return f"build {failed.attempt}"
    return f"not tried after {failed.attempt} {'build' if failed.attempt == 1 else 'builds'}"


def _decided(data):
    hosts = (
        f"{data.hosts[0]}" + (f" (then {', '.join(data.hosts[1:])})" if data.hosts[1:] else "") if data.hosts else ""
    )
    return " ".join(
        filter(
            None,
            (
                data.instance_uuid,
                data.outcome,
                hosts,
                f"attempt {attempt_of(data)}",
                data.reason,
                f"in {data.took_ns / 1e6:.1f} ms",
                f"request {data.request_id}",
            ),
        )
    )


def _adopted(data):
    try:
        changed = differences(None, data.options)
    except errors.InvalidEvent as fault:
        return f"{data.digest}: {fault}"
    return f"{data.digest}: " + (f"{', '.join(changed)}; all others are defaults" if changed else "the defaults")


def whole_policy(data) -> str:
    """Return all options of a PolicyAdopted."""
    return f"{data.digest} {data.options}"


# --- writes of Placement's API ---------------------------------------------------------------------------------------

#: The number of consumers or providers of one write that a line names.
NAMED = 3


def _by_request(data):
    return f" request {data.request_id}" + ("" if data.user_id is None else f" user {data.user_id}")


def _counted(things, word):
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


def _expected(generation):
    return "" if generation is None else f" if at generation {generation}"


def _some(texts):
    texts = list(texts)
    return "; ".join(texts[:NAMED]) + (f"; and {len(texts) - NAMED} more" if len(texts) > NAMED else "")


def consumer_put(one) -> str:
    """Return what a ConsumerPut gives to its consumer, and on which condition."""
    condition = "" if not one.guarded else " if new" if one.generation is None else _expected(one.generation)
    return f"{one.consumer_uuid} holds {_amounts(one.allocations)}{condition}"


def _named(data):
    parent = "" if data.parent_uuid is None else f" under {data.parent_uuid}"
    return f"{data.provider_uuid} {data.name}{parent}"


_KINDS = {"all": "has", "add": "gets", "change": "changes", "remove": "loses"}


def _inventories(data):
    totals = (
        " ".join(inventory.resource_class for inventory in data.inventories)
        if data.kind == "remove"
        else _totals(data.inventories)
    )
    return f"{data.provider_uuid} {_KINDS.get(data.kind, data.kind)} {totals or 'nothing'}{_expected(data.generation)}"


def _reshaped(data):
    return _some(
        [
            *(
                f"{one.provider_uuid} has {_totals(one.inventories) or 'nothing'}{_expected(one.generation)}"
                for one in data.inventories
            ),
            *map(consumer_put, data.consumers),
        ]
    )


#: Name of a write -> its text without the request.
_WRITES = {
    "ProviderCreated": _named,
    "ProviderChanged": _named,
    "ProviderDeleted": lambda data: data.provider_uuid,
    "InventoriesPut": _inventories,
    "TraitsPut": lambda data: (
        f"{data.provider_uuid} has {' '.join(data.traits) or 'no traits'}{_expected(data.generation)}"
    ),
    "AggregatesPut": lambda data: (
        f"{data.provider_uuid} is in {' '.join(data.aggregates) or 'no aggregate'}{_expected(data.generation)}"
    ),
    "AllocationsPut": lambda data: _some(map(consumer_put, data.consumers)) or "no consumers",
    "AllocationsDropped": lambda data: f"{data.consumer_uuid} holds nothing",
    "Reshaped": _reshaped,
    "AllocationsPrepared": lambda data: (
        f"{data.write_uuid} in {', '.join(data.logs)}, home {data.home}: {_some(map(consumer_put, data.consumers))}"
    ),
    **dict.fromkeys(
        ("WriteCommitted", "WriteAborted"), lambda data: f"{data.write_uuid} for {_some(data.consumer_uuids)}"
    ),
    "WriteEnded": lambda data: data.write_uuid,
    "ProviderImported": lambda data: (
        f"{_named(data)} with {_totals(data.inventories) or 'nothing'} at generation {data.generation}"
        + (" if new" if data.before is None else _expected(data.before))
    ),
    "ConsumerImported": lambda data: f"{consumer_put(data.consumer)} at generation {data.generation}",
    "ClassRenamed": lambda data: f"{data.name} to {data.new_name}",
    **dict.fromkeys(("ClassCreated", "ClassDeleted", "TraitCreated", "TraitDeleted"), lambda data: data.name),
}


def _with_request(text_of_write):
    return lambda data: text_of_write(data) + _by_request(data)


_TEXTS = {
    **{name: _with_request(text) for name, text in _WRITES.items()},
    "ProvidersReported": _reported_providers,
    "AuthorityPassed": lambda data: f"{data.host} to {data.authority}",
    "PolicyAdopted": _adopted,
    "HostReported": _reported,
    "HostConfirmed": lambda data: f"{data.host} is unchanged, digest {data.digest:013x}",
    "HostLost": lambda data: f"{data.host}: {data.reason}",
    "HostSeen": lambda data: data.host,
    "HostRemoved": lambda data: f"{data.host}: {data.reason}",
    "HostDisabled": lambda data: f"{data.host}: {data.reason}" if data.reason else data.host,
    "HostEnabled": lambda data: data.host,
    "InstancesTracked": lambda data: (
        f"{data.host} has {number_of(len(data.instances), 'instance')}, {len(data.gone)} gone"
    ),
    "ClaimProposed": _proposed,
    "ClaimReleased": lambda data: f"{data.consumer_uuid} claim {data.claim_uuid}: {data.reason}",
    "ClaimExpired": lambda data: f"{data.consumer_uuid} claim {data.claim_uuid}",
    "ClaimsWatched": lambda data: (
        f"for {data.watched_ms / 1000:g} s after {data.after_ms / 1000:g} s, {len(data.building)} being built"
    ),
    "InstanceStarted": lambda data: (
        f"{data.consumer.instance_uuid} on {data.host} {_amounts(data.consumer.allocations)}"
    ),
    "InstanceDeleted": lambda data: f"{data.instance_uuid} on {data.host}",
    "AllocationMoved": lambda data: f"on {data.host} from {data.from_consumer_uuid} to {data.to_consumer_uuid}",
    "BuildFailed": lambda data: (
        f"{data.instance_uuid} on {data.host} {build_of(data)}"
        f"{', the last' if data.final else ''}: {data.reason} request {data.request_id}"
    ),
    "DecisionMade": _decided,
    "DecisionCompared": lambda data: f"{data.instance_uuid} {data.verdict}: {data.text} request {data.request_id}",
    "RequestRefused": lambda data: f"{' '.join(data.instances)}: {data.reason} request {data.request_id}",
    "LogRestored": lambda data: f"{data.cell} from epoch {data.from_epoch} up to position {data.from_position}",
    "StateKept": lambda data: (
        f"{data.checkpoint_uuid} at position {data.position} part {data.part + 1} of {data.of}, "
        f"{number_of(len(data.content), 'byte')}"
    ),
    "CheckpointNamed": lambda data: (
        f"{data.checkpoint_uuid} at position {data.position}, parts in {data.first} to {data.last}"
    ),
    "AggregateUpdated": lambda data: (
        f"{data.name} {data.uuid} {number_of(len(data.hosts), 'host')} "
        + " ".join(f"{key}={value}" for key, value in sorted(data.metadata.items()))
    ),
}
