"""The lists of ``state --list``: each is the columns, and the rows in their order."""

from nova_sched.cli.output import stamp
from nova_sched.replay.logs.times import times_of
from nova_sched.replay.state.hosts import wanted
from nova_sched.replay.state.ledger_rows import (
    ConsumerRow,
    WaitingRow,
    consumer_rows_of,
    name_rows_of,
    provider_rows_of,
    waiting_rows_of,
)


def resources(amounts) -> str:
    """Return amounts in the form ``VCPU=2,MEMORY_MB=512``; ``-`` for none."""
    return ",".join(f"{name}={amount}" for name, amount in amounts.items()) or "-"


def _amounts(amounts, structured):
    if structured:
        return {name: {"used": used, "capacity": capacity} for name, (used, capacity) in amounts.items()}
    return " ".join(f"{name}={used}/{capacity}" for name, (used, capacity) in amounts.items()) or None


def _words(names, structured):
    return list(names) if structured else ",".join(names) or None


def providers(source, world, patterns, structured):
    """Return the columns and rows of ``--list providers``."""
    columns = ("cell", "provider", "name", "host", "parent", "generation", "used", "traits", "aggregates")
    return columns, [
        (
            row.cell,
            row.provider,
            row.name,
            row.host,
            row.parent,
            row.generation,
            _amounts(row.amounts, structured),
            _words(row.traits, structured),
            _words(row.aggregates, structured),
        )
        for _, projection in sorted(world.projections.items())
        for row in provider_rows_of(projection, patterns)
    ]


def consumers(source, world, patterns, structured):
    """Return the columns and rows of ``--list consumers``."""
    columns = (*ConsumerRow._fields[:-1], "since", "position")
    found = []
    for cell, projection in sorted(world.projections.items()):
        rows = consumer_rows_of(projection, patterns)
        times = times_of(source.logs[cell], {row.position for row in rows})
        found += [
            (
                *row[:-3],
                _words(row.hosts, structured),
                row.resources if structured else resources(row.resources),
                stamp(times.get(row.position)),
                row.position,
            )
            for row in rows
        ]
    return columns, found


def names(source, world, patterns, structured):
    """Return the columns and rows of ``--list names``."""
    return ("cell", "kind", "name", "created"), [
        (row.cell, row.kind, row.name, stamp(row.created_ns))
        for _, projection in sorted(world.projections.items())
        for row in name_rows_of(projection, patterns)
    ]


def waiting(source, world, patterns, structured):
    """Return the columns and rows of ``--list waiting``."""
    return WaitingRow._fields, [
        tuple(row)
        for _, projection in sorted(world.projections.items())
        for row in waiting_rows_of(projection)
        if wanted(row.host, patterns)
    ]


#: What is listed -> its function: (source, world, patterns, whether the form has structure).
LISTS = {"providers": providers, "consumers": consumers, "names": names, "waiting": waiting}
