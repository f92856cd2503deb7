"""AllHostsFilter: refuses no host."""

from nova_sched.filters.base import Filter


class AllHostsFilter(Filter):
    """Lets all hosts pass; it exists so that configurations of Nova that name it go on working."""

    name = "AllHostsFilter"
    follows_use = False

    def refusals(self, hosts, request, policy, scope):
        return ()
