"""Hosts come to their trees of providers and leave them, and pass from one authority to another.

A tree may be there before its host is known, and stay when the host is gone. The consumers of a tree are counted on the
host while it has one.
"""

from nova_sched.projection import provider_rows
from nova_sched.projection.allocations import SetApart, users_of
from nova_sched.projection.holding import remove_entry
from nova_sched.projection.inventory import show_host, write_facts, write_status
from nova_sched.projection.ledger import AGENT, HELD, Host, PlainTree
from nova_sched.projection.provider_tree import read
from nova_sched.projection.state import State
from rpc_api.digest import inventory_digest
from rpc_api.levels import pack_oldest


def join_tree(projection: State, host: Host, plain: PlainTree) -> None:
    """A host without a tree gets the one of its root provider."""
    apart = SetApart(projection, {consumer for consumer, _ in plain.users})
    host.root, host.rows, host.providers = plain.root, plain.rows, plain.providers
    projection.trees.update(dict.fromkeys(host.rows, host))
    projection.hosts[host.name] = host
    show_host(projection, host)
    host.forget_digest()
    apart.put_back()
    projection.table.touched.touch(host.root)


def leave_tree(projection: State, host: Host) -> None:
    """A host is no longer that of its tree. A tree that its agent reported ends; another one stays, with what Nova's
    consumers hold of it."""
    table = projection.table
    is_reported = table.reported.item(host.root)
    for entry in list(host.entries.values()):
        if is_reported or entry.state is not HELD:
            remove_entry(projection, host, entry)
    apart = SetApart(projection, list(host.entries))
    del projection.hosts[host.name]
    if is_reported:
        provider_rows.erase(projection, host)
        return
    provider_rows.no_host(projection, host)
    plain = PlainTree()
    plain.root, plain.rows, plain.providers = host.root, host.rows, host.providers
    projection.trees.update(dict.fromkeys(plain.rows, plain))
    host.root, host.rows, host.providers = -1, {}, b""
    apart.put_back()
    table.plain_touched.touch_use(plain.root)


def root_found(projection: State, root_uuid: str) -> None:
    """A root provider is in the log now: a host that waits for it gets it."""
    host, plain = projection.waiting.pop(root_uuid, None), projection.trees[root_uuid]
    if host is not None and type(plain) is PlainTree:
        join_tree(projection, host, plain)
        write_facts(projection, host, read(host.inventory).inventory)
        write_status(projection.table, host)


def pass_authority(projection: State, host: Host, authority: str) -> None:
    """Another one says what the consumers of a host hold. To Nova, the providers are those that its API wrote."""
    root_uuid = projection.table.uuids[host.root]
    facts = read(host.inventory).inventory._replace(providers=(), root_uuid=root_uuid, authority=authority)
    host.authority, host.inventory = authority, pack_oldest(facts)
    host.inventory_digest = inventory_digest(host.inventory)
    if authority != AGENT:
        # Nova has a switch of its own.
        host.disabled_for = None
        write_status(projection.table, host)
        host.providers = b""
        projection.table.reported[list(host.rows.values())] = False
    SetApart(projection, users_of(projection, [root_uuid])).put_back()
