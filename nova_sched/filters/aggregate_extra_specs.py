"""AggregateInstanceExtraSpecsFilter: refuses hosts whose aggregates do not offer what the flavor asks for."""

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.extra_specs_ops import match

_SCOPE = "aggregate_instance_extra_specs"


class AggregateInstanceExtraSpecsFilter(Filter):
    """Each extra spec of the flavor without a scope, or in the scope ``aggregate_instance_extra_specs:``, must be met
    by a value (parted by commas) that an aggregate of the host has under that key in its metadata; a host of no
    aggregate with that key is refused. The operators are those of ``capabilities:`` extra specs.
    """

    name = "AggregateInstanceExtraSpecsFilter"
    reasons = ("extra spec {name} of the aggregate",)
    follows_use = False

    def seen(self, request):
        return tuple(wanted_of_aggregates(request.extra_specs))

    def refusals(self, hosts, request, policy, scope):
        for key, wanted in wanted_of_aggregates(request.extra_specs):
            yield Refusal(f"extra spec {key} of the aggregate", hosts.by_aggregates(
                lambda metadata, key=key, wanted=wanted: not any(match(word, wanted) for word in metadata.words(key))))


def wanted_of_aggregates(extra_specs):
    """List of (metadata key, wanted value) of a flavor's extra specs."""
    wanted = []
    for key, value in sorted(extra_specs.items()):
        scope, separator, rest = key.partition(":")
        if not separator:
            wanted.append((key, value))
        elif scope == _SCOPE:
            wanted.append((rest, value))
    return wanted
