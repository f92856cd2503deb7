"""AggregateMultiTenancyIsolation: refuses hosts whose aggregates are for other projects."""

from nova_sched.filters.base import Filter, Refusal

_PREFIX = "filter_tenant_id"


class AggregateMultiTenancyIsolation(Filter):
    """Metadata keys that begin with ``filter_tenant_id`` list the ids of projects (parted by commas). A host of which any
    aggregate has such a key takes the instances of these projects only; hosts without one take those of all.

    Options: none. Reasons: ``aggregate of other projects``.
    """

    name = "AggregateMultiTenancyIsolation"

    def seen(self, request):
        return request.project_id

    def refusals(self, hosts, request, policy, scope):
        if any(key.startswith(_PREFIX) for key in hosts.aggregate_keys()):
            yield Refusal("aggregate of other projects", hosts.by_aggregates(
                lambda metadata: _is_for_others(metadata, request.project_id)))


def _is_for_others(metadata, project_id):
    keys = [key for key in metadata.keys if key.startswith(_PREFIX)]
    return bool(keys) and not any(project_id in metadata.words(key) for key in keys)
