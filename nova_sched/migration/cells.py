"""In which log the providers of a cloud belong: those of a compute node in that of its cell; those that are shared with
hosts of one cell, too, as a host uses only what is in its own log; all others in that of the API level, as at the
endpoint of the region."""

from collections.abc import Iterable, Mapping

from nova_sched.migration.model import Placement, root_of
from nova_sched.projection.projection import Projection
from nova_sched.projection.state import CELL0
from nova_sched.projection.topology import SHARES
from rpc_api import errors
from rpc_api.wording import number_of

#: Number of hosts that an error names.
SHOWN = 5


def cells_of(
    wanted: Placement,
    projections: Mapping[str, Projection],
    host_of: Mapping[str, str] | None,
    cell_of_host: Mapping[str, str],
) -> dict[str, str]:
    """Root provider -> the name of its log. ``host_of`` are the hosts of compute nodes by uuid, None if Nova was not
    asked; ``cell_of_host`` is what the operator, or a database, says about hosts. UsageError if it is not known."""
    roots = sorted({root_of(wanted, uuid) for uuid in wanted.providers})
    cells = [cell for cell in projections if cell != CELL0]
    unknown = sorted({cell for cell in cell_of_host.values() if cell not in projections})
    if unknown:
        raise errors.UsageError(f"hosts are in the cell {unknown[0]}, and no log of this name is named; add it")
    if len(cells) == 1:
        return dict.fromkeys(roots, cells[0])
    if not cells:
        raise errors.UsageError("no log of a cell is named, wanted that of each cell")
    known = _known(projections, roots)
    hosts = {name: cell for cell, projection in projections.items() for name in projection.hosts}
    hosts |= {host.name: cell for cell, one in projections.items() for host in one.waiting.values()} | dict(
        cell_of_host
    )
    found, missing = {}, []
    shared = _shared(wanted, roots)
    for root in roots:
        host = None if host_of is None else host_of.get(root)
        if host is not None and host in hosts:
            found[root] = hosts[host]
        elif host is None and root in shared and known.get(root, CELL0) == CELL0:
            # Its hosts say where it belongs, below.
            continue
        elif root in known:
            found[root] = known[root]
        elif host_of is not None and host is None and CELL0 in projections:
            found[root] = CELL0
        else:
            missing.append(host or wanted.providers[root].name)
    for root, cells_of_root in _cells_served(wanted, shared, found).items():
        if len(cells_of_root) == 1:
            found[root] = next(iter(cells_of_root))
        elif root in known or (host_of is not None and CELL0 in projections):
            found[root] = CELL0
        else:
            missing.append(wanted.providers[root].name)
    if missing:
        raise errors.UsageError(
            f"the cell of {number_of(len(missing), 'host')} is not known ({', '.join(sorted(missing)[:SHOWN])}); name "
            "it with --hosts, --api-database or --cell-database"
        )
    return found


def _shared(wanted: Placement, roots: Iterable[str]) -> dict[str, frozenset[str]]:
    """The roots of the trees with a sharing provider -> the aggregates of those providers."""
    found: dict[str, frozenset[str]] = {}
    for provider in wanted.providers.values():
        if SHARES in provider.traits:
            root = root_of(wanted, provider.uuid)
            found[root] = found.get(root, frozenset()) | provider.aggregates
    return {root: found[root] for root in roots if root in found}


def _cells_served(
    wanted: Placement, shared: Mapping[str, frozenset[str]], found: Mapping[str, str]
) -> dict[str, set[str]]:
    """The roots of sharing providers that have no log yet -> the cells of the providers in their aggregates."""
    cells_of: dict[str, set[str]] = {}
    for provider in wanted.providers.values():
        cell = found.get(root_of(wanted, provider.uuid), CELL0)
        for aggregate in provider.aggregates if cell != CELL0 else ():
            cells_of.setdefault(aggregate, set()).add(cell)
    return {
        root: set().union(*(cells_of.get(aggregate, ()) for aggregate in aggregates))
        for root, aggregates in shared.items()
        if root not in found
    }


def shared_over_cells(wanted: Placement, projections: Mapping[str, Projection]) -> list[str]:
    """A sentence for each sharing provider in the log of the API level that is shared with hosts of several cells."""
    found = {uuid: cell for cell, projection in projections.items() for uuid in projection.trees}
    if len([cell for cell in projections if cell != CELL0]) < 2:
        return []
    shared = _shared(wanted, sorted(wanted.providers))
    served = _cells_served(wanted, shared, {uuid: cell for uuid, cell in found.items() if cell != CELL0})
    return [
        f"the provider {root} ({wanted.providers[root].name}) is shared with hosts of {number_of(len(cells), 'cell')} "
        f"({', '.join(sorted(cells))}), and is in the log of {CELL0}: no host gets anything of it; give each cell a "
        "provider of its own, with an aggregate of its own"
        for root, cells in sorted(served.items())
        if len(cells) > 1 and found.get(root, CELL0) == CELL0
    ]


def _known(projections: Mapping[str, Projection], roots: Iterable[str]) -> dict[str, str]:
    """The roots that a log has, or for which a host waits there."""
    return {
        root: cell
        for cell, projection in projections.items()
        for root in roots
        if root in projection.trees or root in projection.waiting
    }


def read_hosts(text: str) -> dict[str, str]:
    """Host -> cell, of the table that ``nova-manage cell_v2 list_hosts`` prints. UsageError if there is no row."""
    found = {}
    for line in text.splitlines():
        columns = [column.strip() for column in line.strip().strip("|").split("|")]
        if len(columns) == 3 and columns[2] != "Hostname":
            found[columns[2]] = columns[0]
    if not found:
        raise errors.UsageError("the file of --hosts has no row, wanted what nova-manage cell_v2 list_hosts prints")
    return found
