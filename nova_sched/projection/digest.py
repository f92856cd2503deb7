"""The digest of a projection: equal states have equal digests, wherever and however they were folded.

It covers the state and not its layout: rows, classes and interned ids are
replaced by what they stand for, in sorted order.
"""

from hashlib import blake2b

from rpc_api.packing import pack


def state_digest(projection) -> str:
    """32 hex digits over everything that later events could see."""
    state = blake2b(digest_size=16)
    for part in _parts(projection):
        state.update(pack(part))
    return state.hexdigest()


def _parts(projection):
    yield projection.epoch, projection.accounts_required
    for name in sorted(projection.hosts):
        yield _host(projection.table, projection.hosts[name])
    yield sorted(projection.producers.items())
    yield sorted(projection.anchors.items())
    yield sorted(projection.fences.items())
    yield [tuple(projection.aggregates[uuid]) for uuid in sorted(projection.aggregates)]


def _host(table, host):
    used = []
    for row in table.trees[host.root]:
        for index, resource_class in enumerate(table.classes.values):
            amount = int(table.used[index, row])
            if amount:
                used.append((table.uuids[row], resource_class, amount))
    entries = sorted((entry.facts() for entry in host.entries.values()), key=lambda facts: facts[0])
    return (host.name, host.server, host.inventory_digest, host.status, host.lost,
            host.running_digest, sorted(used), entries)
