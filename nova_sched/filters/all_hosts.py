"""AllHostsFilter: refuses nobody."""

from nova_sched.filters.base import Filter


class AllHostsFilter(Filter):
    """Lets all hosts through; it is there so that configurations of nova that name it go on working."""

    name = "AllHostsFilter"
    follows_use = False

    def refusals(self, hosts, request, policy, scope):
        return ()
