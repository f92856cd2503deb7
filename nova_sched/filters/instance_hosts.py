"""DifferentHostFilter and SameHostFilter: away from instances that a hint names, or to them."""

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.explanation import NAMED, Finding
from nova_sched.projection.reason import Reason

KEEPS_AWAY = Reason("host of an instance to keep away from")
NOT_WITH = Reason("no host of the instances to be with")


class _InstanceHostsFilter(Filter):
    static = False
    hint = ""

    def rows(self, request, scope):
        """Root rows of the hosts of the instances that the hint names; None if it names none."""
        uuids = request.scheduler_hints.get(self.hint, ())
        # A hint that was left empty is one empty text.
        return None if uuids in ((), ("",)) else scope.rows_of_instances(uuids)

    def explain(self, look, reason):
        named = look.request.scheduler_hints.get(self.hint, ())
        here = [entry for entry in look.entries if entry.instance_uuid in named]
        return Finding(
            f"{', '.join(sorted(entry.instance_uuid for entry in here)) or 'none of them'} here, {self.hint} "
            f"{', '.join(named[:NAMED])}",
            {"hint": list(named), "here": [entry.instance_uuid for entry in here]},
            lambda traces: traces.member_event(here),
        )


class DifferentHostFilter(_InstanceHostsFilter):
    """Refuses hosts that run, or are to run, one of the instances that the hint ``different_host`` names."""

    name = "DifferentHostFilter"
    reasons = {KEEPS_AWAY.code: "the host has an instance that the hint different_host names"}
    hint = "different_host"

    def refusals(self, hosts, request, policy, scope):
        rows = self.rows(request, scope)
        if rows:
            yield Refusal(KEEPS_AWAY, hosts.in_rows(rows))


class SameHostFilter(_InstanceHostsFilter):
    """Refuses hosts that run, and are to run, none of the instances that the hint ``same_host`` names."""

    name = "SameHostFilter"
    reasons = {NOT_WITH.code: "the host has none of the instances that the hint same_host names"}
    hint = "same_host"

    def refusals(self, hosts, request, policy, scope):
        rows = self.rows(request, scope)
        if rows is not None:
            yield Refusal(NOT_WITH, ~hosts.in_rows(rows))
