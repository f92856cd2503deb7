"""AggregateTypeAffinityFilter: refuses hosts whose aggregates are for other flavors."""

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.explanation import of_aggregates
from nova_sched.projection.reason import Reason

OTHER_FLAVORS = Reason("aggregate of other flavors")
_KEY = "instance_type"


class AggregateTypeAffinityFilter(Filter):
    """The metadata key ``instance_type`` lists names of flavors (separated by commas). A host with an aggregate that
    has that key takes these flavors only; hosts without it take all.
    """

    name = "AggregateTypeAffinityFilter"
    reasons = {OTHER_FLAVORS.code: "an aggregate of the host is kept for other flavors"}
    follows_use = False

    def seen(self, request):
        return request.flavor_name

    def refusals(self, hosts, request, policy, scope):
        if _KEY in hosts.aggregate_keys():
            yield Refusal(
                OTHER_FLAVORS,
                hosts.by_aggregates(
                    lambda metadata: _KEY in metadata.keys and request.flavor_name not in metadata.words(_KEY)
                ),
            )

    def explain(self, look, reason):
        return of_aggregates(look, reason)
