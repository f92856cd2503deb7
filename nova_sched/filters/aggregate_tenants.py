"""AggregateMultiTenancyIsolation: refuses hosts whose aggregates are for other projects."""

from nova_sched.filters.base import Filter, Refusal

_PREFIX = "filter_tenant_id"


class AggregateMultiTenancyIsolation(Filter):
    """Metadata keys that begin with ``filter_tenant_id`` list the ids of projects (parted by commas). A host of which
    any aggregate has such a key takes the instances of these projects only; hosts without one take those of all.
    """

    name = "AggregateMultiTenancyIsolation"
    reasons = ("aggregate of other projects",)
    follows_use = False

    def seen(self, request):
        return request.project_id

    def refusals(self, hosts, request, policy, scope):
        if any(key.startswith(_PREFIX) for key in hosts.aggregate_keys()):
            project = request.project_id
            yield Refusal(
                "aggregate of other projects",
                hosts.by_aggregates(
                    lambda metadata: (
                        bool(metadata.words_under(_PREFIX)) and project not in metadata.words_under(_PREFIX)
                    )
                ),
            )
