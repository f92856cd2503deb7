"""The history of a consumer or a provider: each event that changed it, who wrote it, its generations, and the writes
that were refused, with the event that was in their way."""

from typing import NamedTuple

from nova_sched.projection.ledger import NO_HOST, Host
from nova_sched.projection.provider_rows import inventories_of, parent_of, traits_of
from nova_sched.replay.decisions.outcomes import provider_generation
from nova_sched.replay.decisions.write_causes import Causes, Writer, writer_of
from nova_sched.replay.logs.matching import subjects
from nova_sched.replay.logs.moments import stamp
from nova_sched.replay.logs.reading import holding
from rpc_api import errors
from rpc_api.codec import Event, SetAside
from rpc_api.wording import number_of

CONSUMER, PROVIDER = "consumer", "provider"
#: Number of characters of a uuid that name it, if it is the only one that begins with them.
LEAST_PREFIX = 8
UUID_LENGTH = 36


class Change(NamedTuple):
    """An event that changed something or was refused: the generation ``before`` and ``after`` it (None: there is none),
    ``changes`` in words, what the consumer ``holds`` after it, why it was ``refused``, and the Writer that was the
    ``cause`` of that (None: not known)."""

    writer: Writer
    before: int | None
    after: int | None
    changes: tuple = ()
    holds: tuple = ()
    refused: str | None = None
    cause: Writer | None = None


class Holding(NamedTuple):
    """What a consumer holds of one class of a provider. ``host`` is None if the provider is that of no host, ``name``
    is None for a provider that the log does not have."""

    host: str | None
    provider: str
    name: str | None
    resource_class: str
    amount: int


class Past(NamedTuple):
    """A consumer or a provider (``kind``): ``parts`` are its facts at the end of each log that has it (none: it is
    gone), and ``changes`` all that happened to it."""

    kind: str
    uuid: str
    parts: list
    changes: list


# --- naming ----------------------------------------------------------------------------------------------------------


def found_by(history, key: str) -> tuple[str, str]:
    """Return (kind, uuid) of the consumer or provider that a key names: a uuid, its first characters, or the name of a
    provider or a host. UsageError for an ambiguous key; NovaSchedError if the logs have no such thing."""
    found = _present(history, key) or _past(history, key)
    if len(found) > 1:
        some = ", ".join(f"{kind} {uuid}" for kind, uuid in sorted(found)[:3])
        raise errors.UsageError(f"{key!r} names {number_of(len(found), 'thing')}: {some}; type more of one uuid")
    if not found:
        raise errors.NovaSchedError(
            f"the logs of {', '.join(sorted(history.logs))} have no consumer or provider {key!r}; name another one by "
            f"its uuid, by {LEAST_PREFIX} or more of its first characters, or a provider or host by its name"
        )
    return found.pop()


def _present(history, key):
    """What a key names at the end of the logs."""
    world, found = history.world_at({cell: log.bounds().last for cell, log in history.logs.items()}, {}), set()
    for projection in world.projections.values():
        table = projection.table
        for uuid, tree in projection.trees.items():
            if key in (uuid, table.provider_names[tree.rows[uuid]]) or _begins(uuid, key):
                found.add((PROVIDER, uuid))
        if key in projection.hosts:
            found.add((PROVIDER, table.uuids[projection.hosts[key].root]))
        if key in projection.consumers:
            found.add((CONSUMER, key))
        elif LEAST_PREFIX <= len(key) < UUID_LENGTH:
            found.update((CONSUMER, uuid) for uuid in projection.consumers if uuid.startswith(key))
    exact = {(kind, uuid) for kind, uuid in found if uuid == key}
    return exact or found


def _begins(uuid, key):
    return len(key) >= LEAST_PREFIX and uuid.startswith(key)


def _past(history, key):
    """What a key named at some time."""
    found = set()
    for log in history.logs.values():
        for _, record in holding(log, (key.encode(),)):
            for event in record.events:
                if not isinstance(event, Event):
                    continue
                if event.name in ("ProviderCreated", "ProviderChanged") and event.data.name == key:
                    found.add((PROVIDER, event.data.provider_uuid))
                of = subjects(event)
                found.update((CONSUMER, uuid) for uuid in of.instances if uuid == key or _begins(uuid, key))
                if event.name != "ProviderCreated" or event.data.provider_uuid == key:
                    found.update((PROVIDER, uuid) for uuid in of.providers if uuid == key or _begins(uuid, key))
    return found


# --- the histories ---------------------------------------------------------------------------------------------------


def past_of(history, kind: str, uuid: str) -> Past:
    """Return everything that happened to a consumer or a provider, by time. LogGap if a log does not have it all."""
    changes, parts = [], []
    for cell, log in sorted(history.logs.items()):
        watch = (_Consumer if kind == CONSUMER else _Provider)(history, cell, uuid)
        named = [position for position, _ in holding(log, (uuid.encode(),))]
        if not named:
            continue
        world = history.world_at({cell: named[0] - 1})
        watch.begin(world.projections[cell])
        history.forward(world, cell, named[-1], step=watch.step)
        if watch.is_there:
            # What does not name it may change it, too: a host is removed, a class is renamed.
            history.forward(world, cell, log.bounds().last, step=watch.step)
        changes += watch.changes
        parts += filter(None, [watch.facts()])
    return Past(kind, uuid, parts, sorted(changes, key=lambda change: (change.writer.at_ns, *change.writer[:2])))


class _Watch:
    """Follows one thing through the fold of a log."""

    def __init__(self, history, cell, uuid):
        self.changes = []
        self._history, self._cell, self._uuid = history, cell, uuid

    def begin(self, projection):
        self._projection = projection
        self._known = self._look()

    def step(self, position, effect):
        event = effect.event
        if not isinstance(event, Event):
            return
        before, now = self._known, self._look_again(event)
        if now != before:
            self._known = now
            self.changes.append(self._change(writer_of(self._cell, position, event), event, before, now))
        else:
            reason = self._refusal(effect)
            if reason is not None:
                generation = self._generation()
                why = reason.reason if type(reason) is SetAside else str(reason)
                cause = Causes(self._history, self._cell, self._projection, position).of(reason, event)
                self.changes.append(
                    Change(writer_of(self._cell, position, event), generation, generation, refused=why, cause=cause)
                )

    def _look_again(self, event):
        return self._look()


class _Consumer(_Watch):
    @property
    def is_there(self):
        return self._uuid in self._projection.consumers

    def _look(self):
        """(Generation, what it holds by host, states)."""
        entries = self._projection.consumers.get(self._uuid)
        if entries is None:
            return None
        return self._generation(), tuple((entry.host, entry.allocations, entry.state) for entry in entries)

    def _generation(self):
        holder = self._projection.holders.get(self._uuid)
        return None if holder is None else holder.generation

    def _refusal(self, effect):
        event = effect.event
        if effect.outcome is not None and effect.outcome.reason is not None:
            return effect.outcome.reason if event.data.consumer_uuid == self._uuid else None
        if effect.written is not None and effect.written.reason is not None:
            return effect.written.reason if self._uuid in subjects(event).instances else None
        return None

    def _change(self, writer, event, before, now):
        holds = holdings(self._projection, self._uuid)
        return Change(writer, before and before[0], now and now[0], tuple(_moves(before, now)), holds)

    def facts(self):
        """Return what is known of it; None if it holds nothing."""
        entries = self._projection.consumers.get(self._uuid)
        if entries is None:
            return None
        holder = self._projection.holders.get(self._uuid)
        return {
            "cell": self._cell,
            "generation": holder and holder.generation,
            "type": holder and holder.consumer_type,
            "project": entries[0].project_id,
            "user": holder and holder.user_id,
            "states": sorted({entry.state for entry in entries}),
            "holds": [holding_._asdict() for holding_ in holdings(self._projection, self._uuid)],
        }


def _moves(before, now):
    """Give words about hosts that a consumer came to, left, and where its state changed."""
    was, is_now = ({host: state for host, _, state in (known[1] if known else ())} for known in (before, now))
    for host in sorted(was.keys() | is_now.keys()):
        where = "on no host" if host == NO_HOST else f"on {host}"
        if host not in was:
            yield f"{is_now[host]} {where}"
        elif host not in is_now and host != NO_HOST:
            yield f"not {where} any more"
        elif host in is_now and was[host] != is_now[host]:
            yield f"{was[host]}, now {is_now[host]} {where}"


def holdings(projection, consumer_uuid: str) -> tuple[Holding, ...]:
    """Return what a consumer holds, by provider and class."""
    found = []
    for entry in projection.consumers.get(consumer_uuid, ()):
        for provider_uuid, resource_class, amount in sorted(entry.allocations):
            tree = projection.trees.get(provider_uuid)
            name = None if tree is None else projection.table.provider_names[tree.rows[provider_uuid]]
            host = entry.host if tree is None or type(tree) is Host else None
            found.append(Holding(host or None, provider_uuid, name, resource_class, amount))
    return tuple(sorted(found, key=lambda held: (held.host or "", held.name or "", held.provider, held.resource_class)))


class _Provider(_Watch):
    #: Events that change a provider and not the time of its last write.
    UNMARKED = frozenset({"ClassRenamed", "LevelPinned", "AuthorityPassed", "ProviderChanged", "HostRemoved"})

    @property
    def is_there(self):
        return self._uuid in self._projection.trees

    def _quick(self):
        tree, table = self._projection.trees.get(self._uuid), self._projection.table
        if tree is None:
            return None
        row = tree.rows[self._uuid]
        return row, table.generation.item(row), table.written_ns.item(row)

    def _look(self):
        self._seen = self._quick()
        tree, table = self._projection.trees.get(self._uuid), self._projection.table
        if tree is None:
            return None
        row = tree.rows[self._uuid]
        facts = {"name": table.provider_names[row], "parent": parent_of(table, row)}
        for name, inventory in inventories_of(table, row).items():
            facts |= {(name, field): value for field, value in inventory._asdict().items() if field != "resource_class"}
        facts |= {("trait", trait): True for trait in traits_of(table, row)}
        facts |= {("aggregate", aggregate): True for aggregate in table.row_aggregates[row]}
        return self._generation(), facts

    def _look_again(self, event):
        if self._quick() == self._seen and event.name not in self.UNMARKED:
            return self._known
        return self._look()

    def _generation(self):
        return provider_generation(self._projection, self._uuid)

    def _refusal(self, effect):
        event = effect.event
        reasons = [found.reason for found in (effect.outcome, effect.written) if found is not None]
        return reasons[0] if reasons and self._uuid in subjects(event).providers else None

    def _change(self, writer, event, before, now):
        return Change(writer, before and before[0], now and now[0], tuple(_differences(before, now)))

    def facts(self):
        """Return what is known of it; None if it is gone."""
        if not self.is_there:
            return None
        projection = self._projection
        tree, table = projection.trees[self._uuid], projection.table
        row = tree.rows[self._uuid]
        return {
            "cell": self._cell,
            "name": table.provider_names[row],
            "generation": self._generation(),
            "parent": parent_of(table, row),
            "host": tree.name if type(tree) is Host else None,
            "inventories": [
                {**inventory._asdict(), "used": table.used.item(table.classes.get(name), row)}
                for name, inventory in inventories_of(table, row).items()
            ],
            "traits": list(traits_of(table, row)),
            "aggregates": list(table.row_aggregates[row]),
        }


def _differences(before, now):
    """Give words about what changed of a provider, apart from its generation."""
    if before is None:
        yield "created"
    if now is None:
        yield "deleted"
        return
    was, facts = before[1] if before else {"name": now[1]["name"], "parent": None}, now[1]
    for fact in ("name", "parent"):
        if was[fact] != facts[fact]:
            yield f"{fact} {was[fact] or 'none'} to {facts[fact] or 'none'}"
    keys = [key for key in (*was, *facts) if type(key) is tuple]
    for key in dict.fromkeys(keys):
        if key[0] in ("trait", "aggregate"):
            if (key in was) != (key in facts):
                yield f"{'+' if key in facts else '-'}{key[0]} {key[1]}"
        elif key[1] == "total":
            yield from _of_class(key[0], was, facts)


def _of_class(name, was, facts):
    if (name, "total") not in facts:
        yield f"-{name}"
        return
    is_new = (name, "total") not in was
    for field in ("total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio"):
        if is_new and field == "total":
            yield f"+{name} {facts[name, field]}"
        elif not is_new and was[name, field] != facts[name, field]:
            yield f"{name} {field} {was[name, field]:g} to {facts[name, field]:g}"


def of_itself(past: Past) -> list[Change]:
    """Return the changes of a provider without those that only wrote allocations of it; all changes of a consumer."""
    return [change for change in past.changes if past.kind == CONSUMER or change.changes or change.refused]


def as_json(past) -> dict:
    """Return a Past as plain values."""
    return {
        "kind": past.kind,
        "uuid": past.uuid,
        "now": past.parts,
        "changes": [
            {
                **_writer_json(change.writer),
                "generation_before": change.before,
                "generation_after": change.after,
                "changes": list(change.changes),
                "holds": [held._asdict() for held in change.holds],
                "refused": change.refused,
                "cause": change.cause and _writer_json(change.cause),
            }
            for change in past.changes
        ],
    }


def _writer_json(writer):
    return {**writer._asdict(), "at": stamp(writer.at_ns)}
