"""What changed of providers, consumers, names and waiting hosts of a log that is a ledger."""

from typing import NamedTuple

from nova_sched.projection.ledger import Host
from nova_sched.replay.state.change import CONSUMER, GENERATION, NAME, PROVIDER, WAITS, Change
from nova_sched.replay.state.hosts import wanted
from nova_sched.replay.state.ledger_rows import inventories_as_facts, name_rows_of, waiting_rows_of


class LedgerFacts(NamedTuple):
    """The facts of a log that is a ledger: provider -> (name, host, facts), of those that no report of a host has;
    consumer -> its terms in words; (kind, name) -> True; host -> root provider for which it waits."""

    providers: dict
    consumers: dict
    names: dict
    waiting: dict


def ledger_facts(projection, patterns):
    if not projection.rules.one_ledger:
        return LedgerFacts({}, {}, {}, {})
    return LedgerFacts(
        {
            uuid: _provider_facts(projection, uuid, tree)
            for uuid, tree in projection.trees.items()
            if not (type(tree) is Host and _is_in_report(projection, uuid, tree))
            and _of_patterns(projection, uuid, patterns)
        },
        {
            uuid: _terms(projection, uuid, holder)
            for uuid, holder in projection.holders.items()
            if any(wanted(entry.host, patterns) for entry in projection.consumers[uuid])
        },
        {} if patterns else {(row.kind, row.name): True for row in name_rows_of(projection)},
        {row.host: row.root for row in waiting_rows_of(projection) if wanted(row.host, patterns)},
    )


def _is_in_report(projection, uuid, tree):
    """Whether the inventory of a host has a provider, and is compared as a whole."""
    return type(tree) is Host and not tree.providers and bool(projection.table.reported[tree.rows[uuid]])


def _of_patterns(projection, uuid, patterns):
    tree = projection.trees[uuid]
    names = (projection.table.provider_names[tree.rows[uuid]], tree.name if type(tree) is Host else "")
    return any(wanted(name, patterns) for name in names)


def _provider_facts(projection, uuid, tree):
    facts, row = inventories_as_facts(projection, uuid), tree.rows[uuid]
    host = tree.name if type(tree) is Host else None
    # (Each claim raises the generation of what an agent reports: nobody asks for that.)
    if not projection.table.reported[row]:
        facts[GENERATION] = str(projection.table.generation.item(row))
    return facts["name"], host, facts


def _terms(projection, uuid, holder):
    of = (("type", holder.consumer_type), ("project", holder.project_id), ("user", holder.user_id))
    return ", ".join([f"generation {holder.generation}", *(f"{name} {value}" for name, value in of if value)])


def ledger_changes(cell, was, now, causes, other_hosts):
    """Give what changed beside the facts of hosts. ``other_hosts`` were added or removed, with their providers."""
    for uuid in was.providers.keys() | now.providers.keys():
        before, after = was.providers.get(uuid), now.providers.get(uuid)
        if (before is None or after is None) and (before or after)[1] in other_hosts:
            continue
        yield from _provider_changes(cell, uuid, before, after, causes)
    for uuid in was.consumers.keys() & now.consumers.keys():
        if was.consumers[uuid] != now.consumers[uuid]:
            yield Change(cell, None, CONSUMER, uuid, was.consumers[uuid], now.consumers[uuid], causes.of_consumer(uuid))
    for kind, name in was.names.keys() ^ now.names.keys():
        before, after = ("there" if (kind, name) in of.names else None for of in (was, now))
        yield Change(cell, None, NAME, f"{kind} {name}", before, after, causes.names.get(name, ()))
    for host in was.waiting.keys() | now.waiting.keys():
        before, after = was.waiting.get(host), now.waiting.get(host)
        if before != after:
            yield Change(cell, host, WAITS, "root provider", before, after, causes.of_host(host))


def _provider_changes(cell, uuid, was, now, causes):
    name, host, _ = now or was
    if was is None or now is None or was[1] != now[1]:
        before, after = (None if of is None else _provider_text(of) for of in (was, now))
        yield Change(cell, host, PROVIDER, f"{name} {uuid}", before, after, causes.of_provider(uuid, host))
    if was is not None and now is not None:
        facts, others = was[2], now[2]
        for fact in sorted(facts.keys() | others.keys()):
            if facts.get(fact) != others.get(fact):
                because = causes.of_provider(uuid, host, fact == GENERATION)
                yield Change(cell, host, PROVIDER, f"{name} {fact}", facts.get(fact), others.get(fact), because)


def _provider_text(of):
    _, host, facts = of
    totals = [f"{fact.removesuffix(' total')}={value}" for fact, value in facts.items() if fact.endswith(" total")]
    generation = [f"{GENERATION} {facts[GENERATION]}"] if GENERATION in facts else []
    return ", ".join([f"of host {host}" if host else "of no host", *generation, *totals])
