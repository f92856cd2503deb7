"""Filters and weighers that a recorded policy names and that this process has not loaded.

They keep their places in the chain and say nothing, so that what the others say can be shown.
"""

from nova_sched.filters import Filter
from nova_sched.selection.catalogue import Catalogue
from nova_sched.weighers import Weigher


class FilterNotLoaded(Filter):
    """In the place of a filter."""

    static = False

    def __init__(self, name):
        self.name = name

    def refusals(self, hosts, request, policy, scope):
        """None: it does not look at hosts."""
        return iter(())


class WeigherNotLoaded(Weigher):
    """In the place of a weigher."""

    def __init__(self, name):
        self.name = name

    def raw(self, table, rows, request, policy, scope):
        """None: it does not look at hosts."""
        return None


def completed(catalogue: Catalogue, options: dict) -> tuple[Catalogue, tuple, tuple]:
    """Complete a catalogue with replacements for the filters and weighers that the options of a policy name and the
    catalogue does not have. Returns (the new catalogue, names of those filters, names of those weighers)."""
    filters = _lacking(options.get("enabled_filters", ()), catalogue.filters)
    weighers = _lacking(
        (weigher[0] for weigher in options.get("weighers", ()) if isinstance(weigher, list) and weigher),
        catalogue.weighers,
    )
    if not filters and not weighers:
        return catalogue, (), ()
    return (
        Catalogue(
            {**catalogue.filters, **{name: FilterNotLoaded(name) for name in filters}},
            {**catalogue.weighers, **{name: WeigherNotLoaded(name) for name in weighers}},
        ),
        filters,
        weighers,
    )


def _lacking(names, known):
    return tuple(name for name in dict.fromkeys(name for name in names if isinstance(name, str)) if name not in known)


def words_for(filters, weighers) -> str:
    """``the filter A and the weighers B, C``."""
    parts = [
        f"the {kind}{'s' if len(names) > 1 else ''} {', '.join(names)}"
        for kind, names in (("filter", filters), ("weigher", weighers))
        if names
    ]
    return " and ".join(parts)
