"""Providers, consumers, and resource classes and traits of the cloud's own at a moment, as plain values."""

from typing import NamedTuple

from nova_sched.projection.ledger import NO_HOST, NOVA, Host
from nova_sched.projection.provider_rows import inventories_of, parent_of, traits_of
from nova_sched.replay.state.hosts import amounts_of, wanted
from rpc_api.wording import number_of

CLASS, TRAIT = "class", "trait"
#: Number of waiting hosts that a summary names.
MOST_NAMED = 3


class ProviderRow(NamedTuple):
    """A resource provider: the ``host`` whose tree it is in (None: it is no host's), and ``amounts``: resource class ->
    (used, capacity)."""

    cell: str
    provider: str
    name: str
    host: str | None
    parent: str | None
    generation: int
    amounts: dict
    traits: tuple
    aggregates: tuple


class ConsumerRow(NamedTuple):
    """A consumer: its ``hosts`` (none, if it holds something of providers that are no host's only), and the sum of what
    it holds. ``position`` is that of the record with which the last of it came."""

    cell: str
    consumer: str
    generation: int | None
    type: str | None
    project: str | None
    user: str | None
    state: str
    hosts: tuple
    resources: dict
    position: int


class NameRow(NamedTuple):
    """A resource class or a trait (``kind``) of the cloud's own, and when it was created."""

    cell: str
    kind: str
    name: str
    created_ns: int


class WaitingRow(NamedTuple):
    """A host that was reported, and whose root provider the log does not have."""

    cell: str
    host: str
    root: str
    authority: str
    server: str


def provider_rows_of(projection, patterns=()) -> list[ProviderRow]:
    """Return the providers whose name, uuid or host matches a pattern, by name; without patterns those that are no
    host's."""
    return sorted(
        (
            provider_row(projection, uuid)
            for uuid, tree in projection.trees.items()
            if _is_wanted(projection, uuid, tree, patterns)
        ),
        key=lambda row: (row.name, row.provider),
    )


def _is_wanted(projection, uuid, tree, patterns):
    host = tree.name if type(tree) is Host else None
    if not patterns:
        return host is None
    names = (uuid, projection.table.provider_names[tree.rows[uuid]], *([] if host is None else [host]))
    return any(wanted(name, patterns) for name in names)


def provider_row(projection, uuid: str) -> ProviderRow:
    """Return the row of a provider."""
    tree, table = projection.trees[uuid], projection.table
    row = tree.rows[uuid]
    return ProviderRow(
        projection.cell,
        uuid,
        table.provider_names[row],
        tree.name if type(tree) is Host else None,
        parent_of(table, row),
        table.generation.item(row),
        {
            name: (int(table.used[index, row]), int(table.capacity[index, row]))
            for index, name in enumerate(table.classes.values)
            if table.step_size[index, row] or table.used[index, row]
        },
        traits_of(table, row),
        tuple(table.row_aggregates[row]),
    )


def inventories_as_facts(projection, uuid: str) -> dict:
    """Return what a provider is and has, apart from its use: fact -> value."""
    tree, table = projection.trees[uuid], projection.table
    row = tree.rows[uuid]
    facts = {"name": table.provider_names[row], "parent": parent_of(table, row)}
    for name, inventory in inventories_of(table, row).items():
        facts |= {
            f"{name} {field}": f"{value:g}" if type(value) is float else str(value)
            for field, value in inventory._asdict().items()
            if field != "resource_class"
        }
    facts |= {f"trait {trait}": "yes" for trait in traits_of(table, row)}
    facts |= {f"aggregate {aggregate}": "yes" for aggregate in table.row_aggregates[row]}
    return facts


def consumer_rows_of(projection, patterns=()) -> list[ConsumerRow]:
    """Return all consumers, or those whose uuid, project, type or host matches a pattern, by uuid."""
    rows = [consumer_row(projection, uuid) for uuid in sorted(projection.consumers)]
    if not patterns:
        return rows
    return [
        row
        for row in rows
        if any(wanted(name, patterns) for name in (row.consumer, row.project, row.type, *row.hosts) if name)
    ]


def consumer_row(projection, uuid: str) -> ConsumerRow:
    """Return the row of a consumer."""
    entries, holder = projection.consumers[uuid], projection.holders.get(uuid)
    return ConsumerRow(
        projection.cell,
        uuid,
        holder and holder.generation,
        holder and holder.consumer_type,
        entries[0].project_id,
        holder and holder.user_id,
        ", ".join(dict.fromkeys(entry.state for entry in entries)),
        tuple(sorted(entry.host for entry in entries if entry.host != NO_HOST)),
        amounts_of(allocation for entry in entries for allocation in entry.allocations),
        max(entry.position for entry in entries),
    )


def name_rows_of(projection, patterns=()) -> list[NameRow]:
    """Return the resource classes and traits of the cloud's own, or those that match a pattern, by name."""
    return [
        NameRow(projection.cell, kind, name, created_ns)
        for kind, names in ((CLASS, projection.custom_classes), (TRAIT, projection.custom_traits))
        for name, created_ns in sorted(names.items())
        if wanted(name, patterns)
    ]


def waiting_rows_of(projection) -> list[WaitingRow]:
    """Return the hosts that wait for their root providers, by name."""
    return sorted(
        WaitingRow(projection.cell, host.name, root, host.authority, host.server)
        for root, host in projection.waiting.items()
    )


def summary_of(projection) -> str | None:
    """Return what a log has beside its hosts, in words; None if it is no ledger."""
    if not projection.rules.one_ledger:
        return None
    plain = sum(type(tree) is not Host for tree in projection.trees.values())
    free = sum(entry.host == NO_HOST for entries in projection.consumers.values() for entry in entries)
    parts = [
        f"{_number(plain, 'provider')} of no host",
        _number(len(projection.consumers), "consumer") + (f" ({free} on no host)" if free else ""),
    ]
    for names, one, several in (
        (projection.custom_classes, "custom class", "custom classes"),
        (projection.custom_traits, "custom trait", "custom traits"),
    ):
        if names:
            parts.append(f"{len(names)} {one if len(names) == 1 else several}")
    of_nova = sum(host.authority == NOVA for host in projection.hosts.values())
    if of_nova:
        parts.append(f"{_number(of_nova, 'host')} under Nova's authority")
    waiting = waiting_rows_of(projection)
    parts += [f"host {row.host} waits for its root provider {row.root}" for row in waiting[:MOST_NAMED]]
    if len(waiting) > MOST_NAMED:
        parts.append(number_of(len(waiting) - MOST_NAMED, "more host waits", "more hosts wait"))
    return ", ".join(parts)


def _number(count, word):
    return f"{count} {word}{'' if count == 1 else 's'}"
