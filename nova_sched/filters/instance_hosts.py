"""DifferentHostFilter and SameHostFilter: away from instances that a hint names, or to them."""

from nova_sched.filters.base import Filter, Refusal


class _InstanceHostsFilter(Filter):
    static = False
    hint = ""

    def rows(self, request, scope):
        """Root rows of the hosts of the instances that the hint names; None where it names none."""
        uuids = request.scheduler_hints.get(self.hint, ())
        # One empty text is what a hint is that was left empty.
        return None if uuids in ((), ("",)) else scope.rows_of_instances(uuids)


class DifferentHostFilter(_InstanceHostsFilter):
    """Refuses hosts that run, or are to run, one of the instances that the hint ``different_host`` names."""

    name = "DifferentHostFilter"
    reasons = ("host of an instance to keep away from",)
    hint = "different_host"

    def refusals(self, hosts, request, policy, scope):
        rows = self.rows(request, scope)
        if rows:
            yield Refusal("host of an instance to keep away from", hosts.in_rows(rows))


class SameHostFilter(_InstanceHostsFilter):
    """Refuses hosts that run, and are to run, none of the instances that the hint ``same_host`` names."""

    name = "SameHostFilter"
    reasons = ("no host of the instances to be with",)
    hint = "same_host"

    def refusals(self, hosts, request, policy, scope):
        rows = self.rows(request, scope)
        if rows is not None:
            yield Refusal("no host of the instances to be with", ~hosts.in_rows(rows))
