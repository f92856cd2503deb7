"""What is in several logs and may be in one only: hosts, and providers by their uuid or their name.

A log knows its own providers only, so two endpoints that create the same one at the same time are not stopped.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nova_sched.projection.ledger import Host
from nova_sched.replay.health.finding import FAIL, WARN, Finding, some
from rpc_api.wording import number_of


class Names(NamedTuple):
    """The names in one log: host -> whether it is lost, uuid of a provider -> (its name, its host or None)."""

    hosts: Mapping[str, bool]
    providers: Mapping[str, tuple[str, str | None]]


def names_of(projection) -> Names:
    """The names in the log of a projection."""
    names = projection.table.provider_names
    return Names(
        {name: host.lost for name, host in projection.hosts.items()},
        {
            uuid: (names[tree.rows[uuid]], tree.name if type(tree) is Host else None)
            for uuid, tree in projection.trees.items()
        },
    )


def of_names(logs: Mapping[str, Names]) -> Iterator[Finding]:
    """Give findings about what is in several logs (cell -> Names)."""
    hosts = _in_several({cell: names.hosts for cell, names in logs.items()})
    if hosts:
        # A host that moved to another cell is lost in the cell that it left.
        both = [host for host, cells in hosts.items() if sum(not logs[cell].hosts[host] for cell in cells) > 1]
        yield Finding(
            "all logs",
            "hosts in several logs",
            FAIL if both else WARN,
            f"{number_of(len(hosts), 'host is', 'hosts are')} in several logs: {_named(hosts)}",
            "let one cell have each host (nova-manage cell_v2 list_hosts shows which): stop what reports it to the "
            "other log, pass it on to Nova there (nova-sched authority), and delete its provider at the endpoint there",
        )
    uuids = _in_several({cell: names.providers for cell, names in logs.items()})
    # (The providers of a host that is in both logs are there because of it.)
    uuids = {
        uuid: cells
        for uuid, cells in uuids.items()
        if not {logs[cell].providers[uuid][1] for cell in cells} <= hosts.keys()
    }
    if uuids:
        yield Finding(
            "all logs",
            "providers in several logs",
            FAIL,
            f"{number_of(len(uuids), 'provider uuid is', 'provider uuids are')} in several logs: {_named(uuids)}",
            "delete the provider at the endpoint of the cell that should not have it, after the consumers there",
        )
    names = _in_several(
        {
            cell: [name for uuid, (name, host) in of.providers.items() if uuid not in uuids and host not in hosts]
            for cell, of in logs.items()
        }
    )
    if names:
        yield Finding(
            "all logs",
            "provider names in several logs",
            WARN,
            f"{number_of(len(names), 'provider name is', 'provider names are')} in several logs: {_named(names)}",
            "rename one of the providers (openstack resource provider set --name)",
        )


def _in_several(by_cell) -> dict[str, list[str]]:
    """Name -> cells, of the names that several cells have."""
    cells = defaultdict(list)
    for cell in sorted(by_cell):
        for name in by_cell[cell]:
            cells[name].append(cell)
    return {name: found for name, found in cells.items() if len(found) > 1}


def _named(found):
    return some(f"{name} in {' and '.join(cells)}" for name, cells in found.items())
