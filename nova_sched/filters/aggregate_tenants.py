"""AggregateMultiTenancyIsolation: refuses hosts whose aggregates are for other projects."""

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.explanation import of_aggregates
from nova_sched.projection.reason import Reason

OTHER_PROJECTS = Reason("aggregate of other projects")
_PREFIX = "filter_tenant_id"


class AggregateMultiTenancyIsolation(Filter):
    """Metadata keys that begin with ``filter_tenant_id`` list the ids of projects (separated by commas). A host with an
    aggregate that has such a key takes the instances of these projects only; other hosts take those of all projects.
    """

    name = "AggregateMultiTenancyIsolation"
    reasons = {OTHER_PROJECTS.code: "an aggregate of the host is kept for other projects"}
    follows_use = False

    def seen(self, request):
        return request.project_id

    def refusals(self, hosts, request, policy, scope):
        if any(key.startswith(_PREFIX) for key in hosts.aggregate_keys()):
            project = request.project_id
            yield Refusal(
                OTHER_PROJECTS,
                hosts.by_aggregates(
                    lambda metadata: (
                        bool(metadata.words_under(_PREFIX)) and project not in metadata.words_under(_PREFIX)
                    )
                ),
            )

    def explain(self, look, reason):
        return of_aggregates(look, reason)
