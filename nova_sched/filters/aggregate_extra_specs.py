"""AggregateInstanceExtraSpecsFilter: refuses hosts whose aggregates do not offer what the flavor asks for."""

from functools import lru_cache

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.explanation import of_aggregates
from nova_sched.filters.extra_specs_ops import match
from nova_sched.projection.reason import Reason

NOT_OFFERED = "extra spec {name} of the aggregate"
_SCOPE = "aggregate_instance_extra_specs"


class AggregateInstanceExtraSpecsFilter(Filter):
    """Each extra spec of the flavor without a scope, or in the scope ``aggregate_instance_extra_specs:``, must be met
    by a value (separated by commas) that an aggregate of the host has under that key in its metadata; a host of no
    aggregate with that key is refused. The operators are those of ``capabilities:`` extra specs.
    """

    name = "AggregateInstanceExtraSpecsFilter"
    reasons = {NOT_OFFERED: "no aggregate of the host has a value under this key that meets the extra spec"}
    follows_use = False

    def seen(self, request):
        return wanted_of_aggregates(tuple(request.extra_specs.items()))

    def refusals(self, hosts, request, policy, scope):
        for key, wanted in self.seen(request):
            yield Refusal(
                Reason(NOT_OFFERED, (key,)),
                hosts.by_aggregates(
                    lambda metadata, key=key, wanted=wanted: (
                        not any(match(word, wanted) for word in metadata.words(key))
                    )
                ),
            )

    def explain(self, look, reason):
        return of_aggregates(look, reason)


@lru_cache(1024)
def wanted_of_aggregates(items):
    """(metadata key, wanted value) of each of a flavor's extra specs (pairs) that asks for one."""
    wanted = []
    for key, value in sorted(items):
        scope, separator, rest = key.partition(":")
        if not separator:
            wanted.append((key, value))
        elif scope == _SCOPE:
            wanted.append((rest, value))
    return tuple(wanted)
