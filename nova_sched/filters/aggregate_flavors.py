"""AggregateTypeAffinityFilter: refuses hosts whose aggregates are for other flavors."""

from nova_sched.filters.base import Filter, Refusal

_KEY = "instance_type"


class AggregateTypeAffinityFilter(Filter):
    """The metadata key ``instance_type`` lists names of flavors (parted by commas). A host of which any aggregate has
    that key takes these flavors only; hosts without it take all.
    """

    name = "AggregateTypeAffinityFilter"
    reasons = ("aggregate of other flavors",)
    follows_use = False

    def seen(self, request):
        return request.flavor_name

    def refusals(self, hosts, request, policy, scope):
        if _KEY in hosts.aggregate_keys():
            yield Refusal(
                "aggregate of other flavors",
                hosts.by_aggregates(
                    lambda metadata: _KEY in metadata.keys and request.flavor_name not in metadata.words(_KEY)
                ),
            )
